"""The dispatcher: a reducer over a job's events.

`apply(event, now)` updates the state in place and gives commands; it does no I/O, reads no
clock and draws no random number, so applying the stored events again rebuilds the same state.
Each event costs O(1) amortised, whatever the size of the job.

    job.queued      the program and its inputs are known
    job.started     work may be issued; after a crash or a retry: what was in flight is issued
                    again where that is safe, and a person is asked where it is not
    step.started    the step is in flight
    step.planned    a line of the plan that an expand reads; its step is issued when it can be
    step.completed  its value is known; steps that waited for it are issued
    step.failed     it is tried again later, or the job fails
    step.retrying   the delay has passed; the step is issued again
    job.*           the job has ended, or waits for a person
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, cast

from gangline.ir.errors import GanglineError, JobCancelled, StoreError
from gangline.ir.program import Stage
from gangline.ir.specs.event import FINAL_STATUSES, STATUS_AFTER, STOP_EVENTS, Event

from .backoff import backoff_s
from .commands import (
    AskPerson,
    CancelRequest,
    CancelTool,
    Command,
    Complete,
    Fail,
    RetryAfter,
    Step,
    Work,
)
from .flight import Flight, writes
from .frame import Frame
from .interpreter import Activation, Interpreter, KvHandle
from .job_errors import deadline_error, incomplete_fork, overspend, unknown_effect
from .policing import GATE, SCHEMA, Policing, question
from .programs import plan_of, program_of
from .remaining import Expectation, expectation_of
from .requests import memory_call, tool_call, work_for

_MEMORY = frozenset({"lookup", "store", "observe"})


class Dispatcher:
    """The state of one job, and what it wants done next."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.status = "new"
        self.spent_usd = 0.0
        self.budget_usd: float | None = None
        self.deadline_s = math.inf
        self.on_deadline = "late"
        self.default_device = ""
        self.output: Any = None
        self.error: Mapping[str, str] | None = None
        self._reserved_usd = 0.0
        self._running = False
        self._closing = False
        self._failure: Fail | None = None
        self._flights: dict[str, Flight] = {}
        self._writes = 0
        self._asks = 0
        # By step id, in the order of issue: the activation and the attempt it will be.
        self._parked: OrderedDict[str, tuple[Activation, int]] = OrderedDict()
        self._missing = 0
        self._times_dropped: Counter[str] = Counter()
        self._prefilled: set[str] = set()
        # Prefills that a decode in flight pays for; others that share them do not.
        self._paid: set[str] = set()
        self.policing: Policing
        self._denied: Fail | None = None  # by a person; the job ends with it, whoever starts it
        self._gate: Activation | None = None
        self._interpreter: Interpreter
        self._expectation: Expectation

    @property
    def outstanding(self) -> tuple[str, ...]:
        """Ids of the steps that are in flight or ready, in the order they became so."""
        return (*self._flights, *self._parked)

    @property
    def finished(self) -> bool:
        """Say whether the job has ended for good."""
        return self.status in FINAL_STATUSES

    @property
    def stopping(self) -> bool:
        """Say whether no further step may begin."""
        return not self._running or self._failure is not None

    @property
    def expires_s(self) -> float:
        """Give the time at which the job ends whatever it does; infinite if it may be late."""
        return self.deadline_s if self.on_deadline == "expire" else math.inf

    @property
    def operations(self) -> int:
        """Count the elementary operations of the interpreter so far (for tests of growth)."""
        return self._interpreter.operations

    def in_flight(self, step_id: str) -> bool:
        """Say whether a step was issued and has not ended."""
        return step_id in self._flights

    def flying(self, step_id: str, attempt: int) -> bool:
        """Say whether this attempt of a step is under way (and not waiting to be retried)."""
        flight = self._flights.get(step_id)
        return flight is not None and flight.attempt == attempt and not flight.waiting

    def interrupts(self, at_rest: bool) -> list[Mapping[str, Any]]:
        """Give what a person is asked: questions, and what became of writes.

        `at_rest`: nothing of this job runs, so that writes in flight were left by a process.
        """
        found: list[Mapping[str, Any]] = []
        flights = () if self.finished else self._flights.values()
        # In the order of the workflow, not in that in which they became ready.
        for flight in sorted(flights, key=lambda flight: flight.activation.stage.id):
            if flight.interrupt is not None:
                found.append(flight.interrupt)
            elif at_rest and flight.unsafe:
                found.append(flight.question())
        return found

    def open_step(self, step_id: str) -> tuple[Step, float]:
        """Give a step in flight, and when it started."""
        flight = self._flights[step_id]
        stage, parents = flight.activation.stage, flight.activation.parents
        return self._step(step_id, stage, parents, flight.attempt), flight.since_s

    def prefilled(self, step_id: str) -> bool:
        """Say whether this prefill step has been recorded as completed."""
        return step_id in self._prefilled

    def apply(self, event: Event, now: float) -> list[Command]:
        """Fold one event in; give what is to be done because of it."""
        match event.type:
            case "step.started":
                return self._step_started(event, now)
            case "step.completed":
                return self._step_completed(event, now)
            case "step.planned":
                return self._step_planned(event, now)
            case "job.queued":
                self._queued(event)
            case "job.started":
                return self._started(event, now)
            case "step.failed":
                return self._step_failed(event, now)
            case "step.retrying":
                return self._step_retrying(event, now)
            case "job.planned" | "job.replanned":
                self._planned(event)
                self._limits(event.data, event.at_s)
            case kind if kind in STOP_EVENTS:
                return self._ended(event)
        return []

    def _queued(self, event: Event) -> None:
        data = event.data
        self._program = program_of(data["program"])
        self._interpreter = Interpreter(self._program)
        self._limits(data, event.at_s)
        self.on_deadline = data.get("on_deadline", "late")
        self.default_device = data.get("device", "")
        self._missing = data.get("recorded", 0)
        self._expectation = expectation_of(self._program, None)
        self._planned(event)
        self.status = "queued"
        inputs = data["inputs"]
        rows = self._program.inputs
        self._interpreter.start([inputs.get(row.name, row.default) for row in rows])
        self._take_ready()
        self.policing = Policing(self._program, data)
        gate = self.policing.gate()
        if gate is not None:
            self._gate = Activation(GATE, gate, (), (), cast(Frame, None), 0)
            self._park_first(GATE, self._gate, 1)

    def _limits(self, data: Mapping[str, Any], at_s: float) -> None:
        if data.get("deadline_s") is not None:
            self.deadline_s = at_s + data["deadline_s"]
        if data.get("budget_usd") is not None:
            self.budget_usd = data["budget_usd"]

    def _planned(self, event: Event) -> None:
        plan = event.data.get("plan")
        if plan is not None:
            self._expectation = expectation_of(self._program, plan_of(plan))

    def _started(self, event: Event, now: float) -> list[Command]:
        """Begin, or go on after a crash, a failure or a question."""
        self.status, self._running, self._closing = "running", True, False
        self._failure = self.error = self.output = None
        if self._missing:
            return [Fail("job.failed", incomplete_fork(self.job_id).to_json())]
        self._times_dropped.update(event.data.get("dropped", ()))
        self.spent_usd += event.data.get("spent_usd", 0.0)
        self._limits(event.data, event.at_s)
        if self._denied is not None:
            self._closing = True
            return [self._denied]
        rerun = frozenset(event.data.get("rerun", ()))
        flights = self._flights
        for step_id, flight in flights.items():
            if step_id not in rerun and flight.unsafe:
                told = unknown_effect(flight.activation.stage.attributes["tool"], step_id)
                return [Fail("job.input_required", told.to_json(), step_id)]
        # What was in flight is issued again: the process that carried it is gone. A question
        # stays asked.
        self._flights = {name: flight for name, flight in flights.items() if flight.interrupt}
        self._asks, self._writes, self._reserved_usd = len(self._flights), 0, 0.0
        self._paid.clear()
        for step_id, flight in reversed(flights.items()):
            if step_id not in self._flights:
                self._park_first(step_id, flight.activation, 1)
        return self._go_on(now)

    def _take_ready(self) -> None:
        ready = self._interpreter.ready
        while ready:
            activation = ready.popleft()
            self._parked[activation.id] = (activation, 1)

    def _park_first(self, step_id: str, activation: Activation, attempt: int) -> None:
        self._parked[step_id] = (activation, attempt)
        self._parked.move_to_end(step_id, last=False)

    def _first_parked(self) -> Activation:
        return next(iter(self._parked.values()))[0]

    def _go_on(self, now: float) -> list[Command]:
        """Issue what is ready and fits the budget; end the job when it has an end."""
        commands: list[Command] = []
        self._take_ready()
        # Invariant: spent + reserved never exceeds the budget by an issue made here.
        while self._parked and self._may_issue():
            if self.budget_usd is not None and not self._fits(self._first_parked()):
                break
            try:
                commands.append(self._issue(*self._parked.popitem(last=False)[1]))
            except GanglineError as error:
                self._fail(error.to_json(), commands)
        commands.extend(self._settle(now))
        return commands

    def _may_issue(self) -> bool:
        if self._gate is not None and GATE not in self._parked:
            return False  # nothing begins before the question about the whole job is answered
        return self._running and self._failure is None and self._interpreter.error is None

    def _fits(self, activation: Activation) -> bool:
        if self.budget_usd is None:
            return True
        wanted = self.spent_usd + self._reserved_usd + self._predicted_usd(activation)
        return wanted <= self.budget_usd

    def _predicted_usd(self, activation: Activation) -> float:
        row = self._expectation.row(activation.stage)
        usd = 0.0 if row is None else row.usd
        if activation.stage.op == "decode":
            handle: KvHandle = activation.operands[0]
            prefill = self._expectation.row(handle.stage)
            is_paid = handle.step_id in self._prefilled or handle.step_id in self._paid
            usd += 0.0 if prefill is None or is_paid else prefill.usd
        return usd

    def _issue(self, activation: Activation, attempt: int) -> Work:
        work = self._work(activation, attempt)
        held = isinstance(work, AskPerson) and bool(work.findings)
        reserved = 0.0 if held else self._predicted_usd(activation)
        touches = not held and writes(activation.stage)
        flight = Flight(activation, attempt, reserved, touches, held=held)
        self._flights[activation.id] = flight
        self._reserved_usd += reserved
        if activation.stage.op == "decode":
            self._paid.add(activation.operands[0].step_id)
        self._writes += touches
        self._asks += flight.asks
        return work

    def _work(self, activation: Activation, attempt: int) -> Work:
        stage, prefill = activation.stage, None
        step = self._step(activation.id, stage, activation.parents, attempt)
        findings = self.policing.asked(activation.id)
        if findings:
            return AskPerson(step, question(activation.id, findings), SCHEMA, findings)
        key = f"{self.job_id}/{activation.id}"
        if activation.id in self._times_dropped:
            # It runs again because somebody wants a second effect, not because of a crash.
            key = f"{key}/{self._times_dropped[activation.id]}"
        if stage.op == "tool":
            return tool_call(activation, step, key)
        if stage.op in _MEMORY:
            return memory_call(activation, step, key)
        if stage.op == "decode":
            handle: KvHandle = activation.operands[0]
            prefill = self._step(handle.step_id, handle.stage, handle.parents, attempt)
        due = (self.deadline_s, self._expectation.after(stage))
        serving = self._expectation.serving_device(stage) or self.default_device
        return work_for(activation, step, self.job_id, prefill, due, serving)

    def _step(self, step_id: str, stage: Stage, parents: tuple[str, ...], attempt: int) -> Step:
        row = self._expectation.row(stage)
        if row is None:
            return Step(step_id, stage, self.default_device, parents, attempt)
        return Step(step_id, stage, row.device, parents, attempt, row.seconds, row.usd)

    def _step_started(self, event: Event, now: float) -> list[Command]:
        flight = self._flights.get(event.step_id)
        if flight is None:
            return []
        flight.started, flight.since_s = True, event.at_s
        flight.interrupt = event.data.get("interrupt")
        if flight.interrupt is None or flight.asks:
            return []
        # A plan that was read needs a permission: it waits for a person from now on.
        flight.held = True
        self._asks += 1
        return self._settle(now)

    def _step_completed(self, event: Event, now: float) -> list[Command]:
        self.spent_usd += event.data.get("usd") or 0.0
        self._missing -= "from_job" in event.data
        if event.data.get("op") == "prefill":
            self._prefilled.add(event.step_id)
            if event.step_id not in self._flights and event.step_id not in self._parked:
                # Of a pair. A fork may have it before its decodes are ready, as another had
                # recorded it.
                return []
        activation, value = self._landed(event).activation, event.data.get("value")
        if activation is self._gate:
            self._gate = None
            return self._go_on(now)
        if activation.stage.op == "expand":
            self.policing.count(activation.stage, (value or {}).get("steps", ()))
        self._interpreter.finish(activation, value)
        return self._go_on(now)

    def _landed(self, event: Event) -> Flight:
        flight = self._flights.pop(event.step_id, None)
        if flight is None and event.step_id in self._parked:
            # A forked job begins with results of steps it never issued.
            return Flight(*self._parked.pop(event.step_id), 0.0, False)
        if flight is None:
            raise StoreError(
                f"The log of job {self.job_id} ends step {event.step_id!r}, which is not running",
                next_step="Run the job again; this one cannot be continued.",
            )
        self._reserved_usd = self._reserved_usd - flight.reserved_usd if self._flights else 0.0
        self._writes -= flight.writes
        self._asks -= flight.asks
        return flight

    def _step_failed(self, event: Event, now: float) -> list[Command]:
        self.spent_usd += event.data.get("usd") or 0.0
        flight = self._landed(event)
        error = event.data["error"]
        self._missing -= "from_job" in event.data
        if event.data.get("kept"):
            self._interpreter.fail(flight.activation, error["detail"])
            return self._go_on(now)
        stage = flight.activation.stage
        flight.uncertain = flight.lasting(error)
        if stage.op == "decode":
            self._paid.discard(flight.activation.operands[0].step_id)
        flight.waiting, flight.reserved_usd = True, 0.0
        flight.held, flight.interrupt = False, None
        self._flights[event.step_id] = flight
        if event.data.get("denied"):
            self._denied = Fail("job.failed", error, event.step_id)
        commands: list[Command] = []
        left = stage.attributes.get("retries", 0) - flight.attempt + 1
        if left > 0 and event.data.get("retryable", True) and not flight.uncertain:
            step = self._step(event.step_id, stage, flight.activation.parents, flight.attempt)
            if self._failure is None:
                commands.append(RetryAfter(step, self._backoff_s(event.step_id, flight)))
        else:
            self._fail(error, commands, event.step_id)
        return commands + self._go_on(now)

    def _step_planned(self, event: Event, now: float) -> list[Command]:
        self._missing -= "from_job" in event.data
        flight = self._flights.get(event.step_id)
        # A forked job begins with lines of a plan whose expand it has not issued.
        activation = flight.activation if flight else self._parked[event.step_id][0]
        step, findings = event.data["step"], event.data.get("findings")
        if findings:
            self.policing.held[f"{event.step_id}/{step['id']}"] = findings
        self._interpreter.plan(activation, step)
        return self._go_on(now)

    def planned(self, step_id: str) -> tuple[Mapping[str, Any], ...]:
        """Give the recorded lines of a plan that an expand step is still reading."""
        return self._interpreter.planned(step_id)

    def keeps(self, step: Step, error: Mapping[str, str], retryable: bool) -> bool:
        """Say whether a failure of this step is kept as its outcome, and the job goes on."""
        flight = self._flights.get(step.id)
        # What fails because the job stops has not had its chance: a retry makes the call.
        return flight is not None and not self.stopping and flight.keeps(error, retryable)

    def _step_retrying(self, event: Event, now: float) -> list[Command]:
        flight, approved = self._flights.get(event.step_id), event.data.get("approved")
        # A person may have confirmed a write that was in flight when its process died, or
        # permitted a step that was held.
        confirmed = event.data.get("confirmed") or approved
        if flight is None or not (flight.waiting or confirmed):
            return []
        del self._flights[event.step_id]
        if approved:
            self.policing.approved.add(event.step_id)
            self._asks -= flight.asks
        attempt = flight.attempt + (not approved)
        self._park_first(event.step_id, flight.activation, attempt)
        return self._go_on(now)

    def stop(self, kind: str, error: GanglineError, step_id: str, now: float) -> list[Command]:
        """Issue nothing more; a Fail command that records `kind` comes once writes have ended."""
        commands: list[Command] = []
        self._fail(error.to_json(), commands, step_id, kind)
        return commands + self._settle(now)

    def cancel(self, now: float) -> list[Command]:
        """Stop the job because somebody asked for it."""
        return self.stop("job.cancelled", JobCancelled("The job was cancelled"), "", now)

    def expire(self, now: float) -> list[Command]:
        """Stop the job because its deadline passed."""
        return self.stop("job.expired", deadline_error(self.job_id), "", now)

    def _backoff_s(self, step_id: str, flight: Flight) -> float:
        return backoff_s(flight.attempt, f"{self.job_id}/{step_id}")

    def hold(self) -> None:
        """Issue nothing more and end nothing; what is in flight is still taken in.

        The job is left so for another process, which replays it: nothing is recorded of this.
        """
        self._running = False

    def writing(self) -> list[Step]:
        """Give the steps whose effects are under way."""
        flights = self._flights.items()
        open_ids = [name for name, flight in flights if flight.writes and not flight.waiting]
        return [self.open_step(step_id)[0] for step_id in open_ids]

    def withdraw(self, step_id: str, now: float) -> list[Command]:
        """Take back a command that was not carried out; it is issued again on resumption."""
        flight = self._flights.pop(step_id)
        self._writes -= flight.writes
        self._asks -= flight.asks
        self._reserved_usd -= flight.reserved_usd
        self._park_first(step_id, flight.activation, flight.attempt)
        return self._settle(now)

    def _fail(
        self,
        error: Mapping[str, str],
        commands: list[Command],
        step_id: str = "",
        kind: str = "job.failed",
    ) -> None:
        """Remember the first failure and take back what engines still work on."""
        if self._failure is not None or self.finished:
            return
        self._failure = Fail(kind, error, step_id)
        wanted = kind not in ("job.cancelled", "job.expired")
        for flown, flight in self._flights.items():
            if not flight.waiting:
                commands.extend(self._take_back(flown, flight, wanted))

    def _take_back(self, step_id: str, flight: Flight, wanted: bool) -> Iterator[Command]:
        """Say that nobody waits for a step; `wanted`: what it writes is of use to a retry."""
        stage = flight.activation.stage
        if stage.op in ("prefill", "decode", "embed"):
            yield CancelRequest(f"{self.job_id}:{step_id}:{flight.attempt}", step_id)
        elif (
            stage.op == "tool"
            and flight.started
            and self._writes
            and not (flight.writes and wanted)
        ):
            # Without a write in flight the job ends now, and its calls with it.
            yield CancelTool(step_id, by_force=not flight.writes)

    def _settle(self, now: float) -> list[Command]:
        """End the job once: with its output, or with its failure when no write is in flight."""
        if self._closing or not self._running:
            return []
        commands: list[Command] = []
        if self._interpreter.error is not None:
            self._fail(self._interpreter.error.to_json(), commands)
        elif self._gate is not None:
            pass  # whatever the job comes to, it is asked about first
        elif self._interpreter.output is not None and self._failure is None:
            self._closing = True
            return [Complete(self._interpreter.output.value, now > self.deadline_s)]
        elif self._stuck():
            self._fail(self._overspend().to_json(), commands, self._first_parked().id)
        if self._failure is not None and self._writes == 0:
            self._closing = True
            commands.append(self._failure)
        elif self._failure is None and self._flights and len(self._flights) == self._asks:
            self._closing = True
            commands.append(Fail("job.input_required", None))
        return commands

    def _stuck(self) -> bool:
        """Say whether nothing that runs could free the budget the next step needs."""
        if not self._parked or self._failure is not None:
            return False
        return all(flight.waits for flight in self._flights.values())

    def _overspend(self) -> GanglineError:
        activation = self._first_parked()
        next_usd, budget_usd = self._predicted_usd(activation), self.budget_usd or 0.0
        return overspend(self.spent_usd, next_usd, budget_usd, activation.id)

    def _ended(self, event: Event) -> list[Command]:
        self.status = STATUS_AFTER[event.type]
        self._running, self._denied = False, None  # a retry asks again
        if event.type == "job.completed":
            self.output = event.data.get("output")
        self.error = event.data.get("error")
        return []
