"""Keeping and forgetting: prune old jobs, export jobs as JSON lines, import them elsewhere.

An export is a line of JSON each for: the header, a program or plan (before the first job that
needs it), a job, up to 1,000 of its events at a time, and the end with the number of jobs, so that
a file cut short is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from gangline.ir.errors import ConfigError, ConflictError
from gangline.ir.specs.event import FINAL_STATUSES, Event

from . import leases
from .codec import INTERNED, is_reference
from .database import Database
from .job_row import JobRow

if TYPE_CHECKING:
    from .store import Store

FORMAT, VERSION = "gangline.jobs", 1
PAGE = 100
EVENTS_PER_LINE = 1000
PRUNED_AT_ONCE = 200
"""Jobs in one transaction; others wait to write meanwhile."""

_DEPENDENT = tuple(
    (table, "job_id") for table in ("events", "controls", "deliveries", "memory_writes")
)


@dataclass(frozen=True, slots=True)
class ExportFilter:
    """Which jobs to export. Times are seconds since the epoch; None does not narrow."""

    statuses: Collection[str] | None = None
    tenant: str | None = None
    before_s: float | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """How many jobs came in, and how many were left out: there already, or not ended."""

    jobs: int = 0
    present: int = 0
    unfinished: int = 0


def prune(database: Database, before_s: float, statuses: Collection[str], limit: int) -> int:
    """Forget up to `limit` jobs that nobody holds and nothing happened to since `before_s`.

    One whose webhook message is still on its way stays until it arrived or was given up.
    """
    condition, held = leases.free(database)
    rows = database.rows(
        f"SELECT id FROM jobs WHERE status IN ({', '.join('?' * len(statuses))}) "
        f"AND created_s < ? AND updated_s < ? AND {condition} AND NOT EXISTS (SELECT 1 "
        "FROM deliveries WHERE job_id = jobs.id AND dropped = 0) ORDER BY created_s, id LIMIT ?",
        (*statuses, before_s, before_s, *held, limit),
    )
    ids = [row[0] for row in rows]
    if ids:
        some = f"({', '.join('?' * len(ids))})"
        for table, column in _DEPENDENT:
            database.run(f"DELETE FROM {table} WHERE {column} IN {some}", ids)
        database.run(f"DELETE FROM jobs WHERE id IN {some}", ids)
    return len(ids)


def drop_unused(database: Database) -> int:
    """Forget programs and plans that no job refers to; gives how many."""
    for statement in database.excluding:
        database.rows(statement.sql)
    return database.run(
        "DELETE FROM programs WHERE "
        "NOT EXISTS (SELECT 1 FROM jobs WHERE program_ref <> '' AND program_ref = hash) AND "
        "NOT EXISTS (SELECT 1 FROM jobs WHERE plan_ref <> '' AND plan_ref = hash)"
    )


def export(store: Store, chosen: ExportFilter) -> Iterator[str]:
    """Give the lines of an export, oldest page of jobs last; memory stays bounded."""
    yield _line(kind=FORMAT, version=VERSION)
    seen: set[str] = set()
    num_jobs, after = 0, ""
    while True:
        page = store.jobs(PAGE, after, tenant=chosen.tenant, created_before=chosen.before_s)
        for row in page:
            if chosen.statuses is None or row.status in chosen.statuses:
                num_jobs += 1
                yield from _job_lines(store, row, seen)
        if len(page) < PAGE:
            break
        after = page[-1].id
    yield _line(kind="end", jobs=num_jobs)


def _job_lines(store: Store, row: JobRow, seen: set[str]) -> Iterator[str]:
    kept = asdict(row)
    for name in ("owner", "epoch", "control"):  # of this store, not of the job
        del kept[name]
    yield _line(kind="job", job=kept)
    last_seq = 0
    while events := store.raw_events(row.id, last_seq, EVENTS_PER_LINE):
        for document in _referred(events[0]):
            if document not in seen:
                seen.add(document)
                yield _line(kind="document", ref=document, document=store.document(document))
        yield _line(
            kind="events",
            job_id=row.id,
            events=[[e.seq, e.type, e.at_s, e.step_id, e.data] for e in events],
        )
        last_seq = events[-1].seq


def _referred(event: Event) -> list[str]:
    if event.type != "job.queued":
        return []
    documents = [event.data.get(name) for name in INTERNED]
    return [document["ref"] for document in documents if is_reference(document)]


def import_lines(
    store: Store, lines: Iterable[str], owner: str, *, unfinished: bool = False
) -> Imported:
    """Add the jobs of an export that are not there yet.

    Args:
        owner: who holds a job while its events come in.
        unfinished: also jobs that have not ended; servers on this store go on with them.

    Raises:
        ConfigError: this is no export, is of a newer version, or was cut short.
    """
    reader = _Importer(store, owner, unfinished)
    for number, line in enumerate(lines, 1):
        try:
            reader.take(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(f"line {number}", str(error)) from None
    return reader.end()


class _Importer:
    def __init__(self, store: Store, owner: str, unfinished: bool) -> None:
        self._store = store
        self._owner = owner
        self._unfinished = unfinished
        self._documents: dict[str, Any] = {}
        self._row: dict[str, Any] | None = None
        self._epoch = 0
        self._state = "begin"
        self._imported = Imported()

    def take(self, line: dict[str, Any]) -> None:
        """Take one line in."""
        kind = line["kind"]
        if self._state == "begin":
            if kind != FORMAT or line["version"] > VERSION:
                raise ValueError("it does not begin like an export of this version")
            self._state = "jobs"
            return
        match kind:
            case "document":
                self._documents[line["ref"]] = line["document"]
            case "job":
                self._finish_job()
                self._begin_job(line["job"])
            case "events":
                self._add([Event(line["job_id"], *event) for event in line["events"]])
            case "end":
                self._finish_job()
                self._state = "end"

    def end(self) -> Imported:
        """Give what came in; ConfigError if the end is missing."""
        if self._state != "end":
            raise _damaged("the end", "lines are missing")
        return self._imported

    def _begin_job(self, row: dict[str, Any]) -> None:
        self._epoch = 0
        if row["status"] not in FINAL_STATUSES and not self._unfinished:
            self._count("unfinished")
        else:
            self._row = row

    def _add(self, events: list[Event]) -> None:
        row = self._row
        if row is None:
            return
        if events[0].type != "job.queued":
            self._store.append(events[0].job_id, events, self._epoch).result()
            return
        try:
            created = self._store.create(
                self._whole(events[0]),
                row["workflow"],
                self._owner,
                tenant=row["tenant"],
                priority=row["priority"],
                forked_from=row["forked_from"],
                more=events[1:],
            ).result()
        except ConflictError:
            self._row = None
            self._count("present")
            return
        self._epoch = created.epoch
        self._count("jobs")

    def _whole(self, queued: Event) -> Event:
        data = {
            name: self._documents[value["ref"]]
            if name in INTERNED and is_reference(value)
            else value
            for name, value in queued.data.items()
        }
        return replace(queued, data=data)

    def _finish_job(self) -> None:
        if self._row is not None and self._epoch:
            self._store.release(self._row["id"], self._epoch).result()
        self._row = None

    def _count(self, name: str) -> None:
        self._imported = replace(self._imported, **{name: getattr(self._imported, name) + 1})


def _line(**fields: Any) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")) + "\n"


def _damaged(where: str, problem: str) -> ConfigError:
    return ConfigError(
        f"This is no whole export of jobs: {problem}",
        where=where,
        next_step="Make it again with `gangline jobs export`.",
    )
