"""The engine loop, stepped by hand on a fake clock: events, failures, cancellation, shutdown."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest

from gangline.backends.base import Sampled, SchedulerOutput
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.engine.engine import MAX_FAILED_STEPS, Engine
from gangline.backends.fake import FakeRunner
from gangline.ir.errors import ConfigError
from gangline.ir.specs.request import (
    Cancel,
    EngineEvent,
    EngineMessage,
    Finished,
    FirstToken,
    RequestFailed,
    Shutdown,
    Submit,
    TokenDelta,
    UpdateDeadline,
)

MakeSubmit = Callable[..., Submit]


class TickingRunner(FakeRunner):
    """Takes a second of the fake clock per step; fails or misbehaves when told to."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.now = 1.0
        self.failures: list[Exception] = []
        self.draws_nothing = False
        self.is_closed = False

    def add(self, request: Submit) -> None:
        if request.request_id == "bad grammar":
            raise ConfigError("The grammar does not compile")
        if request.request_id == "bug":
            raise ZeroDivisionError("oh")
        super().add(request)

    def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
        self.now += 1.0
        if self.failures:
            raise self.failures.pop()
        if self.draws_nothing:
            return {}
        return super().execute(output, num_steps)

    def close(self) -> None:
        self.is_closed = True


class Bench:
    """An engine without a thread, and what it emitted."""

    def __init__(self, replies: Any = None, *, inbox: Any = None, **options: Any) -> None:
        config = SchedulerConfig(**options.pop("config", {}))
        self.runner = TickingRunner(replies, **options)
        self.events: list[EngineEvent] = []
        self.engine = Engine(
            self.runner, lambda: self.runner.now, self.events.append, config, inbox
        )

    def send(self, *messages: EngineMessage) -> None:
        for message in messages:
            self.engine.send(message)
        self.engine.take_messages()

    def run(self) -> list[EngineEvent]:
        while self.engine.core.has_work:
            self.engine.step()
        return self.events

    def of(self, request_id: str) -> list[EngineEvent]:
        return [event for event in self.events if event.request_id == request_id]

    def failure(self, request_id: str) -> Mapping[str, str]:
        event = self.of(request_id)[-1]
        assert isinstance(event, RequestFailed)
        return event.error

    def assert_nothing_held(self) -> None:
        blocks = self.engine.core.scheduler.blocks
        assert blocks.num_free == blocks.num_blocks
        assert not self.engine.core.has_work


def finished(events: list[EngineEvent]) -> Finished:
    (event,) = (event for event in events if isinstance(event, Finished))
    return event


def say(make_submit: MakeSubmit, request_id: str, text: str = "say", **options: Any) -> Submit:
    return make_submit(request_id, text.encode(), max_tokens=100, **options)


def test_the_events_of_a_request_in_order(make_submit: MakeSubmit) -> None:
    bench = Bench({"say": "né"}, config={"max_batched_tokens": 2, "max_num_seqs": 1})
    bench.send(say(make_submit, "a"))
    *events, last = bench.run()
    assert events == [
        FirstToken("a", 3.0, prompt_tokens=3, cached_tokens=0, busy_s=2.0),
        TokenDelta("a", 3.0, "n", 1),
        TokenDelta("a", 5.0, "é", 2),  # its two bytes are two tokens
    ]
    assert last == Finished(
        "a",
        6.0,
        tuple("né".encode()),
        "né",
        "stop",
        prompt_tokens=3,
        cached_tokens=0,
        prefill_busy_s=2.0,
        decode_busy_s=3.0,
        kernels={"model": "fake"},
    )


def test_a_stop_string_ends_the_request_within_forced_tokens(make_submit: MakeSubmit) -> None:
    bench = Bench({"say": "SELECT 1; DROP"}, tokens_per_step=4)
    bench.send(say(make_submit, "a", stop=("; ",)))
    event = finished(bench.run())
    assert (event.text, event.finish_reason) == ("SELECT 1", "stop")
    assert bytes(event.token_ids) == b"SELECT 1; "
    bench.assert_nothing_held()


def test_busy_seconds_add_up_to_the_time_the_engine_worked(make_submit: MakeSubmit) -> None:
    bench = Bench()
    bench.send(*(say(make_submit, name, name * 9, seed=ord(name)) for name in "abc"))
    events = bench.run()
    total = sum(
        event.prefill_busy_s + event.decode_busy_s
        for event in events
        if isinstance(event, Finished)
    )
    assert total == pytest.approx(bench.runner.now - 1.0)


def test_an_output_that_ends_at_once_still_has_a_first_token_event(
    make_submit: MakeSubmit,
) -> None:
    bench = Bench({"say": ""})
    bench.send(say(make_submit, "a"))
    assert [type(event) for event in bench.run()] == [FirstToken, Finished]
    assert finished(bench.events).token_ids == ()


def test_cancel_answers_frees_and_knows_no_strangers(make_submit: MakeSubmit) -> None:
    bench = Bench()
    bench.send(say(make_submit, "a"))
    bench.engine.step()
    bench.send(Cancel("a"), Cancel("a"), Cancel("stranger"), UpdateDeadline("a", 3.0))
    assert bench.failure("a")["code"] == "cancelled"
    assert sum(isinstance(event, RequestFailed) for event in bench.events) == 1
    bench.assert_nothing_held()


@pytest.mark.parametrize(
    ("request_id", "code", "detail"),
    [
        ("bad grammar", "config", "The grammar does not compile"),
        ("bug", "backend", "ZeroDivisionError: oh"),
    ],
)
def test_a_request_the_runner_refuses_fails_alone(
    make_submit: MakeSubmit, request_id: str, code: str, detail: str
) -> None:
    bench = Bench()
    bench.send(say(make_submit, "good"), say(make_submit, request_id))
    bench.send(make_submit("too long", 40_000))
    bench.run()
    assert finished(bench.of("good"))
    assert (bench.failure(request_id)["code"], bench.failure(request_id)["detail"]) == (
        code,
        detail,
    )
    assert bench.failure("too long")["code"] == "input"
    bench.assert_nothing_held()


def test_a_failed_step_fails_its_requests_and_the_engine_goes_on(
    make_submit: MakeSubmit,
) -> None:
    bench = Bench(config={"max_num_seqs": 1})
    bench.send(say(make_submit, "unlucky"), say(make_submit, "next"))
    bench.runner.failures = [RuntimeError("out of memory")]
    bench.run()
    assert bench.failure("unlucky")["code"] == "backend"
    assert "out of memory" in bench.failure("unlucky")["detail"]
    assert finished(bench.of("next"))
    bench.assert_nothing_held()


def test_three_failed_steps_in_a_row_fail_everything_in_flight(make_submit: MakeSubmit) -> None:
    bench = Bench(config={"max_num_seqs": 1})
    bench.send(*(say(make_submit, f"r{i}") for i in range(9)))
    bench.runner.failures = [RuntimeError("broken")] * MAX_FAILED_STEPS
    for _ in range(MAX_FAILED_STEPS):
        bench.engine.step()
    assert len(bench.events) == 9
    bench.assert_nothing_held()
    bench.send(say(make_submit, "after"))
    bench.run()
    assert finished(bench.of("after"))


def test_a_runner_that_draws_nothing_does_not_hang_the_engine(make_submit: MakeSubmit) -> None:
    bench = Bench()
    bench.runner.draws_nothing = True
    bench.send(say(make_submit, "a"))
    bench.engine.step()
    assert "drew nothing" in bench.failure("a")["detail"]
    bench.assert_nothing_held()


def test_a_receiver_that_raises_costs_no_other_request_its_result(
    make_submit: MakeSubmit,
) -> None:
    bench = Bench()

    def emit(event: EngineEvent) -> None:
        bench.events.append(event)
        if event.request_id == "a":
            raise ValueError("the receiver is broken")

    bench.engine = Engine(bench.runner, lambda: bench.runner.now, emit)
    bench.send(say(make_submit, "a"), say(make_submit, "b", "b"))
    bench.run()
    assert finished(bench.of("a"))
    assert finished(bench.of("b"))


def test_shutdown_answers_what_is_in_flight_and_what_was_queued_behind_it(
    make_submit: MakeSubmit,
) -> None:
    bench = Bench()
    bench.engine.send(say(make_submit, "a"))
    bench.engine.send(Shutdown())
    bench.engine.send(say(make_submit, "late"))
    bench.engine.run()
    assert {event.request_id for event in bench.events} == {"a", "late"}
    assert all(isinstance(event, RequestFailed) for event in bench.events)
    assert bench.runner.is_closed
    bench.assert_nothing_held()


def test_an_engine_that_breaks_down_leaves_nobody_waiting(
    make_submit: MakeSubmit, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    bench.send(say(make_submit, "a"))

    def broken(message: EngineMessage, now: float) -> list[EngineEvent]:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(bench.engine.core, "handle", broken)
    bench.engine.send(Cancel("a"))
    with pytest.raises(ZeroDivisionError):
        bench.engine.run()
    assert bench.failure("a")["code"] == "backend"
    assert bench.runner.is_closed


def test_an_idle_engine_sleeps_in_its_queue_and_a_busy_one_never_does(
    make_submit: MakeSubmit,
) -> None:
    waits: list[bool] = []

    class Inbox(queue.SimpleQueue[EngineMessage]):
        def get(self, block: bool = True, timeout: float | None = None) -> EngineMessage:
            waits.append(block)
            if block and self.empty():
                return Shutdown()  # instead of sleeping for ever
            return super().get(block, timeout)

    bench = Bench({"say": "four"}, inbox=Inbox())
    bench.engine.send(say(make_submit, "a"))
    bench.engine.run()
    assert finished(bench.events).text == "four"
    # One wait for the request, one look before each of the 5 steps, one wait when idle again.
    assert waits == [True, *[False] * 5, True, False]


def test_times_and_order_of_events_never_go_back(make_submit: MakeSubmit) -> None:
    bench = Bench(config={"max_batched_tokens": 16, "max_num_seqs": 3})
    bench.send(*(say(make_submit, f"r{i}", "x" * i, seed=i) for i in range(1, 9)))
    events = bench.run()
    assert all(first.at_s <= second.at_s for first, second in pairwise(events))
    assert sum(isinstance(event, Finished) for event in events) == 8
