"""Calls that other threads hand to an event loop: one wake-up for all that came meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)


class Mailbox:
    """Carry calls from any thread to a loop, in the order they were posted.

    A loop that was closed has nobody left to tell: what is posted to it is dropped.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._is_woken = False

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Have `function(*args)` called on the loop soon; returns at once."""
        self._calls.append((function, args))
        if self._is_woken:
            return
        self._is_woken = True
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            self._calls.clear()
            self._is_woken = False

    def _drain(self) -> None:
        # Invariant: a call appended after this line sees the flag down, and wakes the loop again;
        # one appended before is counted below. So none is left lying.
        self._is_woken = False
        calls = self._calls
        for _ in range(len(calls)):
            function, args = calls.popleft()
            try:
                function(*args)
            except Exception:
                logger.exception("a call handed to the loop failed")
