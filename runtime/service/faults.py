"""Jobs that a fault of ours ended: they are failed, for continued they would end the same way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from gangline.ir.errors import GanglineError, JobError
from gangline.ir.specs.event import FINAL_STATUSES, Event
from gangline.runtime.clock import Clock
from gangline.runtime.store import Store

from .reader import Reader

logger = logging.getLogger(__name__)


class Faults:
    """End jobs that the server itself could not carry on."""

    def __init__(
        self,
        store: Store,
        reader: Reader,
        clock: Clock,
        owner: str,
        append: Callable[[str, Sequence[Event], int], Awaitable[None]],
    ) -> None:
        self._store = store
        self._reader = reader
        self._clock = clock
        self._owner = owner
        self._append = append
        self._tasks: set[asyncio.Task[None]] = set()

    def bury(self, job_id: str, error: BaseException | None) -> None:
        """Log a fault, and record that its job failed."""
        logger.error("job %s failed inside the server", job_id, exc_info=error)
        task = asyncio.get_running_loop().create_task(self._end(job_id, error))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end(self, job_id: str, error: BaseException | None) -> None:
        told = JobError(
            f"The server failed while it ran this job: {type(error).__name__}: {error}"[:500],
            where=f"job {job_id}",
            next_step="Report this as a fault of gangline; the server's log has the traceback.",
        )
        try:
            epoch = await asyncio.to_thread(self._store.acquire, job_id, self._owner)
            row = await self._reader.find(job_id)
            if row is not None and row.status not in FINAL_STATUSES:
                data = {"error": told.to_json()}
                event = Event(job_id, row.last_seq + 1, "job.failed", self._clock.now(), "", data)
                await self._append(job_id, [event], epoch)
        except GanglineError:
            logger.exception("job %s could not be ended", job_id)
