"""The tool and tokenizer calls one job waits for: on threads, on the loop, under time limits."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gangline.backends.base import Backend, OpenBackend
from gangline.ir.errors import BackendError, JobCancelled, StepError
from gangline.runtime.dispatch.commands import Call as HostCall
from gangline.runtime.dispatch.commands import Embed, Encode, RunTool, Step, UseMemory
from gangline.runtime.dispatch.prompt import tokens_of
from gangline.workflows.cancel_token import CancelToken

from .memory_calls import MemoryUser, use_memory
from .surroundings import Surroundings
from .tool_table import RegisteredTool, call_arguments
from .workers import Call

MAX_VALUE_BYTES = 32 << 20
"""Most a step may give; its job, all that reads it and every copy of the log hold it whole."""

_SMALL = 1 << 63

Returned = Callable[[HostCall | Embed, Any, BaseException | None, float, float], None]
"""Takes a command, its value or its error, and when its function began and ended."""
Overrun = Callable[[Step, float], None]
"""Takes a step that ran out of time, and the seconds it had."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A call under way: its time limit, and the thread's call or the loop's task.

    `token` tells the tool when nobody waits any more.
    """

    step: Step
    limit_s: float | None
    token: CancelToken
    call: Call | None = None
    task: asyncio.Task[None] | None = None


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
        self._waiting: dict[str, Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps them weakly

    @property
    def is_idle(self) -> bool:
        """Say whether no call is under way."""
        return not self._waiting and not self._tasks

    def tool(self, tool: RegisteredTool, command: RunTool) -> None:
        """Call a tool: an async one on the loop, any other on a worker thread."""
        waiting = self._wait_for(command.step, command.timeout_s)
        if tool.is_async:
            name = command.step.id
            called = self._await(tool, command, waiting.token)
            task = self._around.loop.create_task(called, name=name)
            waiting.task = task
            self._tasks.add(task)
        else:
            waiting.call = self._work(command, partial(_call_of, tool, command), waiting.token)

    def inline(self, tool: RegisteredTool, command: RunTool) -> None:
        """Call a tool here and now; `returned` is called before this returns."""
        now = self._around.clock.now
        started_s = now()
        try:
            value = plain(tool.call(call_arguments(tool, command)))
        except BaseException as error:  # noqa: BLE001 (author's code; SystemExit too)
            self._returned(command, None, error, started_s, now())
        else:
            self._returned(command, value, None, started_s, now())

    def encode(self, backend: Backend, command: Encode) -> None:
        """Turn a prompt into tokens, on a worker thread."""

        def prepare() -> Callable[[], Any]:
            encode = backend.encoder(command.model)
            return lambda: tokens_of(encode, command.messages, command.open)

        waiting = self._wait_for(command.step, None)
        waiting.call = self._work(command, prepare, waiting.token)

    def embed(self, backend: Backend, command: Embed) -> None:
        """Turn a text that is to be embedded into tokens, on a worker thread."""

        def prepare() -> Callable[[], Any]:
            if not isinstance(backend, OpenBackend):
                raise BackendError(
                    f"The device that should embed with {command.model} cannot",
                    where=command.step.where,
                    next_step="Give the fleet a device with an engine of our own.",
                )
            encode = backend.prompts(command.model).encode_text
            return lambda: list(encode(command.text))

        waiting = self._wait_for(command.step, None)
        waiting.call = self._work(command, prepare, waiting.token)

    def memory(self, command: UseMemory, user: MemoryUser) -> None:
        """Look memory up or change it, on a worker thread."""
        store, now = self._around.store, self._around.clock.now
        waiting = self._wait_for(command.step, None)

        def prepare() -> Callable[[], Any]:
            return lambda: use_memory(store, user, command, now())

        waiting.call = self._work(command, prepare, waiting.token)

    def ended(self, step_id: str) -> None:
        """Forget a call whose step has an end in the log."""
        waiting = self._waiting.pop(step_id, None)
        if waiting is not None and waiting.limit_s is not None:
            self._around.timeouts.remove(waiting, waiting.limit_s)

    def cancel(self, step_id: str, by_force: bool) -> None:
        """Tell a call that nobody wants its result; with force, an async one is interrupted."""
        waiting = self._waiting.get(step_id)
        if waiting is not None:
            waiting.token.cancel()
            if by_force and waiting.task is not None:
                waiting.task.cancel()

    def stop(self) -> None:
        """Wait for no call any more; what can be stopped is."""
        for waiting in self._waiting.values():
            self._write_off(waiting)
        self._waiting.clear()
        for task in list(self._tasks):
            task.cancel()

    def _wait_for(self, step: Step, limit_s: float | None) -> Waiting:
        waiting = self._waiting[step.id] = Waiting(step, limit_s, CancelToken())
        if limit_s is not None:
            self._around.timeouts.add(waiting, limit_s, partial(self._limit, waiting))
        return waiting

    async def _await(self, tool: RegisteredTool, command: RunTool, token: CancelToken) -> None:
        now = self._around.clock.now
        started_s = now()
        try:
            with token.active():
                value = plain(await tool.call(call_arguments(tool, command)))
        except BaseException as error:  # noqa: BLE001 (author's code; SystemExit too)
            # Nothing may pass: it would end the loop, and with it every job.
            self._returned(command, None, error, started_s, now())
        else:
            self._returned(command, value, None, started_s, now())
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._tasks.discard(task)

    def _work(
        self,
        command: HostCall | Embed,
        prepare: Callable[[], Callable[[], Any]],
        token: CancelToken,
    ) -> Call:
        """Run a function on a worker thread; its outcome comes back to the loop.

        `prepare` gives the function, on that thread too. What it loads for that is the machine's
        time, not the step's: counted, plans would take it for the time of every later step.
        """
        now, post = self._around.clock.now, self._around.mailbox.post
        fence, started_s = self._around.fence, math.nan

        def timed() -> Any:
            nonlocal started_s
            started_s = now()
            function = prepare()
            if not fence.pass_through(post, lambda: token.is_cancelled):
                raise JobCancelled("Nobody waits for this call any more")
            started_s = now()
            with token.active():
                return plain(function())

        def done(value: Any, error: BaseException | None) -> None:
            post(self._returned, command, value, error, started_s, now())

        return self._around.workers.submit(timed, done)

    def _limit(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting.step.id, None)
        self._write_off(waiting)
        assert waiting.limit_s is not None
        self._overrun(waiting.step, waiting.limit_s)

    def _write_off(self, waiting: Waiting) -> None:
        if waiting.limit_s is not None:
            self._around.timeouts.remove(waiting, waiting.limit_s)
        waiting.token.cancel()
        if waiting.call is not None:
            self._around.workers.abandon(waiting.call)
        if waiting.task is not None:
            waiting.task.cancel()


def _call_of(tool: RegisteredTool, command: RunTool) -> Callable[[], Any]:
    return partial(tool.call, call_arguments(tool, command))


def plain(value: Any) -> Any:
    """Check, on the thread that made it, that a value can be stored; StepError if not."""
    if value is None or type(value) is bool or (type(value) is int and -_SMALL < value < _SMALL):
        return value
    try:
        if type(value) is str and value.isascii():
            size = len(value)
        else:
            size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise StepError(
            f"What the tool returned cannot be stored as JSON: {error}",
            next_step="Return plain JSON values (no NaN, no deep nesting, no lone surrogates).",
        ) from None
    if size > MAX_VALUE_BYTES:
        raise StepError(
            f"What the tool returned is {size:,} bytes as JSON; at most {MAX_VALUE_BYTES:,} are kept",
            next_step="Write it to a file or a database, and return its name.",
        )
    return value
