"""Many time limits with few timers: calls of one limit run out in the order they began."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class Timeouts:
    """Time limits of calls, by the seconds they have. Lives on the loop.

    Adding and removing a call is a dict operation; a timer runs per distinct limit, and only
    as often as one of its oldest calls could be due.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rows: dict[float, dict[Any, tuple[float, Callable[[], None]]]] = {}

    def add(self, key: Any, limit_s: float, overrun: Callable[[], None]) -> None:
        """Have `overrun` called in `limit_s` seconds unless the key is removed before."""
        rows = self._rows.get(limit_s)
        if rows is None:
            # Invariant: a limit is in `_rows` exactly while its timer runs.
            rows = self._rows[limit_s] = {}
            self._loop.call_later(limit_s, self._look, limit_s)
        rows[key] = (self._loop.time() + limit_s, overrun)

    def remove(self, key: Any, limit_s: float) -> None:
        """Forget a call; one that is not known is fine."""
        rows = self._rows.get(limit_s)
        if rows is not None:
            rows.pop(key, None)

    def _look(self, limit_s: float) -> None:
        """Call what is due, and look again when the oldest of the rest is."""
        rows, now = self._rows[limit_s], self._loop.time()
        due = []
        for key, (at, overrun) in rows.items():
            if at > now:
                self._loop.call_at(at, self._look, limit_s)
                break
            due.append((key, overrun))
        else:
            del self._rows[limit_s]
        for key, _ in due:
            rows.pop(key)
        for _, overrun in due:
            overrun()
