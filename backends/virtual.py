"""A device in virtual time: the engine's own scheduler and outputs, no computation.

A simulator owns the time. It asks `next_event_s` when something happens next, moves its clock
there (or to an earlier event of its own), calls `advance`, and only then sends messages of
that moment. What an engine would do in the same situation, step by step, happens here at the
same times; runs of identical decode steps are skipped over unless `skip` is off.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Protocol

from gangline.backends.base import (
    Emit,
    Encode,
    ModelRunner,
    Sampled,
    SchedulerOutput,
)
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.engine.core import EngineCore
from gangline.backends.fake import FakeRunner
from gangline.backends.fake import encode as fake_encode
from gangline.ir.errors import BackendError
from gangline.ir.specs.request import EngineEvent, EngineMessage, Shutdown, Submit

StepTime = Callable[[SchedulerOutput], float]
"""Seconds a step takes, from its requests, their `num_computed` and numbers of tokens."""

StepTimes = Callable[[SchedulerOutput, int], Sequence[float]]
"""The same for n repetitions of a decode step at once; must agree with `StepTime`."""


class VirtualRunner(ModelRunner, Protocol):
    """A runner that knows when its requests end; `FakeRunner` is one."""

    def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
        """Draw for `num_steps` repetitions of a step."""

    def num_repeats(self, output: SchedulerOutput) -> int:
        """Count the steps, at most `output.repeat`, up to the first that ends a request."""


def repeated(output: SchedulerOutput, index: int) -> SchedulerOutput:
    """Give the `index`-th repetition of a decode step: every request that much further on.

    Tokens and block tables stay those of the first; a step's time does not depend on them.
    """
    if index == 0:
        return output
    entries = tuple(
        replace(entry, num_computed=entry.num_computed + index) for entry in output.scheduled
    )
    return replace(output, scheduled=entries, repeat=output.repeat - index)


@dataclass(slots=True)
class _Run:
    """Steps under way: one, or several identical ones."""

    output: SchedulerOutput
    begin_s: float
    ends_s: list[float]


class _VirtualEngine:
    """One model's engine: at most one run under way, messages taken between steps."""

    def __init__(
        self,
        core: EngineCore,
        runner: VirtualRunner,
        durations: Callable[[SchedulerOutput, int], Sequence[float]],
        skip: bool,
    ) -> None:
        self._core = core
        self._runner = runner
        self._durations = durations
        self._skip = skip
        self._inbox: list[EngineMessage] = []
        self._run: _Run | None = None
        self._ready_s = 0.0  # when the next step may begin

    def send(self, message: EngineMessage, now: float) -> list[EngineEvent]:
        """Queue a message for the end of the step under way at `now`."""
        self._inbox.append(message)
        if self._run is None:
            self._ready_s = max(self._ready_s, now)
            return []
        # Steps that ended by now are over, the one that has begun goes on to its end. At the
        # border between two steps the next has not begun: the message is in time for it.
        ends_s = self._run.ends_s
        num_over = bisect_right(ends_s, now)
        at_border = num_over > 0 and ends_s[num_over - 1] == now
        del ends_s[num_over if at_border else num_over + 1 :]
        return self._end(now)

    def next_event_s(self) -> float | None:
        """Say when the run under way ends; None if there is none."""
        return self._run.ends_s[-1] if self._run is not None else None

    def begin(self) -> list[EngineEvent]:
        """Take the messages in and start the next run, unless one is under way."""
        if self._run is not None:
            return []
        events: list[EngineEvent] = []
        for message in self._inbox:
            events += self._core.handle(message, self._ready_s)
        self._inbox.clear()
        if self._core.has_work:
            self._run = self._plan(self._core.schedule(self._ready_s), self._ready_s)
        return events

    def advance(self, now: float) -> list[EngineEvent]:
        """Go on to `now`; a step that could begin only at `now` itself does not yet."""
        events = self._end(now)
        # Invariant: nothing is under way only while it is idle, or ready at `now` itself.
        while self._run is None and self._ready_s < now and (self._inbox or self._core.has_work):
            events += self.begin()
            events += self._end(now)
        return events

    def _plan(self, output: SchedulerOutput, now: float) -> _Run:
        if not output.scheduled:
            raise BackendError("The scheduler has requests in flight but schedules none")
        num_steps = self._runner.num_repeats(output) if self._skip else 1
        durations = self._durations(output, num_steps)
        return _Run(output, now, list(accumulate(durations, initial=now))[1:])

    def _end(self, now: float) -> list[EngineEvent]:
        """End the run under way if it is over at `now`."""
        run = self._run
        if run is None or run.ends_s[-1] > now:
            return []
        self._run = None
        self._ready_s = run.ends_s[-1]
        sampled = self._runner.execute(run.output, len(run.ends_s))
        return self._core.update(run.output, sampled, run.begin_s, run.ends_s)


class VirtualBackend:
    """A `Backend` that a simulator moves through time; all models run side by side.

    Args:
        step_time: seconds a step takes.
        runner: makes the runner of a model.
        step_times: `step_time` for many repetitions at once, where that is faster.
        skip: whether to jump over steps in which nothing is decided; same events either way.
        deltas: whether to give `TokenDelta` events; simulations that need none run faster.
    """

    alive = True

    def __init__(
        self,
        step_time: StepTime,
        runner: Callable[[str], VirtualRunner] = lambda model: FakeRunner(),
        *,
        config: SchedulerConfig | None = None,
        encoder: Callable[[str], Encode] = lambda model: fake_encode,
        step_times: StepTimes | None = None,
        skip: bool = True,
        deltas: bool = True,
    ) -> None:
        self._step_time = step_time
        self._step_times = step_times
        self._make_runner = runner
        self._config = config or SchedulerConfig()
        self._encoder = encoder
        self._skip = skip
        self._deltas = deltas
        self._engines: dict[str, _VirtualEngine] = {}
        self._emit: Emit = lambda event: None
        self._pending: list[EngineEvent] = []
        self._now = 0.0

    def start(self, emit: Emit) -> None:
        """Take a callback that gets the events `advance` returns; optional."""
        self._emit = emit

    def send(self, message: EngineMessage) -> None:
        """Hand over a message at the time last advanced to."""
        if isinstance(message, Submit):
            self._pending += self._engine(message.model).send(message, self._now)
            return
        for engine in self._engines.values():
            self._pending += engine.send(message, self._now)

    def prepare(self, model: str) -> Future[None]:
        """Give a future that has ended: virtual models need no loading."""
        ready: Future[None] = Future()
        ready.set_result(None)
        return ready

    def encoder(self, model: str) -> Encode:
        """Give what turns chat messages into prompt tokens."""
        return self._encoder(model)

    def close(self) -> None:
        """Queue `Shutdown` everywhere; the answers come with the next events."""
        self.send(Shutdown())

    def next_event_s(self) -> float | None:
        """Say when to `advance` to next; None if nothing will happen without a message.

        Steps that can begin do so here: send all messages of one moment before asking.
        """
        for engine in self._engines.values():
            self._pending += engine.begin()
        if self._pending:
            return self._now
        times = [
            at for engine in self._engines.values() if (at := engine.next_event_s()) is not None
        ]
        return min(times, default=None)

    def advance(self, now: float) -> list[EngineEvent]:
        """Move on to `now` and give what happened until then, in order of time.

        Raises:
            BackendError: `now` is before the time advanced to already.
        """
        if now < self._now:
            raise BackendError(f"Virtual time cannot go back from {self._now} to {now}")
        self._now = now
        events, self._pending = self._pending, []
        for engine in self._engines.values():
            events += engine.advance(now)
        events.sort(key=lambda event: event.at_s)
        for event in events:
            self._emit(event)
        return events

    def _engine(self, model: str) -> _VirtualEngine:
        if model not in self._engines:
            runner = self._make_runner(model)
            core = EngineCore(runner, self._config, deltas=self._deltas)
            self._engines[model] = _VirtualEngine(core, runner, self._durations, self._skip)
        return self._engines[model]

    def _durations(self, output: SchedulerOutput, num_steps: int) -> Sequence[float]:
        if self._step_times is not None and num_steps > 1:
            return self._step_times(output, num_steps)
        return [self._step_time(repeated(output, index)) for index in range(num_steps)]
