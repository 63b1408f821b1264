"""One transaction's work: the fast way for all operations together, the careful way one by one.

The fast way puts the changes of a job into one row and many rows into one statement, and takes
for granted what is nearly always so: leases hold, numbers follow, ids are new. Where a count of
changed rows says otherwise, the transaction is undone and the careful way finds out for whom.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from gangline.ir.errors import GanglineError, IdempotencyError

from . import statements as sql
from .codec import EventRow
from .database import Database, Statement, Unexpected
from .job_row import RowChange, changed
from .operations import (
    JOB_COLUMNS,
    Append,
    Create,
    Operation,
    Release,
    Task,
    exists,
    gap,
    lost,
    unknown,
)
from .records import Created
from .usage import Spending, UsageRow

Outcome = tuple[Operation, Any, BaseException | None]


def run_together(
    database: Database, batch: Sequence[Operation], spending: Spending
) -> list[Outcome]:
    """Run operations in order in the open transaction; Unexpected if one might be refused."""
    if len(batch) == 1:
        first = batch[0]
        if isinstance(first, Append) and first.change.is_steps_only:
            spent = spending.take([first], database.writer, time.monotonic())
            database.run_all(_steps_of_one(first, spent))
            return [(first, None, None)]
    outcomes: list[Outcome] = []
    known, pending = _known_keys(database, batch), Pending(spending)
    for operation in batch:
        if isinstance(operation, Task):
            pending.write(database, outcomes)
            pending = Pending(spending)
            outcomes.append(run_alone(database, operation))
        elif isinstance(operation, Create) and operation.key in known:
            outcomes.append(_answer(operation, *known[operation.key]))
        else:
            if isinstance(operation, Create) and operation.key is not None:
                known[operation.key] = operation.row[0], operation.values["body_hash"]
            pending.add(operation)
    pending.write(database, outcomes)
    return outcomes


def _steps_of_one(append: Append, spent: Sequence[UsageRow]) -> list[Statement]:
    """Give what stores steps of one job that is alone: its next step waits for just this."""
    job_id, change = append.job_id, append.change
    values = (
        change.last_seq,
        change.updated_s,
        change.usd,
        change.prompt_tokens,
        change.output_tokens,
        change.steps,
        job_id,
        append.epoch,
        change.first_seq - 1,
    )
    return [
        Statement(sql.UPDATE_STEPS_OF_ONE, values, 1),
        *sql.many(sql.INSERT_EVENTS, append.rows),
        *sql.many(sql.ADD_USAGE, spent),
    ]


def _known_keys(
    database: Database, batch: Sequence[Operation]
) -> dict[tuple[str, str] | None, tuple[str, str]]:
    """Find the jobs of earlier calls with the idempotency keys of this batch."""
    keys = [create.key for create in batch if isinstance(create, Create) and create.key]
    known: dict[tuple[str, str] | None, tuple[str, str]] = {}
    for statement in sql.many(sql.FIND_KEYS, sorted(set(keys))):
        for tenant, key, job_id, body_hash in database.rows(statement.sql, statement.values):
            known[tenant, key] = job_id, body_hash
    return known


def _answer(create: Create, job_id: str, body_hash: str) -> Outcome:
    try:
        return create, _same_call(create, job_id, body_hash), None
    except IdempotencyError as problem:
        return create, None, problem


def run_alone(database: Database, operation: Operation) -> Outcome:
    """Run one operation in the open transaction; a refusal of its own undoes only itself."""
    database.mark()
    try:
        value = _run(database, operation)
    except Exception as problem:
        known = isinstance(problem, GanglineError)
        if not known and isinstance(problem, database.errors):
            if not isinstance(problem, database.conflicts):
                raise
            problem, known = database.refusal(problem), True
        database.undo()
        database.forget()
        # A fault of ours is the answer to its operation; it must not end the writer.
        return operation, None, problem
    database.forget()
    return operation, value, None


def _run(database: Database, operation: Operation) -> Any:
    match operation:
        case Task():
            return operation.run(database)
        case Append():
            _fence(database, operation)
        case Release():
            pass
        case Create():
            earlier = _known_keys(database, [operation]).get(operation.key)
            if earlier is not None:
                return _same_call(operation, *earlier)
            taken = database.rows("SELECT 1 FROM jobs WHERE id = ?", (operation.row[0],))
            if taken:
                raise exists(operation.row[0])
    spending = Spending()
    pending = Pending(spending)
    pending.add(operation)
    outcomes: list[Outcome] = []
    try:
        pending.write(database, outcomes)
    except Unexpected:
        raise lost(_job_id(operation)) from None
    return outcomes[0][1]


def _job_id(operation: Operation) -> str:
    return "" if isinstance(operation, Task | Create) else operation.job_id


def _fence(database: Database, append: Append) -> None:
    rows = database.rows("SELECT epoch, last_seq FROM jobs WHERE id = ?", (append.job_id,))
    if not rows:
        raise unknown(append.job_id)
    epoch, last_seq = rows[0]
    if epoch != append.epoch:
        raise lost(append.job_id)
    if last_seq + 1 != append.change.first_seq:
        raise gap(append.job_id, append.change.first_seq, last_seq)


def _same_call(create: Create, job_id: str, body_hash: str) -> Created:
    assert create.new.idempotency is not None
    if create.new.idempotency[1] != body_hash:
        raise IdempotencyError(
            "The idempotency key was used with another body",
            where=create.new.idempotency[0],
            next_step="Send the same body again, or take a new key.",
        )
    return Created(job_id, 0, replayed=True)


class Pending:
    """Operations gathered until a task, or the end of the batch, needs them written."""

    def __init__(self, spending: Spending) -> None:
        self._spending = spending
        self._creates: dict[str, Create] = {}
        self._values: dict[str, dict[str, Any]] = {}
        self._changes: dict[str, tuple[int, RowChange]] = {}
        self._events: list[EventRow] = []
        self._releases: dict[str, int] = {}
        self._stops: list[tuple[str, str, str, float]] = []
        self._spent: list[Append] = []  # all of them; most spend something
        self._restatus: set[str] = set()
        self._operations: list[Operation] = []

    def add(self, operation: Append | Create | Release) -> None:
        """Take an operation in; Unexpected if it does not follow from those before."""
        self._operations.append(operation)
        match operation:
            case Append():
                self._append(operation)
            case Create():
                self._create(operation)
            case Release():
                self._releases[operation.job_id] = operation.epoch
                self._restatus.add(operation.job_id)

    def _create(self, create: Create) -> None:
        job_id = create.row[0]
        if job_id in self._creates:
            raise Unexpected
        self._creates[job_id] = create
        self._values[job_id] = dict(create.values)
        self._events.append(create.row)
        self._events.extend(create.more)

    def _append(self, append: Append) -> None:
        job_id, change = append.job_id, append.change
        values = self._values.get(job_id)
        if values is not None:
            if values["last_seq"] + 1 != change.first_seq or values["epoch"] != append.epoch:
                raise Unexpected
            changed(values, change)
        elif job_id in self._changes:
            epoch, before = self._changes[job_id]
            if before.last_seq + 1 != change.first_seq or epoch != append.epoch:
                raise Unexpected
            self._changes[job_id] = epoch, before.merged(change)
        else:
            self._changes[job_id] = append.epoch, change
        self._events.extend(append.rows)
        self._spent.append(append)
        if change.status is not None:
            self._restatus.add(job_id)
        for stop in change.stops or ():
            name = f"{job_id}:{stop.seq}"
            self._stops.append((job_id, name, stop.type, stop.at_s))

    def write(self, database: Database, outcomes: list[Outcome]) -> None:
        """Write all of it and note the outcomes; Unexpected if something was not so."""
        database.run_all(self._statements(database))
        for operation in self._operations:
            value = _created(operation) if isinstance(operation, Create) else None
            outcomes.append((operation, value, None))

    def _statements(self, database: Database) -> list[Statement]:
        documents: dict[str, str] = {}
        for create in self._creates.values():
            documents.update(create.documents)
        rows = ([values[name] for name in JOB_COLUMNS] for values in self._values.values())
        return [
            *(database.sharing if documents else ()),
            *sql.many(sql.KEEP_DOCUMENTS, sorted(documents.items())),
            *sql.many(sql.INSERT_JOBS, rows),
            *sql.many(sql.UPDATE_JOBS, self._change_rows(), counted=True),
            *sql.many(sql.UPDATE_STEPS, self._step_rows(), counted=True),
            *sql.many(sql.INSERT_EVENTS, self._events),
            *sql.many(sql.RELEASE_JOBS, self._releases.items()),
            *sql.many(
                sql.ADD_USAGE, self._spending.take(self._spent, database.writer, time.monotonic())
            ),
            *sql.many(sql.ADD_DELIVERIES, self._stops),
            *sql.many(sql.FORGET_CONTROLS, [(job_id,) for job_id in self._restatus]),
        ]

    def _change_rows(self) -> Iterable[tuple[Any, ...]]:
        # In the order of ids: two writers that lock rows in one order cannot lock each other out.
        for job_id in sorted(self._changes):
            epoch, change = self._changes[job_id]
            if change.is_steps_only:
                continue
            yield (
                job_id,
                epoch,
                change.first_seq - 1,
                change.last_seq,
                change.updated_s,
                change.status,
                change.ended_s,
                change.error_code,
                change.started_s,
                change.seconds,
                int(change.late),
                change.usd,
                change.prompt_tokens,
                change.output_tokens,
                change.steps,
                change.predicted_s,
                change.predicted_usd,
                1 if change.stops else 0,
                change.deadline_at_s,
                change.budget_usd,
            )

    def _step_rows(self) -> Iterable[tuple[Any, ...]]:
        for job_id in sorted(self._changes):
            epoch, change = self._changes[job_id]
            if change.is_steps_only:
                yield (
                    job_id,
                    epoch,
                    change.first_seq - 1,
                    change.last_seq,
                    change.updated_s,
                    change.usd,
                    change.prompt_tokens,
                    change.output_tokens,
                    change.steps,
                )


def _created(create: Create) -> Created:
    return Created(create.row[0], create.values["epoch"])
