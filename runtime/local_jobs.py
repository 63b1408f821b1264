"""Jobs in this machine's own store: list, show and cancel them without a server."""

from __future__ import annotations

import time
from typing import Any

from gangline.ir.errors import JobCancelled, UsageError
from gangline.ir.specs.event import FINAL_STATUSES, Event

from .dispatch.job import result_of
from .store import Store
from .store.owner import owner_name

_SHOWN = (
    "id",
    "status",
    "workflow",
    "created_s",
    "updated_s",
    "seconds",
    "usd",
    "late",
    "last_seq",
)


def list_jobs(*, limit: int, after: str | None, status: str | None) -> dict[str, Any]:
    """Give one page of jobs, the newest first (schema: docs/schemas/jobs.json)."""
    with Store() as store:
        rows = store.jobs(limit + 1, after or "", status)
    page = [{name: getattr(row, name) for name in _SHOWN} for row in rows[:limit]]
    return {"data": page, "next": page[-1]["id"] if len(rows) > limit else None}


def job_document(part: str) -> dict[str, Any]:
    """Give one job's document by its id, or by a unique beginning or end of it."""
    with Store() as store:
        return result_of(store.events(store.resolve(part))).to_json()


def cancel_job(part: str) -> dict[str, Any]:
    """End a stored job that nobody runs; LeaseLost if somebody does, UsageError if it ended."""
    with Store() as store:
        job_id = store.resolve(part)
        row = store.job(job_id)
        if row.status in FINAL_STATUSES:
            raise UsageError(
                f"The job has ended already: {row.status}",
                where=job_id,
                next_step="`gangline jobs show` prints what it gave.",
            )
        now = time.time()
        owner = owner_name()
        epoch = store.acquire(job_id, owner)
        seq = store.events(job_id)[-1].seq + 1
        error = JobCancelled("The job was cancelled from the command line").to_json()
        event = Event(job_id, seq, "job.cancelled", now, data={"error": error})
        store.append(job_id, [event], epoch).result()
        store.unregister(owner).result()
        return {"id": job_id, "status": "cancelled"}
