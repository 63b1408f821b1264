"""Open event streams: a bounded number for each tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator

from gangline.ir.errors import QuotaError
from gangline.ir.specs.event import Event

from .reader import Reader


class EventStreams:
    """Follow jobs for tenants.

    Attributes:
        num_open: streams by tenant.
    """

    def __init__(self, reader: Reader, most: int) -> None:
        self.num_open: Counter[str] = Counter()
        self._reader = reader
        self._most = most

    def open(self, tenant: str, job_id: str, after: int) -> AsyncGenerator[Event, None]:
        """Give a job's events (`Reader.follow`); QuotaError if the tenant has too many streams."""
        if self.num_open[tenant] >= self._most:
            raise QuotaError(
                f"There are {self._most} open event streams", next_step="Close some of them."
            )
        return self._counted(tenant, job_id, after)

    async def _counted(self, tenant: str, job_id: str, after: int) -> AsyncGenerator[Event, None]:
        self.num_open[tenant] += 1
        following = self._reader.follow(job_id, after)
        try:
            async for event in following:
                yield event
        finally:
            await following.aclose()
            self.num_open[tenant] -= 1
            if not self.num_open[tenant]:
                del self.num_open[tenant]
