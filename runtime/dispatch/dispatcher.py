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
from collections.abc import Mapping
from typing import Any, cast

from gangline.ir.errors import GanglineError, JobCancelled
from gangline.ir.specs.event import FINAL_STATUSES, STATUS_AFTER, STOP_EVENTS, Event
from gangline.ir.specs.plan import Plan

from .backoff import backoff_s
from .commands import AskPerson, Command, Complete, Fail, RetryAfter, Step, Work
from .flight import Flight, writes
from .flights import Flights
from .frame import Frame
from .interpreter import Activation, Interpreter
from .issuing import Issuing
from .job_errors import broken_log, deadline_error, incomplete_fork, unknown_effect
from .policing import GATE, Policing
from .programs import plan_of, program_of
from .remaining import expectation_of
from .spending import Spending


class Dispatcher:
    """The state of one job, and what it wants done next.

    `flights` and `policing` are for reading: all changes are events.
    """

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.status = "new"
        self.deadline_s = math.inf
        self.on_deadline = "late"
        self.output: Any = None
        self.error: Mapping[str, str] | None = None
        self._running = False
        self._closing = False
        self._failure: Fail | None = None
        self.flights = Flights()
        self._spending = Spending()
        self._missing = 0
        self.policing: Policing
        self._denied: Fail | None = None  # by a person; the job ends with it, whoever starts it
        self._gate: Activation | None = None
        self._interpreter: Interpreter
        self._issuing: Issuing

    @property
    def spent_usd(self) -> float:
        """Give what the job's steps have cost so far."""
        return self._spending.spent_usd

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

    def interrupts(self, at_rest: bool) -> list[Mapping[str, Any]]:
        """Give what a person is asked: questions, and what became of writes.

        `at_rest`: nothing of this job runs, so that writes in flight were left by a process.
        """
        return [] if self.finished else self.flights.interrupts(at_rest)

    def open_step(self, step_id: str) -> tuple[Step, float]:
        """Give a step in flight, and when it started."""
        flight = self.flights.flying[step_id]
        return self._step(flight), flight.since_s

    def prefilled(self, step_id: str) -> bool:
        """Say whether this prefill step has been recorded as completed."""
        return step_id in self._spending.prefilled

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
        self._missing = data.get("recorded", 0)
        self.policing = Policing(self._program, data)
        self._issuing = Issuing(self.job_id, self.policing, data.get("device", ""))
        self._expect(None)
        self._planned(event)
        self.status = "queued"
        inputs = data["inputs"]
        rows = self._program.inputs
        self._interpreter.start([inputs.get(row.name, row.default) for row in rows])
        self._take_ready()
        gate = self.policing.gate()
        if gate is not None:
            self._gate = Activation(GATE, gate, (), (), cast(Frame, None), 0)
            self.flights.park_first(GATE, self._gate, 1)

    def _limits(self, data: Mapping[str, Any], at_s: float) -> None:
        if data.get("deadline_s") is not None:
            self.deadline_s = at_s + data["deadline_s"]
        if data.get("budget_usd") is not None:
            self._spending.budget_usd = data["budget_usd"]

    def _planned(self, event: Event) -> None:
        plan = event.data.get("plan")
        if plan is not None:
            self._expect(plan_of(plan))

    def _expect(self, plan: Plan | None) -> None:
        expectation = expectation_of(self._program, plan)
        self._issuing.expectation = self._spending.expectation = expectation

    def _started(self, event: Event, now: float) -> list[Command]:
        """Begin, or go on after a crash, a failure or a question."""
        self.status, self._running, self._closing = "running", True, False
        self._failure = self.error = self.output = None
        if self._missing:
            return [Fail("job.failed", incomplete_fork(self.job_id).to_json())]
        self._issuing.times_dropped.update(event.data.get("dropped", ()))
        self._spending.spent_usd += event.data.get("spent_usd", 0.0)
        self._limits(event.data, event.at_s)
        if self._denied is not None:
            self._closing = True
            return [self._denied]
        unsafe = self.flights.unsafe(frozenset(event.data.get("rerun", ())))
        if unsafe is not None:
            step_id = unsafe.activation.id
            told = unknown_effect(unsafe.activation.stage.attributes["tool"], step_id)
            return [Fail("job.input_required", told.to_json(), step_id)]
        self.flights.restart()
        self._spending.paid.clear()
        return self._go_on(now)

    def _take_ready(self) -> None:
        ready, parked = self._interpreter.ready, self.flights.parked
        while ready:
            activation = ready.popleft()
            parked[activation.id] = (activation, 1)

    def _go_on(self, now: float) -> list[Command]:
        """Issue what is ready and fits the budget; end the job when it has an end."""
        commands: list[Command] = []
        self._take_ready()
        flights, spending = self.flights, self._spending
        # Invariant: spent + reserved never exceeds the budget by an issue made here.
        while flights.parked and self._may_issue():
            if spending.budget_usd is not None and not spending.fits(
                flights.first_parked(), flights.reserved_usd
            ):
                break
            try:
                commands.append(self._issue(*flights.parked.popitem(last=False)[1]))
            except GanglineError as error:
                self._fail(error.to_json(), commands)
        commands.extend(self._settle(now))
        return commands

    def _may_issue(self) -> bool:
        if self._gate is not None and GATE not in self.flights.parked:
            return False  # nothing begins before the question about the whole job is answered
        return self._running and self._failure is None and self._interpreter.error is None

    def _issue(self, activation: Activation, attempt: int) -> Work:
        work = self._issuing.work(activation, attempt, self.deadline_s)
        held = isinstance(work, AskPerson) and bool(work.findings)
        reserved = 0.0 if held else self._spending.predicted_usd(activation)
        touches = not held and writes(activation.stage)
        self.flights.add(Flight(activation, attempt, reserved, touches, held=held))
        if activation.stage.op == "decode":
            self._spending.paid.add(activation.operands[0].step_id)
        return work

    def _step(self, flight: Flight) -> Step:
        activation = flight.activation
        stage, parents = activation.stage, activation.parents
        return self._issuing.step(activation.id, stage, parents, flight.attempt)

    def _step_started(self, event: Event, now: float) -> list[Command]:
        flight = self.flights.flying.get(event.step_id)
        if flight is None:
            return []
        flight.started, flight.since_s = True, event.at_s
        flight.interrupt = event.data.get("interrupt")
        if flight.interrupt is None or flight.asks:
            return []
        # A plan that was read needs a permission: it waits for a person from now on.
        flight.held = True
        self.flights.asks += 1
        return self._settle(now)

    def _step_completed(self, event: Event, now: float) -> list[Command]:
        self._spending.spent_usd += event.data.get("usd") or 0.0
        self._missing -= "from_job" in event.data
        if event.data.get("op") == "prefill":
            self._spending.prefilled.add(event.step_id)
            if not self.flights.knows(event.step_id):
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
        flight = self.flights.land(event.step_id)
        if flight is None:
            raise broken_log(self.job_id, event.step_id)
        return flight

    def _step_failed(self, event: Event, now: float) -> list[Command]:
        self._spending.spent_usd += event.data.get("usd") or 0.0
        flight = self._landed(event)
        error = event.data["error"]
        self._missing -= "from_job" in event.data
        if event.data.get("kept"):
            self._interpreter.fail(flight.activation, error["detail"])
            return self._go_on(now)
        stage = flight.activation.stage
        flight.uncertain = flight.lasting(error)
        if stage.op == "decode":
            self._spending.paid.discard(flight.activation.operands[0].step_id)
        self.flights.wait(flight)
        if event.data.get("denied"):
            self._denied = Fail("job.failed", error, event.step_id)
        commands: list[Command] = []
        left = stage.attributes.get("retries", 0) - flight.attempt + 1
        if left > 0 and event.data.get("retryable", True) and not flight.uncertain:
            if self._failure is None:
                delay_s = backoff_s(flight.attempt, f"{self.job_id}/{event.step_id}")
                commands.append(RetryAfter(self._step(flight), delay_s))
        else:
            self._fail(error, commands, event.step_id)
        return commands + self._go_on(now)

    def _step_planned(self, event: Event, now: float) -> list[Command]:
        self._missing -= "from_job" in event.data
        flight = self.flights.flying.get(event.step_id)
        # A forked job begins with lines of a plan whose expand it has not issued.
        activation = flight.activation if flight else self.flights.parked[event.step_id][0]
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
        flight = self.flights.flying.get(step.id)
        # What fails because the job stops has not had its chance: a retry makes the call.
        return flight is not None and not self.stopping and flight.keeps(error, retryable)

    def _step_retrying(self, event: Event, now: float) -> list[Command]:
        flight, approved = self.flights.flying.get(event.step_id), event.data.get("approved")
        # A person may have confirmed a write that was in flight when its process died, or
        # permitted a step that was held.
        confirmed = event.data.get("confirmed") or approved
        if flight is None or not (flight.waiting or confirmed):
            return []
        if approved:
            self.policing.approved.add(event.step_id)
        self.flights.again(event.step_id, flight.attempt + (not approved), bool(approved))
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

    def hold(self) -> None:
        """Issue nothing more and end nothing; what is in flight is still taken in.

        The job is left so for another process, which replays it: nothing is recorded of this.
        """
        self._running = False

    def writing(self) -> list[Step]:
        """Give the steps whose effects are under way."""
        return [self.open_step(step_id)[0] for step_id in self.flights.writing()]

    def withdraw(self, step_id: str, now: float) -> list[Command]:
        """Take back a command that was not carried out; it is issued again on resumption."""
        self.flights.withdraw(step_id)
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
        commands.extend(self.flights.take_back(self.job_id, wanted))

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
        elif self._failure is None and self.flights.stuck:
            first = self.flights.first_parked()
            self._fail(self._spending.overspend(first).to_json(), commands, first.id)
        if self._failure is not None and self.flights.writes == 0:
            self._closing = True
            commands.append(self._failure)
        elif self._failure is None and self.flights.only_asks:
            self._closing = True
            commands.append(Fail("job.input_required", None))
        return commands

    def _ended(self, event: Event) -> list[Command]:
        self.status = STATUS_AFTER[event.type]
        self._running, self._denied = False, None  # a retry asks again
        if event.type == "job.completed":
            self.output = event.data.get("output")
        self.error = event.data.get("error")
        return []
