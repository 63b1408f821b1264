"""Webhook messages to send: written with the event they tell of, kept until they arrived."""

from __future__ import annotations

import json

from .database import Database
from .records import Delivery

HIDDEN_S = 60.0
"""A message handed out is handed out again after this long, if nothing was heard of it."""

_DUE = "FROM deliveries WHERE dropped = 0 AND next_at_s <= ?"


def any_due(database: Database, now: float) -> bool:
    """Say whether `take_due` would give something; only reads."""
    return bool(database.read(f"SELECT 1 {_DUE} LIMIT 1", (now,)))


def take_due(database: Database, now: float, limit: int) -> list[Delivery]:
    """Hand out messages that are due, and hide them from others for a while."""
    rows = database.rows(
        f"SELECT id, job_id, tenant, event, webhook, at_s, attempts, error, next_at_s {_DUE} "
        "ORDER BY next_at_s, id LIMIT ?",
        (now, limit),
    )
    taken = []
    for id_, job_id, tenant, event, webhook, at_s, attempts, error, next_at_s in rows:
        hidden = database.run(
            "UPDATE deliveries SET next_at_s = ? WHERE id = ? AND next_at_s = ?",
            (now + HIDDEN_S, id_, next_at_s),
        )
        if hidden:
            told = json.loads(webhook)
            taken.append(Delivery(id_, job_id, tenant, event, told, at_s, attempts, error))
    return taken


def delivered(database: Database, id_: str) -> None:
    """Forget a message that arrived."""
    database.run("DELETE FROM deliveries WHERE id = ?", (id_,))


def postpone(database: Database, id_: str, attempts: int, next_at_s: float, error: str) -> None:
    """Note a failed attempt, and when to try again."""
    database.run(
        "UPDATE deliveries SET attempts = ?, next_at_s = ?, error = ? WHERE id = ?",
        (attempts, next_at_s, error, id_),
    )


def dropped(database: Database, id_: str) -> None:
    """Give a message up; it stays beside its job to be seen."""
    database.run("UPDATE deliveries SET dropped = 1 WHERE id = ?", (id_,))
