"""Carry one job through: perform its actions, feed their outcomes back. Lives on the loop."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from gangline.ir.errors import GanglineError, JobCancelled, StepError, StepTimeout
from gangline.ir.specs.event import Event
from gangline.ir.specs.request import (
    EngineEvent,
    Finished,
    FirstToken,
    RequestFailed,
    TokenDelta,
)
from gangline.runtime.dispatch.advance import Action, Advance
from gangline.runtime.dispatch.commands import (
    Call,
    CancelRequest,
    CancelTool,
    Embed,
    Encode,
    Prefill,
    Request,
    RetryAfter,
    RunTool,
    Step,
    SubmitRequest,
    UseMemory,
)
from gangline.runtime.dispatch.engine_message import engine_priority
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.outcome import RequestOutcome
from gangline.runtime.dispatch.programs import as_json

from .engine_calls import EngineCalls, no_backend
from .journal import Journal
from .memory_calls import MemoryUser
from .step_calls import StepCalls
from .surroundings import InFlight, OnEvent, Surroundings
from .tool_table import RegisteredTool

logger = logging.getLogger(__name__)

OnDone = Callable[["Driver", BaseException | None], None]

MAX_TIMER_S = 3600.0
"""Longest a timer for a deadline runs before the clock is looked at again."""
GRACE_S = 30.0
"""Longest a job that was cancelled or has expired waits for its writes in flight."""

MAX_INLINE = 64
"""Most inline tools called in a row before other jobs have their turn on the loop."""


class Driver:
    """Run one job on the executor's loop.

    Args:
        on_done: called once, on the loop: when the job stopped and that is on disk, or with the
            reason why it is left as it is stored.
        on_event: sees every event at once, before it is on disk.
        keeps_log: see `Journal`.
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
        self.journal = Journal(
            run.job_id, epoch, around, self._stored, self.abort, self._is_alone, keeps_log
        )
        self._around = around
        self._on_done: OnDone | None = on_done
        self._on_event = on_event
        self._inline: deque[tuple[RegisteredTool, RunTool]] = deque()
        self._is_busy = False
        self._tools = StepCalls(around, self._returned, self._overrun)
        self._engines = EngineCalls(
            around, self._flight, self._unanswered, self._cache_salt, self._urgency
        )
        self._retries: dict[str, Any] = {}
        self._deadline: Any = None
        self._stopped = False

    @property
    def job_id(self) -> str:
        """The job this driver runs."""
        return self.run.job_id

    def begin(self, queued: Advance, workflow: str, owner: str) -> None:
        """Create the job in the store with its first event."""
        (event,) = queued.events
        self.journal.create(event, workflow, owner)
        if self._on_event is not None:
            self._show(as_json(event))

    def advance(self, advance: Advance) -> None:
        """Record and show what happened, then do what follows from it."""
        if self._stopped:
            return
        self.journal.record(advance.events)
        for event in advance.events:
            if event.type != "step.started":
                self._land(event)
            if self._on_event is not None:
                self._show(event)
        for action in advance.actions:
            self._perform(action)
        if self.run.ended:
            self._stop()
        if not self._is_busy:
            self._go_on()

    def _go_on(self) -> None:
        """Call inline tools, one after the other, and record what came of it all together."""
        self._is_busy = True
        try:
            for _ in range(MAX_INLINE):
                if self._stopped or not self._inline:
                    break
                if not self._around.fence.is_open:
                    waiting, self._inline = self._inline, deque()
                    for _, command in waiting:
                        self._tool(command)
                    break
                tool, command = self._inline.popleft()
                if self.run.stopping:
                    self._tool(command)  # says that it was not called
                else:
                    self._tools.inline(tool, command)
        finally:
            self._is_busy = False
        if self._inline and not self._stopped:
            self._around.loop.call_soon(self.safely, self._go_on)
        self.journal.flush()
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
            with suppress(GanglineError):
                self.journal.flush(at_once=True)
        finally:
            self._tell(error)

    def cancel(self) -> None:
        """Stop the job on request."""
        self.advance(self.run.cancel(self._around.clock.now()))
        self._wait_for_writes()

    def answer(self, interrupt: str, value: Any) -> None:
        """Take a person's answer (see `JobRun.answer`)."""
        self.advance(self.run.answer(interrupt, value, self._around.clock.now()))

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
            case TokenDelta() if isinstance(flight.command, SubmitRequest):
                step_id = flight.command.step.id
                data = {"text": event.text, "num_tokens": event.num_tokens}
                delta = Event(self.job_id, 0, "step.delta", at_s, step_id, data)
                self._show(delta)
                if self._around.publish is not None:
                    self._around.publish([delta])
                written = self.run.wrote(flight.command, event.text, at_s)
                if written.events:
                    self.advance(written)
            case Finished():
                self._engines.ended(event.request_id)
                outcome = RequestOutcome(event, flight.submitted_s, at_s, flight.first_token_s)
                self.advance(self.run.finished(flight.command, outcome, at_s))
            case RequestFailed():
                self._engines.ended(event.request_id)
                self.advance(self.run.request_failed(flight.command, event, at_s))

    def _returned(
        self,
        command: Call | Embed,
        value: Any,
        error: BaseException | None,
        started_s: float,
        ended_s: float,
    ) -> None:
        self.safely(self._take, command, value, error, started_s, ended_s)

    def _take(
        self,
        command: Call | Embed,
        value: Any,
        error: BaseException | None,
        started_s: float,
        ended_s: float,
    ) -> None:
        if self._stopped:
            return
        if error is not None:
            if isinstance(error, asyncio.CancelledError) and self.run.stopping:
                error = JobCancelled("The call was cancelled with its job")
            self._failed(command.step, _told(error, command.step), retryable=True)
        elif isinstance(command, Embed):
            self._send(replace(command, prompt_tokens=tuple(value)))
        else:
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

    def _unanswered(self, command: Request, error: BaseException, retryable: bool) -> None:
        self.safely(self._failed, command.step, _told(error, command.step), retryable)

    def _retry(self, step: Step) -> None:
        self._retries.pop(step.id, None)
        self.advance(self.run.retrying(step, self._around.clock.now()))

    # What is recorded ---------------------------------------------------------------------

    def _stored(self, deferred: Sequence[RunTool]) -> None:
        """Go on after a commit: with the calls that waited for it."""
        for command in () if self._stopped else deferred:
            self.safely(self._tool, command)
        if self._on_done is not None and not self._is_busy:
            self.safely(self._go_on)

    def _is_alone(self) -> bool:
        """Say whether the loop has nothing to do but this job, and that waits for a commit."""
        waits = not self._inline and self._tools.is_idle and self._engines.is_idle
        return waits and self._around.has_only(self)

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
            case RunTool():
                # The record that a write begins must be on disk before the call.
                waits = action.effects == "write" or self.journal.is_full
                if not (waits and self.journal.defer(action)):
                    self._tool(action)
            case Encode():
                self._encode(action)
            case UseMemory():
                # It needs no record of its own on disk first: the store knows what was done.
                user = MemoryUser(self.run.tenant, self.job_id, self.epoch)
                self._tools.memory(action, user)
            case Embed():
                self._embed(action)
            case SubmitRequest() | Prefill():
                self._send(action)
            case CancelRequest():
                self._engines.cancel(action)
            case CancelTool():
                self._tools.cancel(action.step_id, action.by_force)
            case RetryAfter():
                later = self._around.loop.call_later
                timer = later(action.delay_s, self.safely, self._retry, action.step)
                self._retries[action.step.id] = timer

    def _let_in(self, command: RunTool) -> None:
        """Make a call that had to wait for the lease, unless the job was taken meanwhile.

        The store says so to whatever this job has under way, so that the call comes after it.
        """
        if self._stopped or self.journal.defer(command):
            return
        self._tool(command)
        if not self._is_busy:
            self._go_on()

    def _tool(self, command: RunTool) -> None:
        fence = self._around.fence
        if not fence.is_open:
            fence.wait(partial(self.safely, self._let_in, command))
            return
        tool = self._around.find_tool(command.name)
        if self.run.stopping:
            error = JobCancelled(
                "The job stopped before this call began",
                where=command.step.where,
                next_step="Nothing was done; a retry of the job makes the call.",
            )
            self._failed(command.step, error, retryable=False)
        elif tool is None:
            absent = StepError(f"The tool {command.name!r} is not registered")
            self._failed(command.step, absent, retryable=False)
        elif tool.is_inline:
            self._inline.append((tool, command))
        else:
            self._tools.tool(tool, command)

    def _encode(self, command: Encode) -> None:
        backend = self._around.backend(self._around.routing.pick(command.serving_device))
        if backend is None:
            self._failed(command.step, no_backend(command.serving_device), retryable=False)
        else:
            self._tools.encode(backend, command)

    def _embed(self, command: Embed) -> None:
        """Have the text turned into tokens; with these it comes back to `_take`."""
        device = self.run.device(command.step)
        backend = self._around.backend(device)
        if backend is None:
            self._failed(command.step, no_backend(device), retryable=False)
        else:
            self._tools.embed(backend, command)

    def _send(self, command: Request) -> None:
        if self.run.stopping:
            error = JobCancelled("The job stopped before this request was sent")
            self._failed(command.step, error, retryable=False)
        else:
            self._engines.submit(command, self.run.device(command.step))

    def _flight(self, command: Request, device: str, now: float) -> InFlight:
        return InFlight(self, command, device, now)

    def _cache_salt(self) -> str:
        return self.run.tenant

    def _urgency(self) -> int:
        return engine_priority(self.run.tenant, self.run.priority)

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
        if self.run.stopping:
            self._wait_for_writes()
        elif not self._stopped:
            self._watch_deadline()

    def _wait_for_writes(self) -> None:
        """Give the writes of a job that is to end GRACE_S seconds to end as well."""
        if not self._stopped and "" not in self._retries:
            later = self._around.loop.call_later
            self._retries[""] = later(GRACE_S, self.safely, self._give_up)

    def _give_up(self) -> None:
        self.advance(self.run.give_up(self._around.clock.now()))

    # How it ends --------------------------------------------------------------------------

    def _finish(self) -> None:
        """Tell that the job has stopped, once that is on disk."""
        if self.run.ended and self.journal.is_idle:
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
