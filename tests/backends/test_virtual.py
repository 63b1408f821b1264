"""Virtual time against the real engine loop: same events, same times, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.backends.base import Backend, Sampled, SchedulerOutput
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.engine.engine import Engine
from gangline.backends.fake import FakeRunner
from gangline.backends.virtual import VirtualBackend, repeated
from gangline.ir.errors import BackendError
from gangline.ir.specs.request import (
    Cancel,
    EngineEvent,
    EngineMessage,
    Finished,
    RequestFailed,
    SamplingParams,
    Shutdown,
    Submit,
    TokenDelta,
    UpdateDeadline,
)

MakeSubmit = Callable[..., Submit]
Timed = tuple[float, EngineMessage]


def step_time(output: SchedulerOutput) -> float:
    """Depends on everything a step's time may depend on, in numbers that do not add exactly."""
    context = sum(entry.num_computed for entry in output.scheduled)
    return 0.01 + 0.0013 * output.num_batched_tokens + 0.00007 * context


def num_output_tokens(request: Submit) -> int:
    return 1 + sum(request.prompt_tokens) % 40


def make_runner(**options: Any) -> FakeRunner:
    return FakeRunner(num_output_tokens=num_output_tokens, num_blocks=16, block_size=4, **options)


class CountingRunner(FakeRunner):
    """Counts how often it is asked, which is what skipping saves."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.num_calls = 0

    def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
        self.num_calls += 1
        return super().execute(output, num_steps)


def by_engine(traffic: Sequence[Timed], config: SchedulerConfig, **options: Any) -> list[Any]:
    """Step the real engine; its clock moves by step_time during each step."""
    now = 0.0

    class Runner(FakeRunner):
        def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
            nonlocal now
            now += step_time(output)
            return super().execute(output, num_steps)

    runner = Runner(num_output_tokens=num_output_tokens, num_blocks=16, block_size=4, **options)
    events: list[EngineEvent] = []
    engine = Engine(runner, lambda: now, events.append, config)
    todo = list(traffic)
    while todo or engine.core.has_work:
        if todo and not engine.core.has_work:
            now = max(now, todo[0][0])
        while todo and todo[0][0] <= now:
            engine.send(todo.pop(0)[1])
        engine.take_messages()
        engine.step()
    return events


def by_virtual_time(traffic: Sequence[Timed], backend: VirtualBackend) -> list[EngineEvent]:
    """Drive a virtual backend as a simulator does."""
    events: list[EngineEvent] = []
    todo = list(traffic)
    while True:
        ends_s = backend.next_event_s()
        times = [at_s for at_s in (ends_s, todo[0][0] if todo else None) if at_s is not None]
        if not times:
            return events
        events += backend.advance(min(times))
        while todo and todo[0][0] <= min(times):
            backend.send(todo.pop(0)[1])


prompts = st.tuples(
    st.sampled_from([(), (7,) * 8, (7,) * 13]),
    st.lists(st.integers(0, 3), min_size=1, max_size=8).map(tuple),
).map(lambda parts: parts[0] + parts[1])


@st.composite
def traffics(draw: st.DrawFn) -> list[Timed]:
    """Draw requests, cancellations and new deadlines, at times that often coincide."""
    times = st.one_of(st.sampled_from([0.0, 0.25, 0.5]), st.floats(0.0, 2.0))
    rows: list[Timed] = []
    for index in range(draw(st.integers(1, 8))):
        at_s = draw(times)
        stop = draw(st.sampled_from([(), (), (), ("t",), ("e ",)]))
        sampling = SamplingParams(draw(st.integers(1, 35)), stop=stop, seed=draw(st.integers(0, 2)))
        deadline_s = draw(st.sampled_from([0.0, 1.0, 3.0, float("inf")]))
        submit = Submit(f"r{index}", "m", draw(prompts), sampling, at_s, deadline_s)
        rows.append((at_s, submit))
        if draw(st.booleans()) and draw(st.booleans()):
            rows.append((draw(times), Cancel(submit.request_id)))
        if draw(st.booleans()) and draw(st.booleans()):
            rows.append((draw(times), UpdateDeadline(submit.request_id, draw(times))))
    return sorted(rows, key=lambda row: row[0])


@settings(max_examples=150, deadline=None)
@given(
    traffic=traffics(),
    config=st.builds(
        SchedulerConfig,
        max_batched_tokens=st.integers(4, 40),
        max_num_seqs=st.integers(1, 4),
        chunk_tokens=st.integers(1, 16),
        policy=st.sampled_from(["urgency", "fcfs"]),
    ),
    tokens_per_step=st.sampled_from([1, 1, 1, 2]),
)
def test_virtual_time_gives_the_events_of_the_engine(
    traffic: list[Timed], config: SchedulerConfig, tokens_per_step: int
) -> None:
    expected = by_engine(traffic, config, tokens_per_step=tokens_per_step)
    note(f"some request failed: {any(isinstance(e, RequestFailed) for e in expected)}")
    for skip in (False, True):
        backend = VirtualBackend(
            step_time,
            lambda model: make_runner(tokens_per_step=tokens_per_step),
            config=config,
            skip=skip,
        )
        assert by_virtual_time(traffic, backend) == expected
    quiet = VirtualBackend(
        step_time,
        lambda model: make_runner(tokens_per_step=tokens_per_step),
        config=config,
        deltas=False,
    )
    without_deltas = [event for event in expected if not isinstance(event, TokenDelta)]
    assert by_virtual_time(traffic, quiet) == without_deltas


def test_skipping_asks_the_runner_once_for_a_run_of_decodes(make_submit: MakeSubmit) -> None:
    runner = CountingRunner(num_output_tokens=lambda request: 500)
    backend = VirtualBackend(step_time, lambda model: runner)
    backend.send(make_submit("a", 8, max_tokens=300))
    backend.send(make_submit("b", 8, max_tokens=200))
    while (at_s := backend.next_event_s()) is not None:
        backend.advance(at_s)
    assert runner.num_calls == 3  # the prompts, 199 steps of both, 100 of one


def test_step_times_are_asked_for_whole_runs(make_submit: MakeSubmit) -> None:
    asked: list[int] = []

    def step_times(output: SchedulerOutput, num_steps: int) -> list[float]:
        asked.append(num_steps)
        return [step_time(repeated(output, index)) for index in range(num_steps)]

    traffic: list[Timed] = [(0.0, make_submit("a", 8, max_tokens=30, ignore_eos=True))]
    fast = VirtualBackend(step_time, lambda model: make_runner(), step_times=step_times)
    slow = VirtualBackend(step_time, lambda model: make_runner())
    assert by_virtual_time(traffic, fast) == by_virtual_time(traffic, slow)
    assert asked == [29]


def test_a_message_in_a_skipped_run_cuts_it_at_the_end_of_the_step_under_way(
    make_submit: MakeSubmit,
) -> None:
    def one_second(output: SchedulerOutput) -> float:
        return 1.0

    backend = VirtualBackend(one_second, lambda model: make_runner(), deltas=False)
    backend.send(make_submit("a", 8, max_tokens=30, ignore_eos=True))
    assert backend.next_event_s() == 1.0
    backend.advance(1.0)
    assert backend.next_event_s() == 30.0
    backend.advance(10.5)
    backend.send(make_submit("b", 8, max_tokens=1))
    assert backend.next_event_s() == 11.0
    backend.advance(11.0)
    assert backend.next_event_s() == 12.0  # the prompt of b
    backend.advance(12.0)
    assert backend.next_event_s() == 30.0
    backend.advance(20.0)
    backend.send(make_submit("c", 8, max_tokens=1))  # just between two steps: in time
    assert backend.next_event_s() == 21.0
    assert [event.request_id for event in backend.advance(21.0)] == ["c", "c"]


def test_a_coarse_simulator_misses_nothing(make_submit: MakeSubmit) -> None:
    fine = VirtualBackend(step_time, lambda model: make_runner())
    coarse = VirtualBackend(step_time, lambda model: make_runner())
    traffic: list[Timed] = [(0.0, make_submit(name, 8, max_tokens=9)) for name in "abc"]
    for _, message in traffic:
        coarse.send(message)
    assert coarse.advance(1000.0) == by_virtual_time(traffic, fine)
    assert coarse.next_event_s() is None


def test_two_models_run_side_by_side_and_events_come_in_order_of_time(
    make_submit: MakeSubmit,
) -> None:
    backend = VirtualBackend(step_time, lambda model: make_runner())
    seen: list[EngineEvent] = []
    driven: Backend = backend  # it is a Backend like any other
    driven.start(seen.append)
    submit = make_submit("a", 8, max_tokens=9)
    for index, model in enumerate(("m1", "m2")):
        driven.send(replace(submit, request_id=f"r{index}", model=model))
    events = backend.advance(1000.0)
    assert events == seen
    assert events == sorted(events, key=lambda event: event.at_s)
    ends = {event.at_s for event in events if isinstance(event, Finished)}
    assert len(ends) == 1  # neither waited for the other


def test_close_fails_what_is_in_flight_and_time_does_not_go_back(make_submit: MakeSubmit) -> None:
    backend = VirtualBackend(step_time)
    assert backend.encoder("m")([{"role": "user", "content": "x"}])
    backend.send(make_submit("a"))
    backend.next_event_s()
    backend.close()
    events = backend.advance(100.0)
    assert isinstance(events[-1], RequestFailed)
    with pytest.raises(BackendError, match="cannot go back"):
        backend.advance(99.0)
    backend.send(Shutdown())
    assert backend.next_event_s() is None


def test_skipped_steps_take_blocks_in_the_order_of_single_ones() -> None:
    """One request ends as another goes on: what it frees was not there for earlier blocks."""
    shared, due = (7,) * 13, {"r0": 3.0, "r4": 1.0}

    def ask(name: str, prompt: tuple[int, ...], max_tokens: int, at_s: float = 0.0) -> Timed:
        sampling = SamplingParams(max_tokens)
        return at_s, Submit(name, "m", prompt, sampling, at_s, due.get(name, 0.0))

    traffic = [
        ask("r0", (0, 2, 3), 7),
        *(ask(f"r{number}", (0,), 1) for number in (1, 2, 4)),
        ask("r5", (*shared, 0, 0, 0, 0, 3, 3, 3), 22),
        ask("r7", (*shared, 0, 0, 2), 8),
        ask("r6", (0,) * 7, 2, 0.125),
        ask("r3", (*shared, 0, 0, 2, 0), 1, 1.0),
    ]
    config = SchedulerConfig(max_batched_tokens=4, max_num_seqs=2, chunk_tokens=3)
    expected = by_engine(traffic, config)
    backend = VirtualBackend(step_time, lambda model: make_runner(), config=config)
    assert by_virtual_time(traffic, backend) == expected
