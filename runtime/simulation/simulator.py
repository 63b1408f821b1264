"""The minimal simulator: the dispatcher and the engine scheduler of production, in virtual time.

One heap of events. Steps are decided by the same `JobRun` as in the executor, engines are
virtual backends (the same scheduler, a step time instead of a computation), tools are a
duration and a result. Nothing is random here; whoever wants noise puts it, seeded, into the
functions passed in.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from gangline.backends.base import Backend
from gangline.ir.errors import BackendError, StepTimeout
from gangline.ir.specs.event import Event, StepRecord
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.request import (
    Cancel,
    EngineEvent,
    Finished,
    FirstToken,
    RequestFailed,
    TokenDelta,
)
from gangline.runtime.clock import VirtualClock
from gangline.runtime.dispatch.advance import Action, Advance
from gangline.runtime.dispatch.commands import (
    CancelRequest,
    CancelTool,
    Embed,
    Encode,
    Prefill,
    Request,
    RetryAfter,
    RunTool,
    SubmitRequest,
    UseMemory,
)
from gangline.runtime.dispatch.engine_message import submit_message
from gangline.runtime.dispatch.job import Job
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.outcome import RequestOutcome
from gangline.runtime.dispatch.pricing import Pricing
from gangline.runtime.dispatch.prompt import tokens_of
from gangline.runtime.dispatch.routing import LeastLoaded
from gangline.runtime.dispatch.step_fold import fold_steps


class VirtualDevice(Backend, Protocol):
    """A backend in virtual time (`backends.virtual.VirtualBackend`)."""

    def next_event_s(self) -> float | None:
        """Say when to advance to next; None if nothing is under way."""

    def advance(self, now: float) -> Sequence[EngineEvent]:
        """Move on to `now`; give what happened until then."""


@dataclass(frozen=True, slots=True)
class SimulatedJob:
    """How one job went; times are virtual seconds."""

    job_id: str
    arrival_s: float
    end_s: float
    status: str
    late: bool
    usd: float
    events: tuple[Event, ...]

    @property
    def latency_s(self) -> float:
        """Seconds from arrival to end."""
        return self.end_s - self.arrival_s

    @property
    def steps(self) -> list[StepRecord]:
        """The step records, as those of a real job."""
        return fold_steps(self.events)


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """Jobs in order of arrival, and the seconds each device was busy with them."""

    jobs: tuple[SimulatedJob, ...]
    busy_s: Mapping[str, float]
    end_s: float


@dataclass(slots=True, eq=False)
class _Simulated:
    """A job under way."""

    run: JobRun
    arrival_s: float
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Request:
    job: _Simulated
    command: Request
    device: str
    submitted_s: float
    first_token_s: float = math.nan


ToolTime = Callable[[RunTool], float]
ToolResult = Callable[[RunTool], Any]


class Simulator:
    """Run jobs in virtual time.

    Args:
        backends: virtual devices by device id or name.
        tool_time: seconds a tool call takes.
        tool_result: what it returns.
        encode_time: seconds to tokenize.
        tool_slots: by device id, how many tools run at once (default: as many as come).
    """

    def __init__(
        self,
        backends: Mapping[str, VirtualDevice],
        tool_time: ToolTime,
        tool_result: ToolResult = lambda command: None,
        *,
        encode_time: Callable[[Encode], float] = lambda command: 0.0,
        fleet: Fleet | None = None,
        tool_slots: Mapping[str, int] | None = None,
    ) -> None:
        self._clock = VirtualClock()
        self._backends = backends
        self._tool_time, self._tool_result = tool_time, tool_result
        self._encode_time = encode_time
        self._pricing = Pricing(fleet)
        self._routing = LeastLoaded([name for name in backends if "/" in name])
        self._slots = dict(tool_slots or {})
        self._queues: dict[str, deque[Callable[[], None]]] = defaultdict(deque)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._scheduled = 0
        self._requests: dict[str, _Request] = {}
        self._device_times: dict[str, float | None] = dict.fromkeys(backends)
        self._touched: dict[str, None] = {}
        self._busy_s: dict[str, float] = defaultdict(float)

    def run(self, arrivals: Iterable[tuple[float, Job]]) -> SimulationResult:
        """Simulate jobs that arrive at the given times until all have ended."""
        jobs = [self._arrive(index, at, job) for index, (at, job) in enumerate(arrivals)]
        while (now := self._next_s()) < math.inf:
            self._clock.advance_to(now)
            self._advance_devices(now)
            # Invariant: whatever is due at `now` happens before time moves on, in the order
            # in which it was scheduled.
            while self._heap and self._heap[0][0] <= now:
                heapq.heappop(self._heap)[2]()
        ended = tuple(_ended(job) for job in jobs)
        return SimulationResult(ended, dict(self._busy_s), self._clock.now())

    def _at(self, at_s: float, action: Callable[[], None]) -> None:
        self._scheduled += 1
        heapq.heappush(self._heap, (at_s, self._scheduled, action))

    def _next_s(self) -> float:
        for name in self._touched:
            self._device_times[name] = self._backends[name].next_event_s()
        self._touched.clear()
        times = [at for at in self._device_times.values() if at is not None]
        if self._heap:
            times.append(self._heap[0][0])
        return min(times, default=math.inf)

    def _advance_devices(self, now: float) -> None:
        due = [name for name, at in self._device_times.items() if at is not None and at <= now]
        for name in due:
            self._touched[name] = None
            for event in self._backends[name].advance(now):
                self._engine_event(event)

    def _arrive(self, index: int, at_s: float, job: Job) -> _Simulated:
        run = JobRun(
            f"job-{index}", self._pricing, route=lambda s, want: self._routing.pick(s.device, want)
        )
        simulated = _Simulated(run, at_s)
        data = job.to_event_data(as_json=False)

        def arrive() -> None:
            self._follow(simulated, run.queue(data, at_s))
            self._follow(simulated, run.start(at_s))
            if run.expires_s < math.inf:
                expires_s = run.expires_s
                self._at(expires_s, lambda: self._follow(simulated, run.expire(expires_s)))

        self._at(at_s, arrive)
        return simulated

    def _follow(self, job: _Simulated, advance: Advance) -> None:
        job.events.extend(advance.events)
        for action in advance.actions:
            self._perform(job, action)

    def _perform(self, job: _Simulated, action: Action) -> None:
        now = self._clock.now()
        match action:
            case RunTool():
                self._in_slot(job.run.device(action.step), lambda: self._tool(job, action))
            case Encode():
                self._at(now + self._encode_time(action), lambda: self._encoded(job, action, now))
            case UseMemory():
                self._in_slot(job.run.device(action.step), lambda: self._memory(job, action))
            case Embed():
                self._embed(job, action)
            case SubmitRequest() | Prefill():
                self._submit(job, action)
            case CancelRequest():
                self._cancel(action)
            case RetryAfter():
                at_s = now + action.delay_s
                self._at(at_s, lambda: self._follow(job, job.run.retrying(action.step, at_s)))
            case CancelTool():
                pass  # a virtual tool takes its time and is not looked at

    def _in_slot(self, device: str, begin: Callable[[], None]) -> None:
        if device not in self._slots:
            begin()
        elif self._slots[device] > 0:
            self._slots[device] -= 1
            begin()
        else:
            self._queues[device].append(begin)

    def _free_slot(self, device: str) -> None:
        if device not in self._slots:
            return
        if self._queues[device]:
            self._queues[device].popleft()()
        else:
            self._slots[device] += 1

    def _tool(self, job: _Simulated, command: RunTool) -> None:
        started_s = self._clock.now()
        wanted_s = self._tool_time(command)
        limit_s = math.inf if command.timeout_s is None else command.timeout_s
        ended_s = started_s + min(wanted_s, limit_s)

        def end() -> None:
            device = job.run.device(command.step)
            self._busy_s[device] += ended_s - started_s
            if wanted_s > limit_s:
                error = StepTimeout(f"{command.name} did not answer within {limit_s:g} s")
                self._follow(job, job.run.failed(command.step, error, ended_s))
            else:
                value = self._tool_result(command)
                done = job.run.completed(command, value, ended_s, started_s, ended_s)
                self._follow(job, done)
            self._free_slot(device)

        self._at(ended_s, end)

    def _encoded(self, job: _Simulated, command: Encode, started_s: float) -> None:
        now = self._clock.now()
        device = self._routing.pick(command.serving_device)
        encode = self._backend(device).encoder(command.model)
        tokens = tokens_of(encode, command.messages, command.open)
        self._follow(job, job.run.completed(command, tokens, now, started_s, now))

    def _memory(self, job: _Simulated, command: UseMemory) -> None:
        """Take the time that was planned; memory itself is empty here, and stays so."""
        started_s = self._clock.now()
        ended_s = started_s + (command.step.predicted_s or 0.0)
        value: Any = {"lookup": [], "store": command.named.get("key", ""), "observe": 0}[
            command.step.stage.op
        ]

        def end() -> None:
            device = job.run.device(command.step)
            self._busy_s[device] += ended_s - started_s
            self._follow(job, job.run.completed(command, value, ended_s, started_s, ended_s))
            self._free_slot(device)

        self._at(ended_s, end)

    def _embed(self, job: _Simulated, command: Embed) -> None:
        encode = self._backend(job.run.device(command.step)).encoder(command.model)
        tokens = tuple(encode([{"role": "user", "content": command.text}]))
        self._submit(job, replace(command, prompt_tokens=tokens))

    def _submit(self, job: _Simulated, command: Request) -> None:
        now, device = self._clock.now(), job.run.device(command.step)
        backend = self._at_now(device)
        self._requests[command.request_id] = _Request(job, command, device, now)
        self._routing.begin(device)
        backend.send(submit_message(command, now))

    def _cancel(self, command: CancelRequest) -> None:
        request = self._requests.get(command.request_id)
        if request is not None:
            self._at_now(request.device).send(Cancel(command.request_id))

    def _at_now(self, device: str) -> VirtualDevice:
        """Give a device that has been moved to the present, to be sent a message."""
        name, backend = self._name(device), self._backend(device)
        self._touched[name] = None
        for event in backend.advance(self._clock.now()):
            self._engine_event(event)
        return backend

    def _name(self, device: str) -> str:
        return device if device in self._backends else device.split("/", 1)[0]

    def _backend(self, device: str) -> VirtualDevice:
        backend = self._backends.get(self._name(device))
        if backend is None:
            raise BackendError(f"No virtual backend drives the device {device!r}")
        return backend

    def _engine_event(self, event: EngineEvent) -> None:
        request = self._requests.get(event.request_id)
        if request is None:
            return
        job, run, at_s = request.job, request.job.run, event.at_s
        match event:
            case FirstToken():
                request.first_token_s = at_s
                self._follow(job, run.first_token(request.command, event, at_s))
            case TokenDelta():
                self._follow(job, run.wrote(request.command, event.text, at_s))
            case Finished():
                self._end_request(request)
                self._busy_s[request.device] += event.prefill_busy_s + event.decode_busy_s
                outcome = RequestOutcome(event, request.submitted_s, at_s, request.first_token_s)
                self._follow(job, run.finished(request.command, outcome, at_s))
            case RequestFailed():
                self._end_request(request)
                self._follow(job, run.request_failed(request.command, event, at_s))

    def _end_request(self, request: _Request) -> None:
        del self._requests[request.command.request_id]
        self._routing.end(request.device, request.command.request_id)


def _ended(job: _Simulated) -> SimulatedJob:
    run, last = job.run, job.events[-1]
    return SimulatedJob(
        job_id=run.job_id,
        arrival_s=job.arrival_s,
        end_s=last.at_s,
        status=run.dispatcher.status,
        late=bool(last.data.get("late")) if run.dispatcher.status == "succeeded" else True,
        usd=run.dispatcher.spent_usd,
        events=tuple(job.events),
    )
