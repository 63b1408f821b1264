"""Jobs in this machine's own store: list, show and cancel them without a server."""

from __future__ import annotations

import time
from typing import Any

from gangline.ir.errors import JobCancelled, LeaseLost, UsageError
from gangline.ir.specs.event import FINAL_STATUSES, Event

from .dispatch.job import result_of
from .store import Store
from .store.owner import owner_name

CANCEL_S = 10.0
"""How long a process that runs a job is given to cancel it."""

LOOK_EVERY_S = 0.05

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
    """End a stored job: here if nobody runs it, else by asking the process that does.

    Raises:
        UsageError: it has ended otherwise. LeaseLost: who runs it takes no requests, or none now;
        the job is cancelled once somebody else takes it over.
    """
    with Store() as store:
        job_id = store.resolve(part)
        _check_open(store, job_id)
        owner = owner_name()
        try:
            epoch = store.acquire(job_id, owner)
        except LeaseLost:
            _ask_to_cancel(store, job_id)
        else:
            seq = store.events(job_id)[-1].seq + 1
            error = JobCancelled("The job was cancelled from the command line").to_json()
            event = Event(job_id, seq, "job.cancelled", time.time(), data={"error": error})
            store.append(job_id, [event], epoch).result()
            store.unregister(owner).result()
        return {"id": job_id, "status": "cancelled"}


def _check_open(store: Store, job_id: str) -> None:
    status = store.job(job_id).status
    if status in FINAL_STATUSES:
        raise UsageError(
            f"The job has ended already: {status}",
            where=job_id,
            next_step="`gangline jobs show` prints what it gave.",
        )


def _ask_to_cancel(store: Store, job_id: str) -> None:
    """Leave a request for the server that runs a job, and wait for what it does."""
    store.control(job_id, "cancel", {}).result()
    until_s = time.monotonic() + CANCEL_S
    while time.monotonic() < until_s:
        if store.job(job_id).status == "cancelled":
            return
        _check_open(store, job_id)
        time.sleep(LOOK_EVERY_S)
    raise LeaseLost(
        f"Job {job_id} is run by another process, which was asked to cancel it and has not yet",
        next_step="Stop that process (Ctrl-C), or wait: a server cancels it once its step ends.",
    )
