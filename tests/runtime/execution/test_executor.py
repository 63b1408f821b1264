"""The executor: real threads, a fake backend, a real store."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from gangline.backends.base import Encode
from gangline.backends.fake import FakeBackend
from gangline.ir.errors import InputError, JobError, LeaseLost
from gangline.ir.specs.event import Event
from gangline.runtime.clock import VirtualClock
from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import Store


def job(program: Any, **inputs: Any) -> Job:
    return Job("hand_made", program, inputs, device="cpu/0")


def test_straight_line(builder: Any, plain_tool: Any, tools: Any, executor: Executor) -> None:
    tools["shout"] = plain_tool(lambda a0: a0.upper())
    p = builder("who")
    program = p.done(p.tool("shout", p.llm("greet", p.inputs[0])))
    result = executor.run(job(program, who="Ada"))
    assert (result.status, result.output) == ("succeeded", "HELLO")
    assert [step.id for step in result.steps] == [
        "greet.tokenize",
        "greet.prefill",
        "greet.decode",
        "greet.detokenize",
        "shout",
    ]
    by_id = {step.id: step for step in result.steps}
    assert by_id["greet.decode"].parents == ("greet.prefill",)
    assert by_id["shout"].parents == ("greet.detokenize",)
    assert by_id["greet.decode"].output_tokens == 5
    assert by_id["greet.prefill"].prompt_tokens == by_id["greet.tokenize"].prompt_tokens
    assert all(step.status == "succeeded" and step.device == "cpu/0" for step in result.steps)


def test_stored_job_gives_the_same_document(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store
) -> None:
    tools["double"] = plain_tool(lambda a0: 2 * a0)
    p = builder("n")
    program = p.done(p.tool("double", p.inputs[0]))
    result = executor.run(job(program, n=21))
    assert result_of(store.events(result.job_id)).to_json() == result.to_json()
    assert store.job(result.job_id).status == "succeeded"
    assert [event.seq for event in store.events(result.job_id)] == [1, 2, 3, 4, 5]


def test_loading_the_tokenizer_is_not_the_step_s_time(builder: Any, store: Store) -> None:
    clock = VirtualClock(1000.0)

    class SlowToLoad(FakeBackend):
        def encoder(self, model: str) -> Encode:
            clock.advance_to(clock.now() + 3.0)
            return super().encoder(model)

    p = builder("who")
    program = p.done(p.llm("greet", p.inputs[0]))
    backend = SlowToLoad({"greet:": "hello"}, clock=clock.now)
    with Executor({"cpu/0": backend}, lambda name: None, store=store, clock=clock) as executor:
        result = executor.run(job(program, who="Ada"))
    assert result.steps[0].op == "tokenize" and result.steps[0].actual_s == 0.0
    assert clock.now() == 1003.0


def test_map_runs_side_by_side_in_order(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    together = threading.Barrier(4, timeout=20)

    def meet(a0: int) -> int:
        together.wait()
        return a0 * a0

    tools["meet"] = plain_tool(meet)
    p = builder("n")
    program = p.done(p.map(p.compute("range", p.inputs[0]), lambda item: p.tool("meet", item)))
    assert executor.run(job(program, n=4)).output == [0, 1, 4, 9]


def test_async_tool_runs_on_the_loop(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    async def later(a0: int) -> int:
        await asyncio.sleep(0)
        return a0 + 1

    tools["later"] = plain_tool(later, is_async=True)
    p = builder("n")
    assert executor.run(job(p.done(p.tool("later", p.inputs[0])), n=1)).output == 2


@pytest.mark.parametrize("raised", [SystemExit, asyncio.CancelledError, KeyboardInterrupt])
def test_whatever_an_async_tool_raises_fails_its_job_only(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, raised: type[BaseException]
) -> None:
    async def leave() -> None:
        raise raised

    tools["leave"] = plain_tool(leave, is_async=True)
    p = builder()
    program = p.done(p.tool("leave"))
    for _ in range(2):  # the loop goes on
        result = executor.submit(job(program)).result(timeout=10)
        assert result.error is not None and raised.__name__ in result.error["detail"]


def test_failing_tool_fails_the_job_with_its_place(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    tools["divide"] = plain_tool(lambda a0: 1 // a0)
    p = builder("n")
    result = executor.run(job(p.done(p.tool("divide", p.inputs[0])), n=0))
    assert result.status == "failed" and result.error is not None
    assert result.error["code"] == "step"
    assert "ZeroDivisionError" in result.error["detail"] and "divide" in result.error["where"]
    assert result.steps[0].status == "failed"


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("raised", [OSError("no file b\udcff"), Odd()])
def test_a_message_that_is_no_text_fails_the_job(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, raised: Exception
) -> None:
    def fail() -> None:
        raise raised

    tools["fail"] = plain_tool(fail)
    p = builder()
    result = executor.run(job(p.done(p.tool("fail"))))
    assert result.status == "failed" and result.error is not None
    assert type(raised).__name__ in result.error["detail"]


def test_many_jobs_at_once(builder: Any, plain_tool: Any, tools: Any, executor: Executor) -> None:
    together = threading.Barrier(8, timeout=20)

    def meet(a0: Any) -> Any:
        together.wait()
        return a0

    tools["meet"] = plain_tool(meet)
    p = builder("n")
    program = p.done(p.llm("greet", p.tool("meet", p.inputs[0])))
    futures = [executor.submit(job(program, n=n)) for n in range(8)]
    assert [future.result(20).output for future in futures] == ["hello"] * 8


def test_tool_that_hangs_is_written_off(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    release = threading.Event()
    tools["hang"] = plain_tool(lambda: release.wait(60))
    p = builder()
    result = executor.run(job(p.done(p.tool("hang", timeout_s=0.05))))
    release.set()
    assert result.error is not None and result.error["code"] == "timeout"
    assert "0.05 s" in result.error["detail"]


def test_async_tool_that_hangs_is_cancelled(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    ended = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    tools["hang"] = plain_tool(hang, is_async=True)
    p = builder()
    result = executor.run(job(p.done(p.tool("hang", timeout_s=0.05))))
    assert result.error is not None and result.error["code"] == "timeout"
    assert ended.wait(20)


def test_async_tool_that_ran_out_of_time_ends_before_it_is_tried_again(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, monkeypatch: Any
) -> None:
    monkeypatch.setattr("gangline.runtime.dispatch.backoff.BACKOFF_S", 0.05)
    running: list[int] = []

    async def hang() -> int:
        running.append(1)
        if len(running) > 1:
            return len(running)
        try:
            await asyncio.Event().wait()
        finally:
            running.clear()
        return 0

    tools["hang"] = plain_tool(hang, is_async=True)
    p = builder()
    program = p.done(p.tool("hang", timeout_s=0.05, retries=1))
    assert executor.run(job(program)).status == "failed" and not running


def test_flaky_tool_succeeds_in_the_end(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, monkeypatch: Any
) -> None:
    monkeypatch.setattr("gangline.runtime.dispatch.backoff.BACKOFF_S", 0.01)
    tries: list[int] = []

    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("busy")
        return 7

    tools["flaky"] = plain_tool(flaky)
    p = builder()
    result = executor.run(job(p.done(p.tool("flaky", retries=2))))
    assert (result.output, len(tries)) == (7, 3)
    assert result.steps[0].status == "succeeded" and result.steps[0].error is None


def test_result_that_is_no_json_fails_the_step(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    tools["odd"] = plain_tool(lambda: float("nan"))
    p = builder()
    result = executor.run(job(p.done(p.tool("odd"))))
    assert result.error is not None and "JSON" in result.error["detail"]


def test_missing_input_and_unknown_device(builder: Any, executor: Executor) -> None:
    p = builder("q")
    program = p.done(p.llm("greet", p.inputs[0]))
    with pytest.raises(InputError, match="lacks q"):
        executor.submit(job(program))
    result = executor.run(Job("w", program, {"q": "x"}, device="moon/0"))
    assert result.error is not None and result.error["code"] == "backend"
    assert "moon/0" in result.error["detail"]


def test_idempotency_key_is_the_same_on_every_attempt(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, monkeypatch: Any
) -> None:
    monkeypatch.setattr("gangline.runtime.dispatch.backoff.BACKOFF_S", 0.01)
    keys: list[str] = []

    def pay(a0: int, idempotency_key: str) -> int:
        keys.append(idempotency_key)
        if len(keys) == 1:
            raise OSError("network")
        return a0

    tools["pay"] = plain_tool(pay, accepts_idempotency_key=True)
    p = builder("n")
    program = p.done(p.tool("pay", p.inputs[0], effects="write", idempotent=True, retries=1))
    result = executor.run(job(program, n=5))
    assert result.output == 5 and keys == [f"{result.job_id}/pay"] * 2


def test_changed_signature_asks(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    calls: list[int] = []
    tools["send"] = plain_tool(lambda: calls.append(1), signature="new")
    p = builder()
    result = executor.run(job(p.done(p.tool("send", signature="old", effects="write"))))
    assert result.status == "input_required" and calls == []
    tools["send"] = plain_tool(lambda: "sent", signature="old")
    assert executor.resume(result.job_id).output == "sent"


def test_write_starts_only_when_its_record_is_on_disk(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, monkeypatch: Any
) -> None:
    called, gate, commit = threading.Event(), threading.Event(), store._writer._commit

    def held(batch: Any) -> Any:
        gate.wait(20)
        return commit(batch)

    monkeypatch.setattr(store._writer, "_commit", held)
    tools["send"] = plain_tool(called.set)
    p = builder()
    future = executor.submit(job(p.done(p.tool("send", effects="write"))))
    assert not called.wait(0.1)
    gate.set()
    assert future.result(20).status == "succeeded" and called.is_set()


def test_interrupted_job_is_shown_and_continued(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store
) -> None:
    reached, release, calls = threading.Event(), threading.Event(), list[str]()

    def first() -> int:
        calls.append("first")
        return 1

    def second(a0: int) -> int:
        calls.append("second")
        reached.set()
        release.wait(30)
        return a0 + 1

    tools.update(first=plain_tool(first), second=plain_tool(second))
    p = builder()
    future = executor.submit(job(p.done(p.tool("second", p.tool("first")))))
    assert reached.wait(20)
    executor.interrupt()
    with pytest.raises(JobError, match="interrupted"):
        future.result(20)
    store.flush()
    (row,) = store.jobs()
    shown = result_of(store.events(row.id))
    assert shown.status == "running"
    assert [(step.id, step.status) for step in shown.steps] == [
        ("first", "succeeded"),
        ("second", "running"),
    ]
    release.set()
    result = executor.resume(row.id)
    assert (result.status, result.output, calls) == ("succeeded", 2, ["first", "second", "second"])
    assert executor.resume(row.id).output == 2  # nothing more is run
    assert len(calls) == 3


def test_failed_job_is_continued_where_it_failed(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    works = [False]

    def second(a0: str) -> str:
        if not works[0]:
            raise OSError("down")
        return a0 + "!"

    tools["second"] = plain_tool(second)
    p = builder("q")
    program = p.done(p.tool("second", p.llm("greet", p.inputs[0])))
    result = executor.run(job(program, q="x"))
    assert result.status == "failed"
    works[0] = True
    again = executor.resume(result.job_id)
    assert (again.output, again.job_id) == ("hello!", result.job_id)
    decodes = [step for step in again.steps if step.op == "decode"]
    assert len(decodes) == 1


def test_job_of_another_process_is_not_taken(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store
) -> None:
    tools["fail"] = plain_tool(lambda: 1 // 0)
    p = builder()
    result = executor.run(job(p.done(p.tool("fail"))))
    store.acquire(result.job_id, "another process")
    with pytest.raises(LeaseLost):
        executor.resume(result.job_id)


def test_lost_lease_stops_the_job(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store
) -> None:
    def steal() -> int:
        limit = time.monotonic() + 20
        while not store.jobs() or len(store.events(store.jobs()[0].id)) < 3:
            assert time.monotonic() < limit  # a tool that reads begins before it is on disk
            time.sleep(0.001)
        (row,) = store.jobs()
        store.unregister(row.owner)
        store.acquire(row.id, "thief")
        return 1

    tools.update(steal=plain_tool(steal), never=plain_tool(lambda a0: a0))
    p = builder()
    future = executor.submit(job(p.done(p.tool("never", p.tool("steal"), effects="write"))))
    with pytest.raises(LeaseLost):
        future.result(20)
    store.flush()
    (row,) = store.jobs()
    assert [event.type for event in store.events(row.id)][-1] == "step.started"


def test_secret_is_asked_for_again(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    seen: list[str] = []
    works = [False]

    def connect(a0: str) -> str:
        seen.append(a0)
        if not works[0]:
            raise OSError("down")
        return "ok"

    tools["connect"] = plain_tool(connect)
    p = builder("db")
    url = "postgresql://me:secret@host/db"
    result = executor.run(job(p.done(p.tool("connect", p.inputs[0])), db=url))
    works[0] = True
    with pytest.raises(InputError, match="password in the input 'db'"):
        executor.resume(result.job_id)
    assert executor.resume(result.job_id, inputs={"db": url}).output == "ok"
    assert seen == [url, url]


def test_cancel_ends_a_running_job(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store
) -> None:
    reached, release = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        release.wait(30)

    tools["wait"] = plain_tool(wait)
    p = builder()
    future = executor.submit(job(p.done(p.tool("wait"))))
    assert reached.wait(20)
    store.flush()
    (row,) = store.jobs()
    executor.cancel(row.id)
    assert future.result(20).status == "cancelled"
    release.set()


def test_progress_sees_every_event_once_and_may_fail(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store
) -> None:
    seen: list[Event] = []
    p = builder("q")
    program = p.done(p.llm("greet", p.inputs[0]))
    result = executor.run(job(program, q="x"), seen.append)
    stored = store.events(result.job_id)
    told = [(event.seq, event.type, event.step_id) for event in seen if event.seq]
    assert told == [(event.seq, event.type, event.step_id) for event in stored]
    text = "".join(event.data["text"] for event in seen if event.type == "step.delta")
    assert text == "hello"

    def broken(event: Event) -> None:
        raise ValueError("cannot draw")

    assert executor.run(job(program, q="x"), broken).status == "succeeded"


def test_closing_leaves_a_job_to_be_continued(
    builder: Any, plain_tool: Any, tools: Any, store: Store
) -> None:
    release, reached = threading.Event(), threading.Event()

    def wait() -> int:
        reached.set()
        release.wait(30)
        return 3

    tools["wait"] = plain_tool(wait)
    p = builder()
    with Executor({}, tools.get, store=store) as one:
        future = one.submit(job(p.done(p.tool("wait"))))
        assert reached.wait(20)
    with pytest.raises(JobError):
        future.result(20)
    release.set()
    with Executor({}, tools.get, store=store) as two:
        store.flush()
        (row,) = store.jobs()
        assert two.resume(row.id).output == 3


def test_a_fault_in_a_backend_ends_the_job_and_no_other(
    builder: Any, plain_tool: Any, tools: Any, store: Store, monkeypatch: Any
) -> None:
    backend = FakeBackend({"greet:": "hello"})
    send = backend.send

    def broken(message: Any) -> None:
        if len(message.prompt_tokens) > 20:
            raise RuntimeError("no such pipe")
        send(message)

    monkeypatch.setattr(backend, "send", broken)
    p = builder("q")
    program = p.done(p.llm("greet", p.inputs[0]))
    with Executor({"cpu/0": backend}, tools.get, store=store) as executor:
        bad, good = (executor.submit(job(program, q=q)) for q in ("x" * 30, "x"))
        error = bad.result(20).error
        assert error is not None and "no such pipe" in error["detail"]
        assert good.result(20).output == "hello"


def test_a_fault_of_our_own_is_raised_and_nothing_hangs(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, monkeypatch: Any
) -> None:
    tools["one"] = plain_tool(lambda: 1)
    monkeypatch.setattr("gangline.runtime.dispatch.job_run.JobRun.completed", lambda *_: 1 // 0)
    p = builder()
    with pytest.raises(ZeroDivisionError):
        executor.submit(job(p.done(p.tool("one")))).result(20)
