"""The jobs in the store, as documents; nothing is run here."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from typing import Any

from gangline.ir.specs.event import FINAL_STATUSES, Event

from .job import result_of
from .store import Store


def list_jobs(
    limit: int = 20,
    after: str | None = None,
    status: str | None = None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Give a page of jobs, the newest first: `data`, and `next`, the cursor of the next page."""
    with _opened(store) as opened:
        rows = opened.jobs(limit=limit + 1, after=after or "", status=status)
    page = [asdict(row) for row in rows[:limit]]
    return {"data": page, "next": page[-1]["id"] if len(rows) > limit else None}


def job_document(job: str, store: Store | None = None) -> dict[str, Any]:
    """Give a job's document as `gangline run --json` prints it, whatever its state."""
    with _opened(store) as opened:
        return result_of(opened.events(opened.resolve(job))).to_json()


def cancel_job(job: str, store: Store | None = None) -> dict[str, Any]:
    """Cancel a job that no process runs; LeaseLost while one does."""
    with _opened(store) as opened:
        job_id = opened.resolve(job)
        row = opened.job(job_id)
        if row.status not in FINAL_STATUSES:
            now = time.time()
            epoch = opened.acquire(job_id, f"cancel:{os.getpid()}", 10.0, now)
            last_seq = opened.job(job_id).last_seq
            event = Event(job_id, last_seq + 1, "job.cancelled", now)
            opened.append(job_id, [event], epoch).result()
            opened.release(job_id, epoch).result()
            row = opened.job(job_id)
    return {"id": row.id, "status": row.status}


class _Borrowed:
    """A store that somebody else closes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> Store:
        return self._store

    def __exit__(self, *_: object) -> None:
        return


def _opened(store: Store | None) -> Store | _Borrowed:
    return Store() if store is None else _Borrowed(store)
