"""Carry one job through: perform its actions, feed their outcomes back. Lives on the loop."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from gangline.backends.base import Backend
from gangline.ir.errors import BackendError, GanglineError, JobCancelled, StepError, StepTimeout
from gangline.ir.specs.event import Event
from gangline.ir.specs.request import (
    Cancel,
    EngineEvent,
    Finished,
    FirstToken,
    RequestFailed,
    Submit,
    TokenDelta,
)

from .clock import Clock
from .commands import CancelRequest, Encode, RetryAfter, RunTool, Step, SubmitRequest
from .job_run import Action, Advance, JobRun
from .outcome import RequestOutcome
from .routing import LeastLoaded
from .store import Store
from .tool_table import FindTool, RegisteredTool, call_arguments
from .workers import Call, Workers

logger = logging.getLogger(__name__)

OnEvent = Callable[[Event], None]


@dataclass(slots=True, eq=False)
class InFlight:
    """A request an engine works on, with the times seen so far."""

    driver: Driver
    command: SubmitRequest
    device: str
    submitted_s: float
    first_token_s: float = math.nan


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all drivers of an executor share."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    backends: Mapping[str, Backend]
    routing: LeastLoaded
    workers: Workers
    find_tool: FindTool
    requests: dict[str, InFlight]
    store: Store | None


class Driver:
    """Run one job on the executor's loop; `done` is set once the job stopped and is stored."""

    def __init__(
        self, run: JobRun, around: Surroundings, epoch: int, on_event: OnEvent | None
    ) -> None:
        self.run = run
        self.epoch = epoch
        self.done: Future[None] = Future()
        self.log: list[Event] = []
        self._around = around
        self._on_event = on_event
        self._stored: Future[None] | None = None
        self._calls: dict[str, Call] = {}
        self._loading: dict[str, SubmitRequest] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    def begin(self, queued: Advance, workflow: str, owner: str, ttl_s: float) -> None:
        """Create the job in the store with its first event."""
        self.log.extend(queued.events)
        if self._around.store is not None:
            created = self._around.store.create(queued.events[0], workflow, owner, ttl_s)
            created.add_done_callback(self.check_stored)
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
            self._finish()

    def safely(self, function: Callable[..., None], *args: Any) -> None:
        """Call a function of this driver on the loop; a fault ends this job and no other."""
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller must hear of it)
            self.abort(error)

    def abort(self, error: BaseException) -> None:
        """Leave the job as it is stored: nothing is recorded any more."""
        if self._stopped:
            return
        try:
            self._stop()
        finally:
            if not self.done.done():
                self.done.set_exception(error)

    def on_engine(self, flight: InFlight, event: EngineEvent, at_s: float) -> None:
        """Take what an engine says about a request of this job."""
        match event:
            case FirstToken():
                flight.first_token_s = at_s
                self.advance(self.run.first_token(flight.command, event, at_s))
            case TokenDelta():
                step_id = flight.command.step.id
                data = {"text": event.text, "num_tokens": event.num_tokens}
                self._show(Event(self.run.job_id, 0, "step.delta", at_s, step_id, data))
            case Finished():
                outcome = RequestOutcome(event, flight.submitted_s, at_s, flight.first_token_s)
                self.advance(self.run.finished(flight.command, outcome, at_s))
            case RequestFailed():
                self.advance(self.run.request_failed(flight.command, event, at_s))

    def _store(self, events: list[Event]) -> None:
        self.log.extend(events)
        store = self._around.store
        if store is None or not events:
            return
        self._stored = store.append(self.run.job_id, events, self.epoch)
        self._stored.add_done_callback(self.check_stored)

    def check_stored(self, stored: Future[Any]) -> None:
        """Abort the job if the store refused; a done-callback of the store's futures."""
        error = stored.exception()
        if error is not None:
            _back_to(self._around.loop, self.abort, error)

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
        """Count a step out of its device once it has ended."""
        if event.type not in ("step.completed", "step.failed"):
            return
        timer = self._timers.pop(event.step_id, None)
        if timer is not None:
            timer.cancel()
        self._calls.pop(event.step_id, None)

    def _perform(self, action: Action) -> None:
        match action:
            case RunTool() if action.effects == "write" and self._stored is not None:
                # The record that the call begins must be on disk before the call.
                self._after_stored(self._stored, action)
            case RunTool():
                self._tool(action)
            case Encode():
                self._encode(action)
            case SubmitRequest():
                self._submit(action)
            case CancelRequest():
                self._cancel(action)
            case RetryAfter():
                later = self._around.loop.call_later
                timer = later(action.delay_s, self.safely, self._retry, action.step)
                self._timers[action.step.id] = timer

    def _after_stored(self, stored: Future[None], action: RunTool) -> None:
        def begin(done: Future[None]) -> None:
            if done.exception() is None:
                _back_to(self._around.loop, self.safely, self._tool, action)

        stored.add_done_callback(begin)

    def _retry(self, step: Step) -> None:
        self._timers.pop(step.id, None)
        self.advance(self.run.retrying(step, self._around.clock.now()))

    def _tool(self, command: RunTool) -> None:
        if self._stopped:
            return
        tool = self._around.find_tool(command.name)
        if tool is None:
            error = StepError(f"The tool {command.name!r} is not registered")
            self._failed(command.step, error, retryable=False)
        elif tool.is_async:
            self._limit(command.step, command.timeout_s)
            self._await(tool, command)
        else:
            self._limit(command.step, command.timeout_s)
            arguments = call_arguments(tool, command)
            self._work(command, lambda: partial(tool.call, arguments))

    def _await(self, tool: RegisteredTool, command: RunTool) -> None:
        async def call() -> None:
            started_s = self._around.clock.now()
            try:
                value = _plain(await tool.call(call_arguments(tool, command)))
            except BaseException as error:  # noqa: BLE001 (author's code; SystemExit too)
                # Nothing may pass: it would end the loop, and with it every job.
                self.safely(self._returned, command, None, error, started_s)
            else:
                self.safely(self._returned, command, value, None, started_s)

        task = self._around.loop.create_task(call(), name=command.step.id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _encode(self, command: Encode) -> None:
        backend = self._backend(self._around.routing.pick(command.serving_device))
        if backend is None:
            self._failed(command.step, _no_backend(command.serving_device), retryable=False)
            return

        def prepare() -> Callable[[], Any]:
            encode = backend.encoder(command.model)
            return lambda: list(encode(command.messages))

        self._work(command, prepare)

    def _work(self, command: RunTool | Encode, prepare: Callable[[], Callable[[], Any]]) -> None:
        """Run a function on a worker thread; its outcome comes back to the loop.

        `prepare` gives the function, on that thread too. What it loads for that is the machine's
        time, not the step's: counted, plans would take it for the time of every later step.
        """
        clock, loop = self._around.clock, self._around.loop
        started = [clock.now()]

        def timed() -> Any:
            function = prepare()
            started[0] = clock.now()
            return _plain(function())

        def done(value: Any, error: BaseException | None) -> None:
            ended_s = clock.now()
            arguments = (command, value, error, started[0], ended_s)
            _back_to(loop, self.safely, self._returned, *arguments)

        self._calls[command.step.id] = self._around.workers.submit(timed, done)

    def _returned(
        self,
        command: RunTool | Encode,
        value: Any,
        error: BaseException | None,
        started_s: float,
        ended_s: float | None = None,
    ) -> None:
        if self._stopped:
            return
        now = self._around.clock.now()
        if error is None:
            end = now if ended_s is None else ended_s
            self.advance(self.run.completed(command, value, now, started_s, end))
        else:
            self._failed(command.step, _told(error, command.step), retryable=True)

    def _failed(self, step: Step, error: GanglineError, retryable: bool) -> None:
        now = self._around.clock.now()
        self.advance(self.run.failed(step, error, now, retryable))

    def _limit(self, step: Step, timeout_s: float | None) -> None:
        if timeout_s is not None:
            later = self._around.loop.call_later
            self._timers[step.id] = later(timeout_s, self.safely, self._overrun, step, timeout_s)

    def _overrun(self, step: Step, timeout_s: float) -> None:
        call = self._calls.pop(step.id, None)
        if call is not None:
            self._around.workers.abandon(call)
        for task in self._tasks:
            if task.get_name() == step.id:
                task.cancel()
        error = StepTimeout(
            f"{step.stage.name} did not answer within {timeout_s:g} s",
            where=step.where,
            next_step="Raise its timeout, or make it do less.",
        )
        self._failed(step, error, retryable=True)

    def _submit(self, command: SubmitRequest) -> None:
        if self._stopped:
            return
        device, now = self.run.device(command.step), self._around.clock.now()
        backend = self._backend(device)
        if backend is None:
            self._failed(command.step, _no_backend(device), retryable=False)
            return
        try:
            loaded = backend.prepare(command.model)
            if not loaded.done():
                # Loading is the machine's time, not the request's: it is submitted after.
                self._loading[command.request_id] = command
                again = partial(_back_to, self._around.loop, self.safely, self._loaded, command)
                loaded.add_done_callback(lambda _: again())
                return
            loaded.result()
            backend.send(submit_message(command, now))
        except Exception as error:  # noqa: BLE001 (a backend's fault is its request's failure)
            self._failed(command.step, _told(error, command.step), retryable=True)
            return
        # Events come through the loop, so none can arrive before this.
        self._around.requests[command.request_id] = InFlight(self, command, device, now)
        self._around.routing.begin(device)

    def _loaded(self, command: SubmitRequest) -> None:
        if self._loading.pop(command.request_id, None) is not None:
            self._submit(command)

    def _cancel(self, command: CancelRequest) -> None:
        waiting = self._loading.pop(command.request_id, None)
        if waiting is not None:
            error = JobCancelled("The request was cancelled before the model was loaded")
            self._failed(waiting.step, error, retryable=False)
            return
        flight = self._around.requests.get(command.request_id)
        backend = self._backend(flight.device) if flight else None
        if backend is not None:
            backend.send(Cancel(command.request_id))

    def _backend(self, device: str) -> Backend | None:
        backends = self._around.backends
        return backends.get(device) or backends.get(device.split("/", 1)[0])

    def _finish(self) -> None:
        """The job has stopped: wait until that is on disk, then tell."""
        self._stop()
        if self._stored is None:
            self.done.set_result(None)
            return
        self._stored.add_done_callback(self._tell)

    def _tell(self, stored: Future[None]) -> None:
        error = stored.exception()
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)

    def _stop(self) -> None:
        self._stopped = True
        for timer in self._timers.values():
            timer.cancel()
        for call in self._calls.values():
            self._around.workers.abandon(call)
        for task in self._tasks:
            task.cancel()
        mine = [flight for flight in self._around.requests.values() if flight.driver is self]
        for flight in mine:
            self._cancel(CancelRequest(flight.command.request_id, flight.command.step.id))


def submit_message(command: SubmitRequest, now: float) -> Submit:
    """Give the message of a request that arrives at an engine now."""
    return Submit(
        request_id=command.request_id,
        model=command.model,
        prompt_tokens=command.prompt_tokens,
        sampling=command.sampling,
        arrival_s=now,
        deadline_s=command.deadline_s,
        remaining_s=command.remaining_s,
    )


def _plain(value: Any) -> Any:
    """Check, on the thread that made it, that a value can be stored."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StepError(
            f"What the tool returned cannot be stored as JSON: {error}",
            next_step="Return plain JSON values (no NaN, no deep nesting, no lone surrogates).",
        ) from None
    return value


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


def _no_backend(device: str) -> GanglineError:
    return BackendError(
        f"No backend drives the device {device!r}",
        next_step="Name a device of the fleet that has a backend, or retry with the --fleet of then.",
    )


def _back_to(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: Any) -> None:
    """Call a function on the loop; a loop that is gone has nobody left to tell."""
    if not loop.is_closed():
        try:
            loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return
