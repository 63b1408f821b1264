"""Forget jobs that ended long ago, in the background, a few at a time."""

from __future__ import annotations

import asyncio
import logging

from gangline.ir.errors import GanglineError
from gangline.runtime.clock import Clock
from gangline.runtime.store import Store

logger = logging.getLogger(__name__)

AT_ONCE = 1000
"""Jobs between two looks at whether the server stops."""

EVERY_S = 300.0
"""Longest time between two looks for old jobs; a hundredth of what is retained if that is less."""

LEAST_S = 0.05

STOP_S = 5.0
"""How long what is being forgotten is waited for when the server stops."""


class Retention:
    """Prune jobs to which nothing happened for `retain_s` seconds; None keeps all for ever."""

    def __init__(self, store: Store, clock: Clock, retain_s: float | None) -> None:
        self._store = store
        self._clock = clock
        self._retain_s = retain_s
        self._task: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    def start(self) -> None:
        """Begin to look."""
        if self._retain_s is not None:
            rounds = self._rounds(self._retain_s)
            self._task = asyncio.get_running_loop().create_task(rounds, name="retention")

    async def stop(self) -> None:
        """End, after what is being forgotten now."""
        self._stop.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _rounds(self, retain_s: float) -> None:
        pause_s = max(min(EVERY_S, retain_s / 100.0), LEAST_S)
        while not self._stop.is_set():
            try:
                before_s = self._clock.now() - retain_s
                found = await asyncio.to_thread(self._store.prune, before_s, limit=AT_ONCE)
                if found:
                    logger.info("%d jobs were forgotten: they ended long ago", found)
                if found == AT_ONCE:
                    continue
            except GanglineError as error:
                logger.warning("old jobs cannot be forgotten now: %s", error)
            try:
                async with asyncio.timeout(pause_s):
                    await self._stop.wait()
            except TimeoutError:
                pass
