"""Reading jobs for a tenant: rows, documents, events as they happen. Nothing is changed here.

Isolation is decided in one place, `row`: whose job it is not, for them there is no such job.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from gangline.ir.errors import NotFoundError
from gangline.ir.program import Program
from gangline.ir.specs.event import END_EVENTS, FINAL_STATUSES, STOPPED_STATUSES, Event
from gangline.ir.specs.plan import Plan
from gangline.runtime.dispatch.job import result_of
from gangline.runtime.dispatch.programs import plan_of, program_of
from gangline.runtime.store import JobRow, Store

from .documents import job_resource, job_row
from .hub import Hub, Lagged
from .job_fold import JobFold
from .settings import Settings
from .tenant import Tenant

T = TypeVar("T")
FOLDS_KEPT = 32


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows, newest first; times are seconds since the epoch.

    `tenant` is for admins only: one tenant's jobs; None shows an admin those of all.
    """

    limit: int = 50
    after: str = ""
    status: str | None = None
    workflow: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    id_prefix: str | None = None
    tenant: str | None = None


class Reader:
    """Read jobs from the store, and follow them on the hub.

    Args:
        position: gives how many jobs of the same tenant wait before a job, where that is known.
    """

    def __init__(
        self, store: Store, hub: Hub, settings: Settings, position: Callable[[str], int | None]
    ) -> None:
        self._store = store
        self._hub = hub
        self._settings = settings
        self._position = position
        self._folds: OrderedDict[str, JobFold] = OrderedDict()
        self._folding: dict[str, asyncio.Lock] = {}

    async def row(self, tenant: Tenant, job_id: str) -> JobRow:
        """Give a job's row; NotFoundError in the same words for no job and for another's."""
        row = await self.find(job_id)
        if row is None or not sees(tenant, row.tenant):
            raise no_job(job_id)
        return row

    async def find(self, job_id: str) -> JobRow | None:
        """Give a job's row, whoever's it is; None if there is none."""
        return await self.light(self._store.find, job_id)

    async def document(self, row: JobRow, last: Event | None = None) -> dict[str, Any]:
        """Give a job's whole document; `last` spares reading the event it stopped with."""
        if row.status not in STOPPED_STATUSES:
            last = None
        elif last is None or last.seq != row.last_seq:
            found = await self.light(self._store.events, row.id, row.last_seq - 1, 1)
            last = found[0] if found else None
        return job_resource(row, last, self._place(row))

    async def page(self, tenant: Tenant, wanted: JobFilter) -> dict[str, Any]:
        """Give one page of the tenant's jobs, with the cursor of the next."""
        whose = wanted.tenant if "admin" in tenant.scopes else tenant.name
        if wanted.after:
            # A cursor is an id: another tenant's must not tell where in time that job is.
            await self.row(tenant, wanted.after)
        rows = await asyncio.to_thread(
            self._store.jobs,
            wanted.limit + 1,
            wanted.after,
            wanted.status,
            tenant=whose,
            workflow=wanted.workflow,
            created_after=wanted.created_after,
            created_before=wanted.created_before,
            id_prefix=wanted.id_prefix,
        )
        page = [job_row(row, self._place(row)) for row in rows[: wanted.limit]]
        return {"data": page, "next": page[-1]["id"] if len(rows) > wanted.limit else None}

    async def steps(self, job_id: str) -> dict[str, Any]:
        """Give a job's step records."""

        def read() -> list[dict[str, Any]]:
            steps: list[dict[str, Any]] = result_of(self._store.events(job_id)).to_json()["steps"]
            return steps

        return {"data": await asyncio.to_thread(read)}

    async def fold(self, job_id: str) -> JobFold:
        """Give a job's totals per stage; what was folded before is not read again."""
        lock = self._folding.setdefault(job_id, asyncio.Lock())
        async with lock:
            fold = self._folds.pop(job_id, None) or JobFold()
            while True:
                page = self._settings.page_events
                count = await asyncio.to_thread(self._fold_page, fold, job_id, page)
                if count < page:
                    break
            self._folds[job_id] = fold
        self._folding.pop(job_id, None)
        while len(self._folds) > FOLDS_KEPT:
            self._folds.popitem(last=False)
        return fold

    def _fold_page(self, fold: JobFold, job_id: str, page: int) -> int:
        events = self._store.events(job_id, fold.last_seq, page)
        fold.add(events)
        return len(events)

    async def follow(self, job_id: str, after: int) -> AsyncGenerator[Event, None]:
        """Give events above `after` from the log, then live ones: no gap, none twice.

        `step.delta` events come live only. Ends when the job is over.
        """
        with self._hub.subscribe(job_id, after) as live:
            # Invariant: every event up to `after` was given, none twice. The subscription stands
            # before the log is read, so what is stored meanwhile is in one of the two.
            while True:
                async for event in self._logged(job_id, after):
                    after = live.after = event.seq
                    yield event
                row = await self.find(job_id)
                if row is None or (row.status in FINAL_STATUSES and row.last_seq <= after):
                    return
                try:
                    while True:
                        event = await live.get()
                        if event.seq > after + 1:
                            break  # some were told elsewhere: the log has them
                        if event.seq == after + 1:
                            after = live.after = event.seq
                            yield event
                            if event.type in END_EVENTS:
                                break
                        elif event.seq == 0:
                            yield event
                except Lagged:
                    continue

    async def _logged(self, job_id: str, after: int) -> AsyncIterator[Event]:
        page = self._settings.page_events
        while True:
            events = await asyncio.to_thread(self._store.events, job_id, after, page)
            for event in events:
                yield event
            if len(events) < page:
                return
            after = events[-1].seq

    async def light(self, read: Callable[..., T], *args: Any) -> T:
        """Read something small: on the loop where the store is a file, else on a thread."""
        if self._store.is_local:
            return read(*args)
        return await asyncio.to_thread(read, *args)

    def _place(self, row: JobRow) -> int | None:
        return None if row.status in STOPPED_STATUSES else self._position(row.id)


def sees(tenant: Tenant, owner: str) -> bool:
    """Say whether jobs of `owner` exist for a tenant."""
    return owner == tenant.name or "admin" in tenant.scopes


def no_job(job_id: str) -> NotFoundError:
    """Say that there is no such job: the same words whether it is somebody else's or nobody's."""
    return NotFoundError(f"There is no job {job_id[:64]!r}", next_step="Check the id.")


def carried_program(fold: JobFold) -> Program:
    """Give the program a job carries."""
    return program_of(fold.queued["program"])


def carried_plan(fold: JobFold) -> Plan | None:
    """Give the plan a job was queued with."""
    found = fold.queued.get("plan")
    return None if found is None else plan_of(found)
