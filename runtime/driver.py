"""Carry one job through: perform its actions, feed their outcomes back. Lives on the loop."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.errors import GanglineError, StepError, StepTimeout
from gangline.ir.specs.event import Event
from gangline.ir.specs.request import (
    EngineEvent,
    Finished,
    FirstToken,
    RequestFailed,
    TokenDelta,
)

from .commands import CancelRequest, Encode, RetryAfter, RunTool, Step, SubmitRequest
from .engine_calls import EngineCalls, no_backend
from .job_run import Action, Advance, JobRun
from .outcome import RequestOutcome
from .step_calls import StepCalls
from .surroundings import LEASE_S, InFlight, OnEvent, Surroundings

logger = logging.getLogger(__name__)

OnDone = Callable[["Driver", BaseException | None], None]

MAX_TIMER_S = 3600.0
"""Longest a timer for a deadline runs before the clock is looked at again."""


@dataclass(slots=True, eq=False)
class Unstored:
    """Events on their way to disk, and the write calls that wait for them to be there."""

    events: Sequence[Event]
    writes: list[RunTool] = field(default_factory=list)


class Driver:
    """Run one job on the executor's loop.

    Args:
        on_done: called once, on the loop: when the job stopped and that is on disk, or with the
            reason why it is left as it is stored.
        on_event: sees every event at once, before it is on disk.
        keeps_log: False leaves `log` empty, for jobs whose store is read instead.
    """

    def __init__(
        self,
        run: JobRun,
        around: Surroundings,
        epoch: int,
        on_done: OnDone,
        on_event: OnEvent | None = None,
        keeps_log: bool = True,
    ) -> None:
        self.run = run
        self.epoch = epoch
        self.log: list[Event] = []
        self._around = around
        self._on_done: OnDone | None = on_done
        self._on_event = on_event
        self._keeps_log = keeps_log
        self._unstored: deque[Unstored] = deque()
        self._tools = StepCalls(around, self._returned, self._overrun)
        self._engines = EngineCalls(around, self._flight, self._unanswered, self._cache_salt)
        self._retries: dict[str, Any] = {}
        self._deadline: Any = None
        self._stopped = False

    @property
    def job_id(self) -> str:
        """The job this driver runs."""
        return self.run.job_id

    def begin(self, queued: Advance, workflow: str, owner: str) -> None:
        """Create the job in the store with its first event."""
        store = self._around.store
        self._keep(queued.events)
        if store is not None:
            ticket = store.create(queued.events[0], workflow, owner, LEASE_S)
            self._follow(ticket, Unstored(queued.events))
        else:
            self._publish(queued.events)
        for event in queued.events:
            self._show(event)

    def advance(self, advance: Advance) -> None:
        """Store and show what happened, then do what follows from it."""
        if self._stopped:
            return
        try:
            self._store(advance.events)
        except GanglineError as error:
            self.abort(error)
            return
        for event in advance.events:
            self._land(event)
            self._show(event)
        for action in advance.actions:
            self._perform(action)
        if self.run.ended:
            self._stop()
            self._finish()

    def safely(self, function: Callable[..., None], *args: Any) -> None:
        """Call a function of this driver on the loop; a fault ends this job and no other."""
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller must hear of it)
            self.abort(error)

    def abort(self, error: BaseException) -> None:
        """Leave the job as it is stored: nothing is recorded any more."""
        if self._on_done is None:
            return
        try:
            self._stop()
        finally:
            self._tell(error)

    def cancel(self) -> None:
        """Stop the job on request."""
        self.advance(self.run.cancel(self._around.clock.now()))

    def hurry(self, deadline_at_s: float) -> None:
        """Change the job's absolute deadline, also of what engines have in flight."""
        self.advance(self.run.replan(deadline_at_s, self._around.clock.now()))
        self._engines.hurry(deadline_at_s)

    # What happens -------------------------------------------------------------------------

    def on_engine(self, flight: InFlight, event: EngineEvent, at_s: float) -> None:
        """Take what an engine says about a request of this job."""
        match event:
            case FirstToken():
                flight.first_token_s = at_s
                self.advance(self.run.first_token(flight.command, event, at_s))
            case TokenDelta():
                step_id = flight.command.step.id
                data = {"text": event.text, "num_tokens": event.num_tokens}
                delta = Event(self.job_id, 0, "step.delta", at_s, step_id, data)
                self._show(delta)
                self._publish([delta])
            case Finished():
                self._engines.ended(event.request_id)
                outcome = RequestOutcome(event, flight.submitted_s, at_s, flight.first_token_s)
                self.advance(self.run.finished(flight.command, outcome, at_s))
            case RequestFailed():
                self._engines.ended(event.request_id)
                self.advance(self.run.request_failed(flight.command, event, at_s))

    def _returned(
        self,
        command: RunTool | Encode,
        value: Any,
        error: BaseException | None,
        started_s: float,
        ended_s: float,
    ) -> None:
        self.safely(self._take, command, value, error, started_s, ended_s)

    def _take(
        self,
        command: RunTool | Encode,
        value: Any,
        error: BaseException | None,
        started_s: float,
        ended_s: float,
    ) -> None:
        if self._stopped:
            return
        if error is not None:
            self._failed(command.step, _told(error, command.step), retryable=True)
            return
        now = self._around.clock.now()
        self.advance(self.run.completed(command, value, now, started_s, ended_s))

    def _failed(self, step: Step, error: GanglineError, retryable: bool) -> None:
        if not self._stopped:
            now = self._around.clock.now()
            self.advance(self.run.failed(step, error, now, retryable))

    def _overrun(self, step: Step, timeout_s: float) -> None:
        error = StepTimeout(
            f"{step.stage.name} did not answer within {timeout_s:g} s",
            where=step.where,
            next_step="Raise its timeout, or make it do less.",
        )
        self.safely(self._failed, step, error, True)

    def _unanswered(self, command: SubmitRequest, error: BaseException, retryable: bool) -> None:
        self.safely(self._failed, command.step, _told(error, command.step), retryable)

    def _retry(self, step: Step) -> None:
        self._retries.pop(step.id, None)
        self.advance(self.run.retrying(step, self._around.clock.now()))

    # What is recorded ---------------------------------------------------------------------

    def _store(self, events: list[Event]) -> None:
        if not events:
            return
        self._keep(events)
        if self._around.store is None:
            self._publish(events)
        else:
            ticket = self._around.store.append(self.job_id, events, self.epoch)
            self._follow(ticket, Unstored(events))

    def _follow(self, ticket: Any, unstored: Unstored) -> None:
        # Invariant: tickets end in the order they were given, so `_unstored` is a queue.
        self._unstored.append(unstored)
        post, stored = self._around.mailbox.post, self._stored
        ticket.add_done_callback(lambda done: post(stored, done.exception()))

    def _stored(self, error: BaseException | None) -> None:
        """Take the store's word that the oldest events under way are on disk, or never will be."""
        unstored = self._unstored.popleft()
        if error is not None:
            self.abort(error)
            return
        self._publish(unstored.events)
        if not self._stopped:
            for command in unstored.writes:
                self.safely(self._tool, command)
        self._finish()

    def _keep(self, events: Sequence[Event]) -> None:
        if self._keeps_log:
            self.log.extend(events)

    def _publish(self, events: Sequence[Event]) -> None:
        if self._around.publish is not None:
            self._around.publish(events)

    def _show(self, event: Event) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:
            # A progress display that fails must not take the job with it.
            logger.exception("on_event failed; it is not called again")
            self._on_event = None

    def _land(self, event: Event) -> None:
        if event.type in ("step.completed", "step.failed"):
            self._tools.ended(event.step_id)
        elif event.type in ("job.started", "job.replanned"):
            self._watch_deadline()

    # What is done -------------------------------------------------------------------------

    def _perform(self, action: Action) -> None:
        match action:
            case RunTool() if action.effects == "write" and self._unstored:
                # The record that the call begins must be on disk before the call.
                self._unstored[-1].writes.append(action)
            case RunTool():
                self._tool(action)
            case Encode():
                self._encode(action)
            case SubmitRequest():
                self._engines.submit(action, self.run.device(action.step))
            case CancelRequest():
                self._engines.cancel(action)
            case RetryAfter():
                later = self._around.loop.call_later
                timer = later(action.delay_s, self.safely, self._retry, action.step)
                self._retries[action.step.id] = timer

    def _tool(self, command: RunTool) -> None:
        tool = self._around.find_tool(command.name)
        if tool is None:
            error = StepError(f"The tool {command.name!r} is not registered")
            self._failed(command.step, error, retryable=False)
        else:
            self._tools.tool(tool, command)

    def _encode(self, command: Encode) -> None:
        backend = self._around.backend(self._around.routing.pick(command.serving_device))
        if backend is None:
            self._failed(command.step, no_backend(command.serving_device), retryable=False)
        else:
            self._tools.encode(backend, command)

    def _flight(self, command: SubmitRequest, device: str, now: float) -> InFlight:
        return InFlight(self, command, device, now)

    def _cache_salt(self) -> str:
        return self.run.tenant

    def _watch_deadline(self) -> None:
        """Have the job ended when its hard deadline passes, if it has one."""
        if self._deadline is not None:
            self._deadline.cancel()
        left_s = self.run.expires_s - self._around.clock.now()
        if left_s < math.inf:
            wait_s = min(max(left_s, 0.0), MAX_TIMER_S)
            later = self._around.loop.call_later
            self._deadline = later(wait_s, self.safely, self._deadline_passed)

    def _deadline_passed(self) -> None:
        self.advance(self.run.expire(self._around.clock.now()))
        if not self._stopped and not self.run.stopping:
            self._watch_deadline()

    # How it ends --------------------------------------------------------------------------

    def _finish(self) -> None:
        """Tell that the job has stopped, once that is on disk."""
        if self.run.ended and not self._unstored:
            self._tell(None)

    def _tell(self, error: BaseException | None) -> None:
        if self._on_done is not None:
            on_done, self._on_done = self._on_done, None
            on_done(self, error)

    def _stop(self) -> None:
        self._stopped = True
        for timer in self._retries.values():
            timer.cancel()
        if self._deadline is not None:
            self._deadline.cancel()
        self._tools.stop()
        self._engines.stop()


def _told(error: BaseException, step: Step) -> GanglineError:
    if isinstance(error, GanglineError):
        return error
    told = StepError(
        f"{step.stage.name} raised {type(error).__name__}: {_text(error)}",
        where=step.where,
        next_step="Fix the tool or its input, then retry the job.",
    )
    told.__cause__ = error
    return told


def _text(error: BaseException) -> str:
    """Give an author's message as text that can be stored (file names may hold surrogates)."""
    try:
        return str(error).encode(errors="backslashreplace").decode()
    except Exception:  # noqa: BLE001 (author's __str__)
        return "(its message cannot be shown)"
