"""One job being run: outcomes in, events and commands out; still without I/O.

The executor and the simulator share this class, so that both record the same events. Every
change of state is an event first: it gets the next number of the log, and is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.errors import GanglineError, JobCancelled, JobError, StepError, StepTimeout
from gangline.ir.specs.event import STOP_EVENTS, Event
from gangline.ir.specs.memory import vector_to_json
from gangline.ir.specs.request import FirstToken, RequestFailed
from gangline.runtime.plain_json import parse

from .answers import accepted
from .commands import (
    AskPerson,
    Call,
    CancelRequest,
    CancelTool,
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
    RetryAfter,
    RunTool,
    Step,
    SubmitRequest,
    UseMemory,
)
from .dispatcher import Dispatcher
from .fork import effective
from .job import DEFAULT_PRIORITY
from .job_errors import deadline_error, expired_before
from .open_plans import OpenPlans, PlanNews
from .outcome import RequestOutcome, decode_data, embed_data, prefill_data
from .policing import NO, denied
from .pricing import Pricing
from .shared_prefills import SharedPrefills

_ON_CORES = frozenset({"tool", "tokenize", "lookup", "store", "observe"})

Check = Callable[[RunTool], JobError | None]
Action = Call | Request | CancelRequest | CancelTool | RetryAfter
"""Commands that are left for the world to carry out."""


@dataclass(slots=True)
class Advance:
    """What one outcome led to: events to store, in order, and then actions to carry out."""

    events: list[Event] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)


def _no_check(_: RunTool) -> JobError | None:
    return None


class JobRun:
    """Drive one dispatcher.

    Args:
        check: says why a tool call must not be made (its signature changed), before its
            step.started is recorded.
        route: chooses the device id a step runs on, given the device the plan names.
    """

    def __init__(
        self,
        job_id: str,
        pricing: Pricing,
        check: Check = _no_check,
        route: Callable[[Step], str] = lambda step: step.device,
    ) -> None:
        self.dispatcher = Dispatcher(job_id)
        self.job_id = job_id
        self.tenant = ""
        self.priority = DEFAULT_PRIORITY
        self.last_seq = 0
        self.started_s = 0.0
        self.queued_s = 0.0
        self.ended_s: float | None = None
        self._pricing = pricing
        self._check = check
        self._route = route
        self._devices: dict[str, str] = {}
        self._issued_s: dict[str, float] = {}
        self._prefills: set[str] = set()
        self._plans = OpenPlans(self.dispatcher)
        self._shared = SharedPrefills()

    @property
    def ended(self) -> bool:
        """Say whether the job has stopped: for good, or to ask a person."""
        return self.ended_s is not None

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
        self.ended_s = None
        self._issued_s.clear()
        self._prefills.clear()
        self._plans.clear()
        self._shared.clear()
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

    def _answer(
        self, interrupt: str, value: Any, now: float, at_rest: bool
    ) -> tuple[str, str, dict[str, Any]]:
        asked = self.dispatcher.interrupts(at_rest)
        value = accepted(asked, interrupt, value, self.job_id)
        step, since_s = self.dispatcher.open_step(interrupt)
        findings = next(row for row in asked if row["id"] == interrupt).get("findings")
        if findings and value == NO:
            error = denied(findings, step.where).to_json()
            data = {**self._described(step, since_s, now), "usd": 0.0, "error": error}
            return "step.failed", interrupt, {**data, "retryable": False, "denied": True}
        if findings and step.stage.op != "ask":
            return "step.retrying", interrupt, {"attempt": step.attempt, "approved": True}
        if step.stage.op != "ask" and "rerun" in value:
            return "step.retrying", interrupt, {"attempt": step.attempt + 1, "confirmed": True}
        data = {**self._described(step, since_s, now), "usd": 0.0}
        return "step.completed", interrupt, {**data, "value": _answered(step, value)}

    def completed(
        self, command: Call, value: Any, now: float, started_s: float, ended_s: float
    ) -> Advance:
        """Take the result of a tool, of a tokenizer or of memory."""
        if not self._current(command.step):
            return Advance()
        data = self._described(command.step, started_s, ended_s)
        data["usd"] = self._pricing.core_usd(data["device"], ended_s - started_s)
        if isinstance(command, Encode):
            data["prompt_tokens"] = len(value)
        data["value"] = value
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
        told = dict(error.to_json() if isinstance(error, GanglineError) else error)
        told["where"] = told.get("where") or step.where
        started_s = self._issued_s.get(step.id, now)
        data = self._described(step, started_s, now)
        if step.stage.op in _ON_CORES:
            data["usd"] = self._pricing.core_usd(data["device"], now - started_s)
        data.update(error=told, retryable=retryable)
        if self.dispatcher.keeps(step, told, retryable):
            data["kept"] = True
        return self._advance([("step.failed", step.id, data)], now)

    def first_token(self, command: Request, event: FirstToken, now: float) -> Advance:
        """Take the end of a prefill: its decode has started."""
        if not isinstance(command, SubmitRequest) or not self._current(command.step):
            return Advance()
        device = self.device(command.step)
        if not self.dispatcher.prefilled(command.prefill.id):
            self._shared.begin(command, event, self._issued_s.get(command.step.id, now), now)
        data = {**_static(command.step, device), "cached_tokens": event.cached_tokens}
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
            done = self._embedded(command, outcome)
            return self._advance([("step.completed", command.step.id, done)], now)
        if isinstance(command, Prefill):
            done = self._begun(command, outcome)
            return self._advance([("step.completed", command.step.id, done)], now)
        drafts = []
        submitted_s, at_s = outcome.submitted_s, outcome.at_s
        decode = self._described(command.step, outcome.first_s(submitted_s), at_s)
        decode.update(decode_data(decode["device"], outcome, self._pricing))
        if not self.dispatcher.prefilled(command.prefill.id):
            first = self._shared.of(command, outcome)
            drafts.append(("step.completed", command.prefill.id, self._prefill(command, first)))
        if not self._shared.is_of(command):
            # Another's prefill is recorded; what ours computed beside it is charged here.
            again = self._prefill(command, outcome)
            decode["usd"] += again["usd"]
            decode["busy_s"] += again["busy_s"]
        drafts.append(("step.completed", command.step.id, decode))
        advance = self._advance(drafts, now)
        self._planned(self._plans.finish(command.step.id, outcome.finished.text), advance, now)
        return advance

    def _prefill(self, command: SubmitRequest, outcome: RequestOutcome) -> dict[str, Any]:
        data = self._described(command.prefill, outcome.submitted_s, outcome.first_s(outcome.at_s))
        data.update(prefill_data(data["device"], outcome, self._pricing))
        return data

    def request_failed(self, command: Request, event: RequestFailed, now: float) -> Advance:
        """Take the failure of an engine request."""
        return self.failed(command.step, event.error, now)

    def retrying(self, step: Step, now: float) -> Advance:
        """Record that the delay before another attempt has passed."""
        if self.ended or not self.dispatcher.in_flight(step.id):
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
            error = StepTimeout(
                f"{step.stage.name} went on after its job was told to end. Whether its effect "
                "happened is not known",
                where=step.where,
                next_step="Check what it did. A tool that looks at gl.cancelled() ends in time.",
            )
            more = self.failed(step, error, now, retryable=False)
            advance.events += more.events
            advance.actions += more.actions
        return advance

    def _expired_at_rest(self, now: float) -> Advance:
        """End a job of which nothing runs: no write of this process can still end."""
        error = deadline_error(self.job_id).to_json()
        return self._advance([("job.expired", "", {"error": error})], now)

    def device(self, step: Step) -> str:
        """Give the device id the step was routed to."""
        return self._devices.get(step.id, step.device)

    def _current(self, step: Step) -> bool:
        """Say whether this attempt is still awaited (a timed-out tool may answer late)."""
        return not self.ended and self.dispatcher.flying(step.id, step.attempt)

    def _advance(self, drafts: Sequence[tuple[str, str, Mapping[str, Any]]], now: float) -> Advance:
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
        refusal = self._check(command) if isinstance(command, RunTool) else None
        commands: list[Command] = []
        if refusal is not None:
            commands = dispatcher.stop("job.input_required", refusal, step_id, now)
        if dispatcher.stopping:
            return commands + dispatcher.withdraw(step_id, now)
        self._issue(command, advance, now)
        return ()

    def _issue(self, command: Call | Request, advance: Advance, now: float) -> None:
        step = command.prefill if isinstance(command, SubmitRequest) else command.step
        device = self._devices[command.step.id] = self._route(command.step)
        self._issued_s[command.step.id] = now
        data = _static(step, device)
        advance.actions.append(command)
        if isinstance(command, SubmitRequest):
            self._plans.restart(command.step.id)
            if step.id in self._prefills or self.dispatcher.prefilled(step.id):
                return
            self._prefills.add(step.id)
            self._devices[step.id] = device
        self._record("step.started", step.id, data, now, advance)

    def _parse(self, command: ParseOutput, advance: Advance, now: float) -> Sequence[Command]:
        step = command.step
        self._devices[step.id] = self._route(step)
        data = {**self._described(step, now, now), "usd": 0.0}
        try:
            value = parse(command.text) if command.format == "json" else command.text
        except ValueError as error:
            told = StepError(
                f"The model's answer is not JSON: {error}",
                where=step.where,
                next_step="Allow more tokens (max_tokens), or give the llm a grammar.",
            )
            data.update(error=told.to_json(), retryable=False)
            return self._record("step.failed", step.id, data, now, advance)
        data["value"] = value
        return self._record("step.completed", step.id, data, now, advance)

    def _ask(self, command: AskPerson, advance: Advance, now: float) -> Sequence[Command]:
        step = command.step
        if self.dispatcher.stopping:
            return self.dispatcher.withdraw(step.id, now)
        interrupt = {
            "id": step.id,
            "question": command.question,
            "schema": dict(command.schema),
            "choices": command.schema.get("enum"),
        }
        if command.findings:
            interrupt["findings"] = list(command.findings)
        data = {**_static(step, step.device), "interrupt": interrupt}
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
            self._issued_s[step.id] = now
            self._record("step.started", step.id, _static(step, self.device(step)), now, advance)
            self._planned(self._plans.begin(command), advance, now)

    def _planned(self, told: Iterable[PlanNews], advance: Advance, now: float) -> None:
        """Record what was read of plans: each line as it is there, so that its step can start."""
        for kind, step, data in told:
            if self.dispatcher.stopping:
                return
            if kind != "step.planned":
                started_s = self._issued_s.get(step.id, now)
                data = {**self._described(step, started_s, now), "usd": 0.0, **data}
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
        data.update(seconds=now - self.started_s, usd=self.dispatcher.spent_usd)
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
                self._issued_s.pop(event.step_id, None)
                self._devices.pop(event.step_id, None)
            case "job.queued":
                self.queued_s = self.started_s = event.at_s
                self.tenant = event.data.get("tenant", "")
                self.priority = event.data.get("priority", DEFAULT_PRIORITY)
            case "job.started" if not event.data.get("resumed"):
                self.started_s = event.at_s
            case kind if kind in STOP_EVENTS:
                self.ended_s = event.at_s

    def _described(self, step: Step, started_s: float, ended_s: float) -> dict[str, Any]:
        data = _static(step, self.device(step))
        data.update(start_s=started_s - self.started_s, end_s=ended_s - self.started_s)
        return data

    def _begun(self, command: Prefill, outcome: RequestOutcome) -> dict[str, Any]:
        data = self._described(command.step, outcome.submitted_s, outcome.at_s)
        data.update(prefill_data(data["device"], outcome, self._pricing))
        # The first token comes with the prompt: what an engine counts as its decode is ours too.
        decode_s = outcome.finished.decode_busy_s
        data["busy_s"] += decode_s
        data["usd"] += self._pricing.busy_usd(data["device"], decode_s)
        return data

    def _embedded(self, command: Embed, outcome: RequestOutcome) -> dict[str, Any]:
        data = self._described(command.step, outcome.submitted_s, outcome.at_s)
        data.update(embed_data(data["device"], outcome, self._pricing))
        data["value"] = vector_to_json(command.model, outcome.finished.embedding)
        return data


def _answered(step: Step, value: Any) -> Any:
    return value if step.stage.op == "ask" else value["result"]


def _static(step: Step, device: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "op": step.stage.op,
        "stage": step.stage.attributes.get("of", step.stage.name),
        "device": device,
        "parents": list(step.parents),
        "attempt": step.attempt,
    }
    if step.predicted_s is not None:
        data.update(predicted_s=step.predicted_s, predicted_usd=step.predicted_usd)
    return data
