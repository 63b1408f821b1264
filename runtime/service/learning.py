"""Learn from jobs that ended: what they took goes into profiles and the calibration.

Only a job that ran alone from start to end says how long its stages take by themselves; the
others say how loaded the devices were. Off the hot path: one job at a time, on a thread, and
those that end meanwhile are passed over.
"""

from __future__ import annotations

import asyncio
import logging

from gangline.runtime.dispatch.job import result_of
from gangline.runtime.dispatch.programs import program_of
from gangline.runtime.session import Session
from gangline.runtime.store import Store

logger = logging.getLogger(__name__)

EVERY_S = 1.0
"""Shortest time between two jobs that are learned from, in seconds."""


class Learning:
    """Watch which jobs run alone, and learn from them."""

    def __init__(self, session: Session, store: Store) -> None:
        self._session = session
        self._store = store
        self._running: set[str] = set()
        self._alone: str | None = None
        self._at_s = 0.0
        self._task: asyncio.Task[None] | None = None

    def started(self, job_id: str) -> None:
        """Note that a job has a slot."""
        self._alone = None if self._running else job_id
        self._running.add(job_id)

    def ended(self, job_id: str) -> None:
        """Note that a job has left; learn from it if it ran alone."""
        self._running.discard(job_id)
        if self._alone != job_id:
            return
        self._alone = None
        loop = asyncio.get_running_loop()
        busy = self._task is not None and not self._task.done()
        if self._session.history is None or busy or loop.time() - self._at_s < EVERY_S:
            return
        self._at_s = loop.time()
        self._task = loop.create_task(self._learn(job_id))

    async def stop(self) -> None:
        """Wait for what is being learned."""
        if self._task is not None:
            await self._task

    async def _learn(self, job_id: str) -> None:
        try:
            await asyncio.to_thread(self._read, job_id)
        except Exception:
            logger.exception("nothing could be learned from job %s", job_id)

    def _read(self, job_id: str) -> None:
        from gangline.runtime.machine.models import catalogue

        history = self._session.history
        events = self._store.events(job_id)
        resumed = any(event.data.get("resumed") for event in events)
        result = result_of(events)
        if history is not None and result.status == "succeeded" and not resumed:
            program = program_of(events[0].data["program"])
            history.learn(program, result, self._session.fleet, catalogue())
