"""The tool and tokenizer calls one job waits for: on threads, on the loop, under time limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

from gangline.backends.base import Backend
from gangline.ir.errors import StepError

from .commands import Encode, RunTool, Step
from .surroundings import Surroundings
from .tool_table import RegisteredTool, call_arguments
from .workers import Call

Returned = Callable[[RunTool | Encode, Any, BaseException | None, float, float], None]
"""Takes a command, its value or its error, and when its function began and ended."""
Overrun = Callable[[Step, float], None]
"""Takes a step that ran out of time, and the seconds it had."""


class StepCalls:
    """Begin calls on behalf of a job and tell how they ended. Lives on the loop.

    Args:
        returned: called on the loop once per call that ended by itself.
        overrun: called on the loop when a call's time is up; the call is written off before.
    """

    def __init__(self, around: Surroundings, returned: Returned, overrun: Overrun) -> None:
        self._around = around
        self._returned = returned
        self._overrun = overrun
        self._calls: dict[str, Call] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def tool(self, tool: RegisteredTool, command: RunTool) -> None:
        """Call a tool: an async one on the loop, any other on a worker thread."""
        if command.timeout_s is not None:
            later = self._around.loop.call_later
            timer = later(command.timeout_s, self._limit, command.step, command.timeout_s)
            self._timers[command.step.id] = timer
        if tool.is_async:
            self._await(tool, command)
        else:
            arguments = call_arguments(tool, command)
            self._work(command, lambda: partial(tool.call, arguments))

    def encode(self, backend: Backend, command: Encode) -> None:
        """Turn a prompt into tokens, on a worker thread."""

        def prepare() -> Callable[[], Any]:
            encode = backend.encoder(command.model)
            return lambda: list(encode(command.messages))

        self._work(command, prepare)

    def ended(self, step_id: str) -> None:
        """Forget a call whose step has an end in the log."""
        timer = self._timers.pop(step_id, None)
        if timer is not None:
            timer.cancel()
        self._calls.pop(step_id, None)

    def stop(self) -> None:
        """Wait for no call any more; what can be stopped is."""
        for timer in self._timers.values():
            timer.cancel()
        for call in self._calls.values():
            self._around.workers.abandon(call)
        for task in list(self._tasks.values()):
            task.cancel()

    def _await(self, tool: RegisteredTool, command: RunTool) -> None:
        clock, step_id = self._around.clock, command.step.id

        async def call() -> None:
            started_s = clock.now()
            try:
                value = plain(await tool.call(call_arguments(tool, command)))
            except BaseException as error:  # noqa: BLE001 (author's code; SystemExit too)
                # Nothing may pass: it would end the loop, and with it every job.
                self._returned(command, None, error, started_s, clock.now())
            else:
                self._returned(command, value, None, started_s, clock.now())

        task = self._around.loop.create_task(call(), name=step_id)
        self._tasks[step_id] = task
        task.add_done_callback(partial(self._forget, step_id))

    def _forget(self, step_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(step_id) is task:
            del self._tasks[step_id]

    def _work(self, command: RunTool | Encode, prepare: Callable[[], Callable[[], Any]]) -> None:
        """Run a function on a worker thread; its outcome comes back to the loop.

        `prepare` gives the function, on that thread too. What it loads for that is the machine's
        time, not the step's: counted, plans would take it for the time of every later step.
        """
        clock, post = self._around.clock, self._around.mailbox.post
        started = [clock.now()]

        def timed() -> Any:
            function = prepare()
            started[0] = clock.now()
            return plain(function())

        def done(value: Any, error: BaseException | None) -> None:
            post(self._returned, command, value, error, started[0], clock.now())

        self._calls[command.step.id] = self._around.workers.submit(timed, done)

    def _limit(self, step: Step, timeout_s: float) -> None:
        call = self._calls.pop(step.id, None)
        if call is not None:
            self._around.workers.abandon(call)
        task = self._tasks.get(step.id)
        if task is not None:
            task.cancel()
        self._overrun(step, timeout_s)


def plain(value: Any) -> Any:
    """Check, on the thread that made it, that a value can be stored."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StepError(
            f"What the tool returned cannot be stored as JSON: {error}",
            next_step="Return plain JSON values (no NaN, no deep nesting, no lone surrogates).",
        ) from None
    return value
