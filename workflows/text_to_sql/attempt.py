"""One query checked and run, and the choice between it and its repair."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from . import prompts
from .check import check
from .sandbox import Outcome, Sandbox
from .schema import Schema


class Attempt(BaseModel):
    """A query and what came of it.

    `problem` is what a repair should look at: the error, or that there were no rows. `settled`
    says that no further repair is worth a try; `trips` counts repairs, `attempts` queries.
    """

    sql: str
    ok: bool
    error: str = ""
    problem: str = ""
    columns: list[str] = []
    rows: list[list[Any]] = []
    truncated: bool = False
    settled: bool = False
    attempts: int = 1
    trips: int = 0


class Answer(BaseModel):
    """What text_to_sql gives: the query, its result, and the error when none could be run."""

    sql: str
    columns: list[str]
    rows: list[list[Any]]
    truncated: bool
    attempts: int
    error: str


def try_query(sql: str, db: str, schema: Schema, sandbox: Sandbox) -> Attempt:
    """Check and run one query; whatever is wrong with it is in the result."""
    checked = check(sql, schema)
    if not checked.ok:
        return Attempt(sql=checked.sql, ok=False, error=checked.error, problem=checked.error)
    return _attempt(checked.sql, sandbox.run(db, checked.sql))


def follow(earlier: Attempt, later: Attempt) -> Attempt:
    """Choose between a query and its repair; settled when the repair brought nothing new."""
    stuck = later.sql == earlier.sql
    empty_again = later.ok and earlier.ok and not later.rows
    chosen = earlier if stuck or empty_again or (earlier.ok and not later.ok) else later
    changed = {
        "attempts": earlier.attempts + 1,
        "trips": earlier.trips + 1,
        # A query that ran and gave no rows is retried once; one that failed may go on.
        "settled": chosen.settled or stuck or earlier.ok,
    }
    return chosen.model_copy(update=changed)


def _attempt(sql: str, outcome: Outcome) -> Attempt:
    if not outcome.ok:
        return Attempt(sql=sql, ok=False, error=outcome.error, problem=outcome.error)
    return Attempt(
        sql=sql,
        ok=True,
        problem="" if outcome.rows else prompts.NO_ROWS,
        columns=list(outcome.columns),
        rows=[list(row) for row in outcome.rows],
        truncated=outcome.truncated,
        settled=bool(outcome.rows),
    )
