"""A ticket: the answer to a write, given once its transaction has ended."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Call = Callable[[], object]

_LOCK = threading.Lock()
"""One for all tickets: it is held for a few assignments, and a lock each would cost more."""


class Ticket(Generic[T]):
    """What `append` and the other writes give at once; lighter than a concurrent Future.

    May be waited for from any thread (`result`), or awaited on a loop.
    """

    __slots__ = ("_callbacks", "_done", "_error", "_event", "_value")

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Ticket[T]], object]] = []
        self._done = False
        self._error: BaseException | None = None
        self._event: threading.Event | None = None
        self._value: Any = None

    @classmethod
    def of(cls, value: T) -> Ticket[T]:
        """Give a ticket that is done."""
        ticket = cls()
        ticket.settle(value, None)
        return ticket

    def done(self) -> bool:
        """Say whether the transaction has ended, well or not."""
        return self._done

    def result(self, timeout: float | None = None) -> T:
        """Wait, and give the value or raise the refusal; TimeoutError after `timeout` seconds."""
        self._wait(timeout)
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait, and give the refusal, or None."""
        self._wait(timeout)
        return self._error

    def add_done_callback(self, callback: Callable[[Ticket[T]], object]) -> None:
        """Call `callback(ticket)` when done (`Store.deliver` says where), or now if it is."""
        with _LOCK:
            if not self._done:
                self._callbacks.append(callback)
                return
        callback(self)

    def settle(self, value: Any, error: BaseException | None) -> list[Call]:
        """Set the outcome; gives the callbacks that are to be called now."""
        with _LOCK:
            self._value, self._error, self._done = value, error, True
            callbacks, self._callbacks = self._callbacks, []
            event = self._event
        if event is not None:
            event.set()
        return [partial(callback, self) for callback in callbacks]

    def __await__(self) -> Generator[Any, None, T]:
        if not self._done:
            loop = asyncio.get_running_loop()
            woken: asyncio.Future[None] = loop.create_future()
            self.add_done_callback(partial(_wake, loop, woken))
            yield from woken
        return self.result()

    def _wait(self, timeout: float | None) -> None:
        if self._done:
            return
        with _LOCK:
            if self._done:
                return
            event = self._event = self._event or threading.Event()
        if not event.wait(timeout):
            raise TimeoutError("the store has not answered yet")


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Future[None], _: object) -> None:
    if asyncio._get_running_loop() is loop:
        _finish(woken)
    else:
        loop.call_soon_threadsafe(_finish, woken)


def _finish(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
