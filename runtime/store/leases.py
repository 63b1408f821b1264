"""Leases: one per owner (a process), not one per job.

A job is free if it has no owner, if its owner's lease has run out, or if its owner's process is
known to be gone. Taking a job raises its epoch; every append names the epoch it was taken with,
so that an owner that lost a job cannot write to it, however late it wakes up.
"""

from __future__ import annotations

from typing import Any

from gangline.ir.errors import LeaseLost

from .database import MAX_LEASE_S, Database
from .operations import lost, unknown
from .owner import is_gone
from .records import Claimed

_LIVE = "FROM owners WHERE era = ? AND until_s > ? AND until_s <= ?"
_OPEN_JOBS = "(status IN ('queued', 'running') OR id IN (SELECT job_id FROM controls))"


def extend(database: Database, owner: str, ttl_s: float) -> None:
    """Let an owner's lease end `ttl_s` seconds from now, whatever it was."""
    now, era = database.clock()
    database.run(
        "INSERT INTO owners (name, until_s, era) VALUES (?, ?, ?) ON CONFLICT (name) "
        "DO UPDATE SET until_s = excluded.until_s, era = excluded.era",
        (owner, now + min(ttl_s, MAX_LEASE_S), era),
    )


def ensure(database: Database, owner: str, ttl_s: float) -> None:
    """Give an owner a lease if it has none that lasts."""
    if not is_held(database, owner):
        extend(database, owner, ttl_s)


def heartbeat(database: Database, owner: str, ttl_s: float) -> None:
    """Extend a lease that has not run out; LeaseLost if it has."""
    now, era = database.clock()
    found = database.run(
        "UPDATE owners SET until_s = ? WHERE name = ? AND era = ? AND until_s > ?",
        (now + min(ttl_s, MAX_LEASE_S), owner, era, now),
    )
    if not found:
        raise LeaseLost(
            "The lease of this process ran out",
            where=owner,
            next_step="Register again, and drop the jobs that `owned` does not name.",
        )


def unregister(database: Database, owner: str) -> None:
    """End an owner's lease now; its jobs are free at once."""
    database.run("DELETE FROM owners WHERE name = ?", (owner,))


def is_held(database: Database, owner: str) -> bool:
    """Say whether an owner's lease lasts and its process is not known to be gone."""
    now, era = database.clock()
    rows = database.rows(f"SELECT 1 {_LIVE} AND name = ?", (era, now, now + MAX_LEASE_S, owner))
    return bool(rows) and not is_gone(owner)


def free(database: Database) -> tuple[str, tuple[Any, ...]]:
    """Give the SQL condition that nobody holds a row of `jobs`, with its values."""
    now, era = database.clock()
    bounds = era, now, now + MAX_LEASE_S
    names = [name for (name,) in database.rows(f"SELECT name {_LIVE}", bounds)]
    gone = [name for name in names if is_gone(name)]
    # Leases and jobs are looked at in one statement: an owner that registered and took a job
    # since an earlier one would seem to have no lease.
    sql = f"NOT EXISTS (SELECT 1 {_LIVE} AND name = jobs.owner)"
    if gone:
        sql = f"({sql} OR owner IN ({', '.join('?' * len(gone))}))"
    return sql, (*bounds, *gone)


def forget_dead(database: Database) -> None:
    """Drop rows of owners that are long gone; their jobs are free with or without them."""
    now, era = database.clock()
    database.run(
        "DELETE FROM owners WHERE era <> ? OR until_s < ?",
        (era, now - MAX_LEASE_S),
    )


def acquire(database: Database, job_id: str, owner: str) -> int:
    """Take one job, whatever its status; LeaseLost while another live owner has it."""
    rows = database.rows("SELECT owner, epoch FROM jobs WHERE id = ?", (job_id,))
    if not rows:
        raise unknown(job_id)
    holder, epoch = rows[0]
    if holder not in ("", owner) and is_held(database, holder):
        raise LeaseLost(
            f"Job {job_id} is being run by another process",
            next_step="Stop that process, or wait for its lease to end.",
        )
    if not _take(database, job_id, owner, holder, epoch):
        raise lost(job_id)
    return int(epoch) + 1


def claim(database: Database, owner: str, limit: int, per_tenant: int | None) -> list[Claimed]:
    """Take free jobs that somebody should work on, most urgent and then oldest first."""
    condition, values = free(database)
    share = limit if per_tenant is None else min(per_tenant, limit)
    rows = database.rows(
        "SELECT id, epoch, tenant, priority, status, owner FROM ("
        "SELECT id, epoch, tenant, priority, status, owner, created_s, row_number() OVER "
        "(PARTITION BY tenant ORDER BY priority DESC, created_s, id) AS place "
        f"FROM jobs WHERE {_OPEN_JOBS} AND {condition}) AS free WHERE place <= ? "
        "ORDER BY priority DESC, created_s, id LIMIT ?",
        (*values, share, limit),
    )
    return [
        Claimed(job_id, epoch + 1, tenant, priority, status, holder != "")
        for job_id, epoch, tenant, priority, status, holder in rows
        if _take(database, job_id, owner, holder, epoch)
    ]


_OVERDUE = (
    "FROM jobs WHERE on_deadline = 'expire' AND status IN ('queued', 'input_required') "
    "AND deadline_at_s <= ?"
)


def any_overdue(database: Database, now: float) -> bool:
    """Say whether `claim_overdue` may give something; only reads."""
    return bool(database.read(f"SELECT 1 {_OVERDUE} LIMIT 1", (now,)))


def claim_overdue(database: Database, owner: str, now: float, limit: int) -> list[Claimed]:
    """Take jobs nobody holds that rest, and whose hard deadline has passed."""
    condition, values = free(database)
    rows = database.rows(
        f"SELECT id, epoch, tenant, priority, status, owner {_OVERDUE} AND {condition} "
        "ORDER BY deadline_at_s, id LIMIT ?",
        (now, *values, limit),
    )
    return [
        Claimed(job_id, epoch + 1, tenant, priority, status, holder != "")
        for job_id, epoch, tenant, priority, status, holder in rows
        if _take(database, job_id, owner, holder, epoch)
    ]


def _take(database: Database, job_id: str, owner: str, holder: str, epoch: int) -> bool:
    """Change the owner, if nobody did so in between."""
    return bool(
        database.run(
            "UPDATE jobs SET owner = ?, epoch = epoch + 1 WHERE id = ? AND epoch = ? AND owner = ?",
            (owner, job_id, epoch, holder),
        )
    )


def add_control(database: Database, job_id: str, kind: str, data: str) -> None:
    """Leave a request for whoever runs a job, or will."""
    if not database.rows("SELECT 1 FROM jobs WHERE id = ?", (job_id,)):
        raise unknown(job_id)
    database.run(
        "INSERT INTO controls (job_id, number, kind, data) VALUES (?, "
        "(SELECT coalesce(max(number), 0) + 1 FROM controls WHERE job_id = ?), ?, ?)",
        (job_id, job_id, kind, data),
    )


def take_controls(database: Database, owner: str) -> list[tuple[str, int, str, str]]:
    """Hand out the requests for an owner's jobs, each once in an epoch."""
    rows = database.rows(_WAITING, (owner,))
    for job_id, epoch, number, *_ in rows:
        database.run(
            "UPDATE controls SET epoch = ? WHERE job_id = ? AND number = ?",
            (epoch, job_id, number),
        )
    return [(job_id, epoch, kind, data) for job_id, epoch, _, kind, data in rows]


def any_control(database: Database, owner: str) -> bool:
    """Say whether `take_controls` would give something; only reads."""
    return bool(database.read(f"{_WAITING} LIMIT 1", (owner,)))


_WAITING = (
    "SELECT c.job_id, j.epoch, c.number, c.kind, c.data "
    "FROM controls AS c JOIN jobs AS j ON j.id = c.job_id "
    "WHERE j.owner = ? AND c.epoch < j.epoch ORDER BY c.job_id, c.number"
)
