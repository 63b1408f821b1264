"""Cancellation as a tool sees it: a flag to look at, and callbacks for what has to be stopped.

The executor gives every tool call a token and cancels it when nobody waits for the call any
more: its job was cancelled or has expired, or the call ran out of time. An async tool is
cancelled by asyncio too; a tool on a thread has to look, or to say what is to be stopped.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

logger = logging.getLogger(__name__)

_CURRENT: ContextVar[CancelToken | None] = ContextVar("gangline_cancel_token", default=None)


class CancelToken:
    """One call's flag; `cancel` may come from any thread and more than once."""

    __slots__ = ("_callbacks", "_is_cancelled", "_lock")

    def __init__(self) -> None:
        # Re-entrant, so that a callback may end its own registration.
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], None]] = []
        self._is_cancelled = False

    @property
    def is_cancelled(self) -> bool:
        """Say whether nobody waits for the call any more."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Set the flag and run the callbacks, each once; one that fails is logged."""
        with self._lock:
            self._is_cancelled = True
            callbacks, self._callbacks = self._callbacks, []
            # Under the lock: once `removed` has returned, a callback has run or never will.
            for callback in callbacks:
                try:
                    callback()
                except Exception:
                    logger.exception("a callback of a cancelled call failed")

    @contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """Have `callback` run if the call is cancelled meanwhile, or at once if it is already."""
        with self._lock:
            self._callbacks.append(callback)
            if self._is_cancelled:
                self.cancel()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this the token of what runs inside, in this thread or task."""
        before = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(before)


def cancelled() -> bool:
    """Say whether the tool that asks should stop: nobody waits for its result any more.

    False outside a tool that a job runs. Cheap enough to ask in every turn of a loop.
    """
    token = _CURRENT.get()
    return token is not None and token.is_cancelled


@contextmanager
def on_cancel(callback: Callable[[], None]) -> Iterator[None]:
    """Have `callback` called if this tool is cancelled before the block ends.

    The callback runs on another thread and must be quick: kill a process, close a socket. Once
    the block has ended it does not run any more. Does nothing outside a tool that a job runs.
    """
    token = _CURRENT.get()
    if token is None:
        yield
        return
    with token.calling(callback):
        yield
