"""The engine backend: threads, loading, failures to load, closing."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping

import pytest

from gangline.backends.base import Backend, ModelRunner, Sampled, SchedulerOutput
from gangline.backends.engine.backend import EngineBackend
from gangline.backends.fake import FakeBackend, FakeRunner, encode
from gangline.ir.errors import BackendError, DownloadError
from gangline.ir.specs.request import Cancel, EngineEvent, Finished, RequestFailed, Submit

MakeSubmit = Callable[..., Submit]
USER = [{"role": "user", "content": "hello"}]


class Loader:
    """Loads fake models when allowed to; remembers on which threads."""

    def __init__(self) -> None:
        self.may_load = threading.Event()
        self.may_load.set()
        self.threads: list[str] = []
        self.error: Exception | None = None

    def __call__(self, model: str) -> ModelRunner:
        self.threads.append(threading.current_thread().name)
        assert self.may_load.wait(10)
        if self.error is not None:
            raise self.error
        return FakeRunner({"hello": f"from {model}"})


class Served:
    """A backend and the events it gave."""

    def __init__(self, load: Loader) -> None:
        self.load = load
        self.events: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
        self.backend: Backend = EngineBackend(load, lambda model: encode)
        self.backend.start(self.events.put)

    def last(self) -> Finished | RequestFailed:
        while True:
            event = self.events.get(timeout=10)
            if isinstance(event, Finished | RequestFailed):
                return event


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served(Loader())
    yield served
    served.load.may_load.set()
    served.backend.close()


def hello(make_submit: MakeSubmit, request_id: str, model: str = "m") -> Submit:
    return make_submit(request_id, encode(USER), max_tokens=50, model=model)


def test_every_model_has_a_thread_of_its_own_and_is_loaded_once(
    served: Served, make_submit: MakeSubmit
) -> None:
    texts = set()
    for request_id, model in (("a", "m1"), ("b", "m2"), ("c", "m1")):
        served.backend.send(hello(make_submit, request_id, model))
        event = served.last()
        assert isinstance(event, Finished)
        texts.add(event.text)
    assert texts == {"from m1", "from m2"}
    assert served.load.threads == ["engine-m1", "engine-m2"]


def test_prompts_are_encoded_and_messages_taken_while_the_model_loads(
    served: Served, make_submit: MakeSubmit
) -> None:
    served.load.may_load.clear()
    served.backend.send(hello(make_submit, "a"))
    served.backend.send(hello(make_submit, "b"))
    served.backend.send(Cancel("a"))
    assert served.backend.encoder("m")(USER) == encode(USER)
    served.load.may_load.set()
    first, second = served.last(), served.last()
    assert isinstance(first, RequestFailed)
    assert first.error["code"] == "cancelled"
    assert isinstance(second, Finished)


def test_a_failure_to_load_answers_every_request_and_is_tried_again(
    served: Served, make_submit: MakeSubmit
) -> None:
    served.load.error = DownloadError("no source had the file", next_step="Try later.")
    served.load.may_load.clear()
    for request_id in ("a", "b"):
        served.backend.send(hello(make_submit, request_id))
    served.load.may_load.set()
    for _ in range(2):
        event = served.last()
        assert isinstance(event, RequestFailed)
        assert (event.error["code"], event.error["next_step"]) == ("download", "Try later.")
    served.load.error = None
    served.backend.send(hello(make_submit, "c"))
    assert isinstance(served.last(), Finished)


def engine_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "engine-m"]


def test_close_answers_what_is_in_flight_ends_the_threads_and_refuses_more(
    served: Served, make_submit: MakeSubmit
) -> None:
    served.backend.send(hello(make_submit, "a"))
    served.last()
    for index in range(50):
        served.backend.send(hello(make_submit, f"r{index}"))
    served.backend.close()
    assert len({served.last().request_id for _ in range(50)}) == 50
    assert not engine_threads()
    with pytest.raises(BackendError, match="not running"):
        served.backend.send(hello(make_submit, "b"))
    served.backend.close()


def test_close_does_not_wait_for_a_model_that_loads(
    served: Served, make_submit: MakeSubmit
) -> None:
    served.load.may_load.clear()
    served.backend.send(hello(make_submit, "a"))
    served.backend.close()
    event = served.last()
    assert isinstance(event, RequestFailed)
    assert event.request_id == "a"
    served.load.may_load.set()
    for thread in engine_threads():
        thread.join(10)
    assert not engine_threads()


def test_a_model_can_be_loaded_ahead_of_the_first_request(make_submit: MakeSubmit) -> None:
    load, backend = prepared(loads=True)
    backend.prepare("m").result(timeout=10)
    assert len(load.threads) == 1
    backend.send(make_submit("r", model="m"))
    backend.prepare("m").result(timeout=10)
    backend.close()
    assert len(load.threads) == 1


def test_a_failure_to_load_ahead_is_told_to_who_asked() -> None:
    load, backend = prepared(loads=False)
    load.error = DownloadError("no network")
    future = backend.prepare("m")
    load.may_load.set()
    with pytest.raises(DownloadError, match="no network"):
        future.result(timeout=10)
    backend.close()
    with pytest.raises(BackendError):
        backend.prepare("m")


def prepared(loads: bool) -> tuple[Loader, EngineBackend]:
    load = Loader()
    if not loads:
        load.may_load.clear()
    backend = EngineBackend(load, lambda model: encode)
    backend.start(lambda event: None)
    return load, backend


def test_many_threads_may_send(served: Served, make_submit: MakeSubmit) -> None:
    def send(name: str) -> None:
        for index in range(20):
            served.backend.send(hello(make_submit, f"{name}{index}"))

    threads = [threading.Thread(target=send, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len({served.last().request_id for _ in range(80)}) == 80
    assert served.load.threads == ["engine-m"]


def test_the_fake_backend_is_a_backend(make_submit: MakeSubmit) -> None:
    backend: Backend = FakeBackend(lambda prompt: prompt.upper())
    events: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
    backend.start(events.put)
    backend.send(make_submit("a", backend.encoder("any")(USER), max_tokens=50))
    while not isinstance(event := events.get(timeout=10), Finished):
        pass
    assert event.text == "HELLO"
    backend.close()


def test_scheduling_needs_no_torch_and_no_compiler() -> None:
    code = (
        "import sys, gangline.backends.virtual, gangline.backends.checking\n"
        "loaded = {'torch', 'numpy', 'iree', 'transformers', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'{loaded} loaded' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Fatal(FakeRunner):
    """A model whose step ends the thread it runs on, once."""

    deadly = True

    def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
        if Fatal.deadly:
            Fatal.deadly = False
            raise SystemExit("the driver is gone")
        return super().execute(output, num_steps)


def test_an_engine_whose_thread_ends_answers_is_seen_and_comes_back(
    make_submit: MakeSubmit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fatal, "deadly", True)
    events: queue.SimpleQueue[EngineEvent] = queue.SimpleQueue()
    backend = EngineBackend(lambda model: Fatal({"hello": "again"}), lambda model: encode)
    backend.start(events.put)
    try:
        assert backend.alive
        backend.send(hello(make_submit, "a"))
        failed = events.get(timeout=10)
        assert isinstance(failed, RequestFailed) and failed.error["code"] == "backend"
        assert "the driver is gone" in failed.error["detail"]
        wait_until(lambda: not backend.alive)
        backend.send(hello(make_submit, "b"))
        while not isinstance(event := events.get(timeout=10), Finished):
            assert not isinstance(event, RequestFailed)
        assert event.text == "again" and backend.alive
    finally:
        backend.close()


def test_a_model_that_cannot_be_loaded_is_no_dead_engine(
    served: Served, make_submit: MakeSubmit
) -> None:
    served.load.error = DownloadError("no such model")
    served.backend.send(hello(make_submit, "a"))
    assert isinstance(served.last(), RequestFailed)
    assert served.backend.alive


def test_closing_is_no_death(served: Served, make_submit: MakeSubmit) -> None:
    served.backend.send(hello(make_submit, "a"))
    served.last()
    served.backend.close()
    assert served.backend.alive


def wait_until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(1000):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not happen within 10 s")
