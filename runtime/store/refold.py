"""Compute job rows anew from their events: for stores written before rows had all columns."""

from __future__ import annotations

import json

from gangline.ir.errors import StoreError
from gangline.ir.specs.event import Event

from .database import Database
from .job_row import RowChange, changed
from .operations import queued_values

_FOLDED = (
    "status",
    "updated_s",
    "seconds",
    "usd",
    "late",
    "last_seq",
    "deadline_at_s",
    "on_deadline",
    "budget_usd",
    "error_code",
    "predicted_s",
    "predicted_usd",
    "prompt_tokens",
    "output_tokens",
    "steps",
    "started_s",
    "ended_s",
)


def refold_all(database: Database) -> None:
    """Set the folded columns of every row from its job's events; in the open transaction."""
    for job_id, workflow in database.rows("SELECT id, workflow FROM jobs"):
        events = _events(database, job_id)
        if not events or events[0].type != "job.queued":
            continue
        values = queued_values(events[0], workflow)
        for event in events[1:]:
            change = RowChange()
            change.add(event)
            changed(values, change)
        database.run(
            f"UPDATE jobs SET {', '.join(f'{name} = ?' for name in _FOLDED)} WHERE id = ?",
            (*(values[name] for name in _FOLDED), job_id),
        )


def _events(database: Database, job_id: str) -> list[Event]:
    rows = database.rows(
        "SELECT seq, type, at_s, step_id, data FROM events WHERE job_id = ? ORDER BY seq",
        (job_id,),
    )
    try:
        return [
            Event(job_id, seq, kind, at_s, step_id, json.loads(data))
            for seq, kind, at_s, step_id, data in rows
        ]
    except ValueError as error:
        raise StoreError(
            f"The events of job {job_id} cannot be read: {error}",
            next_step="The store was changed by hand; restore it from a copy.",
        ) from None
