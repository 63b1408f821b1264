"""Reading jobs: one row, pages of rows, counts by status, events."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from gangline.ir.errors import StoreError
from gangline.ir.specs.event import JOB_STATUSES, Event

from .codec import INTERNED, Codec, is_reference
from .database import Database, Row
from .job_row import JobRow
from .operations import unknown

_PLAIN = (
    "id, status, workflow, created_s, updated_s, seconds, usd, late, last_seq, owner, epoch, "
    "tenant, priority, deadline_at_s, on_deadline, budget_usd, error_code, forked_from, "
    "predicted_s, predicted_usd, prompt_tokens, output_tokens, steps, started_s, ended_s"
)
_COLUMNS = (
    f"{_PLAIN}, metadata, coalesce((SELECT kind FROM controls WHERE job_id = jobs.id "
    "ORDER BY number DESC LIMIT 1), '')"
)


def read_job(database: Database, job_id: str) -> JobRow:
    """Find a job's row; StoreError if there is none."""
    rows = database.read(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,))
    if not rows:
        raise unknown(job_id)
    return _row(rows[0])


def find_job(database: Database, job_id: str) -> JobRow | None:
    """Find a job's row; None if there is none."""
    rows = database.read(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,))
    return _row(rows[0]) if rows else None


def find_call(database: Database, tenant: str, key: str) -> tuple[str, str] | None:
    """Give the job and the body's hash of an earlier call with an idempotency key, or None."""
    rows = database.read(
        "SELECT id, body_hash FROM jobs WHERE tenant = ? AND idempotency_key = ? "
        "AND idempotency_key <> ''",
        (tenant, key),
    )
    return (rows[0][0], rows[0][1]) if rows else None


LAST = "\U0010ffff"
"""Sorts behind every character of an id."""


def read_jobs(
    database: Database,
    limit: int,
    after: str,
    status: str | None,
    tenant: str | None,
    workflow: str | None,
    created_after: float | None,
    created_before: float | None,
    id_prefix: str | None = None,
) -> list[JobRow]:
    """Give a page of rows, the newest first."""
    if status is not None and status not in JOB_STATUSES:
        raise StoreError(
            f"No job status is called {status!r}",
            next_step=f"Use one of: {', '.join(JOB_STATUSES)}.",
        )
    conditions: list[tuple[str, tuple[Any, ...]]] = []
    for name, value in (("status", status), ("tenant", tenant), ("workflow", workflow)):
        if value is not None:
            conditions.append((f"{name} = ?", (value,)))
    if created_after is not None:
        conditions.append(("created_s > ?", (created_after,)))
    if created_before is not None:
        conditions.append(("created_s < ?", (created_before,)))
    if id_prefix:
        # Ids begin with their time: the newest of a prefix are found by it, and sorted.
        conditions.append(("id >= ? AND id < ?", (id_prefix, id_prefix + LAST)))
    if after:
        conditions.append(("(created_s, id) < (?, ?)", (_created_s(database, after), after)))
    where = " AND ".join(text for text, _ in conditions) or "1 = 1"
    values = [value for _, given in conditions for value in given]
    rows = database.read(
        f"SELECT {_COLUMNS} FROM jobs WHERE {where} ORDER BY created_s DESC, id DESC LIMIT ?",
        (*values, limit),
    )
    return [_row(row) for row in rows]


def _created_s(database: Database, job_id: str) -> float:
    rows = database.read("SELECT created_s FROM jobs WHERE id = ?", (job_id,))
    if not rows:
        raise StoreError(
            f"The list cannot go on after {job_id!r}: there is no such job any more",
            next_step="Begin again with the first page.",
        )
    return float(rows[0][0])


def count_jobs(database: Database, tenant: str | None) -> dict[str, int]:
    """Count jobs by status."""
    where, values = ("", ()) if tenant is None else ("WHERE tenant = ? ", (tenant,))
    rows = database.read(f"SELECT status, count(*) FROM jobs {where}GROUP BY status", values)
    return {status: int(count) for status, count in rows}


def count_queued(database: Database) -> int:
    """Count the jobs that wait."""
    ((count,),) = database.read("SELECT count(*) FROM jobs WHERE status = 'queued'", ())
    return int(count)


def resolve(database: Database, part: str) -> str:
    """Find the one job whose id begins or ends with `part`; StoreError if none or several."""
    if database.read("SELECT 1 FROM jobs WHERE id = ?", (part,)):
        return part
    rows = database.read(
        "SELECT id FROM jobs WHERE length(id) >= length(?) AND ? <> '' AND ("
        "substr(id, 1, length(?)) = ? OR substr(id, length(id) - length(?) + 1) = ?) LIMIT 2",
        (part,) * 6,
    )
    ids = [row[0] for row in rows]
    if len(ids) != 1:
        raise _ambiguous(part) if ids else unknown(part)
    return str(ids[0])


def read_events(database: Database, job_id: str, after: int, limit: int | None) -> list[Event]:
    """Give a job's events with a number above `after`, in order, at most `limit`, as stored."""
    rows = database.read(
        "SELECT seq, type, at_s, step_id, data FROM events "
        f"WHERE job_id = ? AND seq > ? ORDER BY seq{'' if limit is None else ' LIMIT ?'}",
        (job_id, after) if limit is None else (job_id, after, limit),
    )
    return [
        Event(job_id, seq, kind, at_s, step_id, json.loads(data))
        for seq, kind, at_s, step_id, data in rows
    ]


def whole(database: Database, codec: Codec, event: Event) -> Event:
    """Put the program and the plan back into a first event."""
    data = {
        name: read_document(database, codec, value["ref"])
        if name in INTERNED and is_reference(value)
        else value
        for name, value in event.data.items()
    }
    return replace(event, data=data)


def read_document(database: Database, codec: Codec, hash_: str) -> Any:
    """Give a program or plan by its hash; StoreError if it is not there."""
    found = codec.recall(hash_)
    if found is not None:
        return found
    rows = database.read("SELECT document FROM programs WHERE hash = ?", (hash_,))
    if not rows:
        raise StoreError(
            "The program of a job is missing from the store",
            where=hash_,
            next_step="The store was changed by hand; restore it from a copy.",
        )
    return codec.remember(hash_, rows[0][0])


def _row(row: Row) -> JobRow:
    values = list(row)
    values[7], values[25] = bool(values[7]), json.loads(values[25])
    return JobRow(*values)


def _ambiguous(part: str) -> StoreError:
    return StoreError(
        f"Several jobs have an id that begins or ends with {part!r}",
        next_step="Give more of the id: `gangline jobs list` shows them whole.",
    )
