"""One job being run: outcomes in, events and commands out; still without I/O.

The executor and the simulator share this class, so that both record the same events. Every
change of state is an event first: it gets the next number of the log, and is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from gangline.ir.errors import GanglineError, JobCancelled, JobError, StepError
from gangline.ir.specs.event import STOP_EVENTS, Event
from gangline.ir.specs.request import FirstToken, RequestFailed

from .advance import Advance, Draft
from .answer_event import answer_event
from .answers import accepted
from .commands import (
    AskPerson,
    Call,
    CheckPlan,
    Command,
    Complete,
    Embed,
    Encode,
    Fail,
    ParseOutput,
    Prefill,
    ReadPlan,
    Request,
    RunTool,
    Step,
    SubmitRequest,
    UseMemory,
)
from .dispatcher import Dispatcher
from .engine_message import want_of
from .fork import effective
from .job import DEFAULT_PRIORITY
from .job_errors import deadline_error, expired_before, unended
from .open_plans import OpenPlans, PlanNews
from .outcome import RequestOutcome
from .output_value import output_value
from .pricing import Pricing
from .step_data import Route, StepData

Check = Callable[[RunTool], JobError | None]


class JobRun:
    """Drive one dispatcher.

    Args:
        check: says why a tool call must not be made (its signature changed), before its
            step.started is recorded.
        route: chooses the device id a step runs on, given the device the plan names, and what a
            request looks for.

    Attributes:
        ended: whether the job has stopped: for good, or to ask a person.
    """

    def __init__(
        self,
        job_id: str,
        pricing: Pricing,
        check: Check | None = None,
        route: Route = lambda step, want: step.device,
    ) -> None:
        self.dispatcher = Dispatcher(job_id)
        self.job_id = job_id
        self.tenant = ""
        self.priority = DEFAULT_PRIORITY
        self.last_seq = 0
        self.ended = False
        self._check = check
        self._data = StepData(pricing, route)
        self._prefills: set[str] = set()
        self._plans = OpenPlans(self.dispatcher)

    @property
    def stopping(self) -> bool:
        """Say whether no further step may begin."""
        return self.dispatcher.stopping

    def replay(self, events: Sequence[Event], dropped: Sequence[str] = ()) -> None:
        """Rebuild the state from stored events; nothing is issued.

        `dropped` are the steps that the next start takes back (`fork.retry_from`).
        """
        for event in effective(events, dropped):
            self._note(event)
            self.dispatcher.apply(event, event.at_s)
        self.last_seq = events[-1].seq if events else self.last_seq

    def queue(self, data: Mapping[str, Any], now: float) -> Advance:
        """Record that the job exists."""
        return self._advance([("job.queued", "", data)], now)

    @property
    def expires_s(self) -> float:
        """When to call `expire`; infinite for a job that may finish late."""
        return self.dispatcher.expires_s

    def start(self, now: float, data: Mapping[str, Any] | None = None) -> Advance:
        """Record that work begins, or goes on; a job whose hard deadline has passed expires.

        `data` is that of job.started; its `answers` (by interrupt) are recorded before as steps
        that have ended. Raises as `answer`, and ConflictError for a job that has ended and
        whose hard deadline is over; then nothing has changed.
        """
        given_s = (data or {}).get("deadline_s")
        if given_s is None and now >= self.expires_s:
            if self.dispatcher.finished:
                raise expired_before(self.job_id)
            return self._expired_at_rest(now)
        self.ended = False
        self._data.clear()
        self._prefills.clear()
        self._plans.clear()
        given, advance = dict(data or {}), Advance()
        if self.dispatcher.status == "queued":
            given.pop("resumed", None)  # a fork has steps, but has not run yet
        answers = given.pop("answers", {})
        drafts = [self._answer(name, value, now, True) for name, value in answers.items()]
        for kind, step_id, told in drafts:
            # What follows from the answers is issued once the job has started.
            self._record(kind, step_id, told, now, advance)
        return self._follow(self._record("job.started", "", given, now, advance), advance, now)

    def answer(self, interrupt: str, value: Any, now: float) -> Advance:
        """Take a person's answer while the job runs, or has stopped to wait for it.

        Raises:
            ConflictError: there is no such question (any more).
            InputError: the answer does not fit the question's JSON Schema.
        """
        at_rest = self.ended or self.dispatcher.status != "running"
        return self._advance([self._answer(interrupt, value, now, at_rest)], now)

    def _answer(self, interrupt: str, value: Any, now: float, at_rest: bool) -> Draft:
        questions = self.dispatcher.interrupts(at_rest)
        value = accepted(questions, interrupt, value, self.job_id)
        asked = next(row for row in questions if row["id"] == interrupt)
        step, since_s = self.dispatcher.open_step(interrupt)
        return answer_event(asked, step, value, self._data.ended(step, since_s, now))

    def completed(
        self, command: Call, value: Any, now: float, started_s: float, ended_s: float
    ) -> Advance:
        """Take the result of a tool, of a tokenizer or of memory."""
        if not self._current(command.step):
            return Advance()
        data = self._data.called(command, value, started_s, ended_s)
        return self._advance([("step.completed", command.step.id, data)], now)

    def failed(
        self,
        step: Step,
        error: GanglineError | Mapping[str, str],
        now: float,
        retryable: bool = True,
    ) -> Advance:
        """Take the failure of a step."""
        if not self._current(step):
            return Advance()
        told = error.to_json() if isinstance(error, GanglineError) else error
        data = {**self._data.failed(step, told, now), "retryable": retryable}
        if self.dispatcher.keeps(step, data["error"], retryable):
            data["kept"] = True
        return self._advance([("step.failed", step.id, data)], now)

    def first_token(self, command: Request, event: FirstToken, now: float) -> Advance:
        """Take the end of a prefill: its decode has started."""
        if not isinstance(command, SubmitRequest) or not self._current(command.step):
            return Advance()
        if not self.dispatcher.prefilled(command.prefill.id):
            self._data.prefill_ended(command, event, now)
        data = {**self._data.started(command.step), "cached_tokens": event.cached_tokens}
        return self._advance([("step.started", command.step.id, data)], now)

    def wrote(self, command: Request, text: str, now: float) -> Advance:
        """Take more text of a decode: what reads it as a plan goes on."""
        if not (self._plans.reads(command.step.id) and self._current(command.step)):
            return Advance()
        advance = Advance()
        self._planned(self._plans.feed(command.step.id, text), advance, now)
        return advance

    def finished(self, command: Request, outcome: RequestOutcome, now: float) -> Advance:
        """Take the result of an engine request: its prefill and its decode have ended."""
        if not self._current(command.step):
            return Advance()
        if isinstance(command, Embed):
            done = self._data.embedded(command, outcome)
            return self._advance([("step.completed", command.step.id, done)], now)
        if isinstance(command, Prefill):
            done = self._data.begun(command, outcome)
            return self._advance([("step.completed", command.step.id, done)], now)
        drafts: list[Draft] = []
        if not self.dispatcher.prefilled(command.prefill.id):
            prefill = self._data.prefilled(command, outcome)
            drafts.append(("step.completed", command.prefill.id, prefill))
        decode = self._data.decoded(command, outcome)
        drafts.append(("step.completed", command.step.id, decode))
        advance = self._advance(drafts, now)
        self._planned(self._plans.finish(command.step.id, outcome.finished.text), advance, now)
        return advance

    def request_failed(self, command: Request, event: RequestFailed, now: float) -> Advance:
        """Take the failure of an engine request."""
        return self.failed(command.step, event.error, now)

    def retrying(self, step: Step, now: float) -> Advance:
        """Record that the delay before another attempt has passed."""
        if self.ended or step.id not in self.dispatcher.flights.flying:
            return Advance()
        return self._advance([("step.retrying", step.id, {"attempt": step.attempt + 1})], now)

    def hold(self) -> None:
        """Begin nothing more, so that the job can be left to another process (see `writing`)."""
        self.dispatcher.hold()

    @property
    def writing(self) -> bool:
        """Say whether steps are in flight that must not be left: their effects are under way."""
        return bool(self.dispatcher.writing())

    def cancel(self, now: float) -> Advance:
        """Stop the job on request."""
        if self.dispatcher.status != "running":
            error = JobCancelled("The job was cancelled before it ran").to_json()
            return self._advance([("job.cancelled", "", {"error": error})], now)
        return self._follow(self.dispatcher.cancel(now), Advance(), now)

    def replan(self, deadline_at_s: float, now: float) -> Advance:
        """Record another deadline, in seconds since the epoch."""
        deadline_s = max(deadline_at_s - now, 0.0)
        return self._advance([("job.replanned", "", {"deadline_s": deadline_s})], now)

    def expire(self, now: float) -> Advance:
        """End a job whose hard deadline has passed; writes in flight end and are recorded first."""
        if self.dispatcher.finished or now < self.expires_s:
            return Advance()
        if self.dispatcher.status != "running":
            return self._expired_at_rest(now)
        return self._follow(self.dispatcher.expire(now), Advance(), now)

    def give_up(self, now: float) -> Advance:
        """Wait no longer for writes of a job that is to end: it is not known what became of them."""
        advance = Advance()
        for step in self.dispatcher.writing() if self.stopping and not self.ended else ():
            error = unended(step.stage.name, step.where)
            more = self.failed(step, error, now, retryable=False)
            advance.extend(more)
        return advance

    def _expired_at_rest(self, now: float) -> Advance:
        """End a job of which nothing runs: no write of this process can still end."""
        error = deadline_error(self.job_id).to_json()
        return self._advance([("job.expired", "", {"error": error})], now)

    def device(self, step: Step) -> str:
        """Give the device id the step was routed to."""
        return self._data.device(step)

    def _current(self, step: Step) -> bool:
        """Say whether this attempt is still awaited (a timed-out tool may answer late)."""
        return not self.ended and self.dispatcher.flights.is_under_way(step.id, step.attempt)

    def _advance(self, drafts: Sequence[Draft], now: float) -> Advance:
        advance = Advance()
        for kind, step_id, data in drafts:
            self._follow(self._record(kind, step_id, data, now, advance), advance, now)
        return advance

    def _follow(self, commands: Sequence[Command], advance: Advance, now: float) -> Advance:
        """Carry out what needs no world; leave the rest as actions."""
        queue = list(commands)
        # Invariant: events are recorded before the actions that depend on them are handed out.
        for command in queue:  # sees what is added meanwhile
            queue.extend(self._handle(command, advance, now))
        return advance

    def _handle(self, command: Command, advance: Advance, now: float) -> Sequence[Command]:
        match command:
            case RunTool() | Encode() | UseMemory() | SubmitRequest() | Prefill() | Embed():
                return self._begin(command, advance, now)
            case ParseOutput():
                return self._parse(command, advance, now)
            case Complete():
                self._complete(command, advance, now)
            case AskPerson():
                return self._ask(command, advance, now)
            case CheckPlan() | ReadPlan():
                self._take_plan(command, advance, now)
            case Fail():
                self._fail(command, advance, now)
            case _:
                advance.actions.append(command)
        return ()

    def _begin(self, command: Call | Request, advance: Advance, now: float) -> Sequence[Command]:
        """Begin a step, unless the job stops or the tool is not the one the program knows."""
        step_id, dispatcher = command.step.id, self.dispatcher
        refusal = self._check(command) if self._check and isinstance(command, RunTool) else None
        commands: list[Command] = []
        if refusal is not None:
            commands = dispatcher.stop("job.input_required", refusal, step_id, now)
        if dispatcher.stopping:
            return commands + dispatcher.withdraw(step_id, now)
        self._issue(command, advance, now)
        return ()

    def _issue(self, command: Call | Request, advance: Advance, now: float) -> None:
        step = command.prefill if isinstance(command, SubmitRequest) else command.step
        device = self._data.route(command.step, want_of(command, self.tenant))
        self._data.issue(command.step, now)
        data = self._data.started(step, device)
        advance.actions.append(command)
        if isinstance(command, SubmitRequest):
            self._plans.restart(command.step.id)
            if step.id in self._prefills or self.dispatcher.prefilled(step.id):
                return
            self._prefills.add(step.id)
            self._data.place(step, device)
        self._record("step.started", step.id, data, now, advance)

    def _parse(self, command: ParseOutput, advance: Advance, now: float) -> Sequence[Command]:
        step = command.step
        self._data.route(step)
        data = {**self._data.ended(step, now, now), "usd": 0.0}
        try:
            data["value"] = output_value(command)
        except StepError as error:
            data.update(error=error.to_json(), retryable=False)
            return self._record("step.failed", step.id, data, now, advance)
        return self._record("step.completed", step.id, data, now, advance)

    def _ask(self, command: AskPerson, advance: Advance, now: float) -> Sequence[Command]:
        step = command.step
        if self.dispatcher.stopping:
            return self.dispatcher.withdraw(step.id, now)
        data = {**self._data.started(step, step.device), "interrupt": command.interrupt()}
        return self._record("step.started", step.id, data, now, advance)

    def _take_plan(self, command: CheckPlan | ReadPlan, advance: Advance, now: float) -> None:
        """Record a plan as it will be carried out, so that a resumed job never plans again."""
        step = command.step
        if self.dispatcher.stopping:
            self._follow(self.dispatcher.withdraw(step.id, now), advance, now)
        elif isinstance(command, CheckPlan):
            news = self._plans.check(command)
            if isinstance(news, AskPerson):
                self._follow(self._ask(news, advance, now), advance, now)
            else:
                self._planned([news], advance, now)
        else:
            self._data.issue(step, now)
            self._record("step.started", step.id, self._data.started(step), now, advance)
            self._planned(self._plans.begin(command), advance, now)

    def _planned(self, told: Iterable[PlanNews], advance: Advance, now: float) -> None:
        """Record what was read of plans: each line as it is there, so that its step can start."""
        for kind, step, data in told:
            if self.dispatcher.stopping:
                return
            if kind != "step.planned":
                ended = self._data.ended(step, self._data.issued_s(step, now), now)
                data = {**ended, "usd": 0.0, **data}
            self._follow(self._record(kind, step.id, data, now, advance), advance, now)

    def _fail(self, command: Fail, advance: Advance, now: float) -> None:
        data: dict[str, Any] = {}
        if command.error is not None:
            data["error"] = dict(command.error)
        if command.type == "job.input_required":
            asked = self.dispatcher.interrupts(at_rest=True)
            data.update(interrupt=asked[0] if asked else None, interrupts=asked)
        self._record(command.type, command.step_id, data, now, advance)

    def _complete(self, command: Complete, advance: Advance, now: float) -> None:
        data: dict[str, Any] = {"output": command.output, "late": command.late}
        data.update(seconds=now - self._data.origin_s, usd=self.dispatcher.spent_usd)
        self._record("job.completed", "", data, now, advance)

    def _record(
        self, kind: str, step_id: str, data: Mapping[str, Any], now: float, advance: Advance
    ) -> Sequence[Command]:
        event = Event(self.job_id, self.last_seq + 1, kind, now, step_id, data)
        advance.events.append(event)
        self._note(event)
        return self.dispatcher.apply(event, now)

    def _note(self, event: Event) -> None:
        self.last_seq = event.seq
        match event.type:
            case "step.started":
                return
            case "step.completed" | "step.failed":
                self._data.forget(event.step_id)
            case "job.queued":
                self._data.origin_s = event.at_s
                self.tenant = event.data.get("tenant", "")
                self.priority = event.data.get("priority", DEFAULT_PRIORITY)
            case "job.started" if not event.data.get("resumed"):
                self._data.origin_s = event.at_s
            case kind if kind in STOP_EVENTS:
                self.ended = True
