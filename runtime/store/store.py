"""The job store: append-only events, a row per job, and leases that fence out old owners.

Writes are queued for one writer thread and answered by tickets (`Ticket`), done when what they
ask for is on disk. Reads see what is on disk and never wait for the writer.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from gangline.ir.errors import GanglineError, StoreError
from gangline.ir.specs.event import FINAL_STATUSES, Event, StepRecord
from gangline.runtime.dispatch.step_fold import fold_steps

from . import archive, keys, leases, listing, outbox, usage
from .archive import ExportFilter, Imported
from .codec import Codec, encode, encode_all
from .database import Database
from .job_row import JobRow, RowChange
from .key_changes import KeyChanges
from .memory import Memory
from .opening import open_database
from .operations import Append, Create, Release, Task, create_of
from .owner import owner_name
from .records import Claimed, Control, Created, Delivery, KeyRow, NewJob, Usage
from .sqlite import SqliteDatabase
from .ticket import Call, Ticket
from .writer import Writer

T = TypeVar("T")

TIDY_S = 600.0
LEASE_S = 30.0
"""How long an owner's lease lasts that was given no other time."""


def open_store(url: str | Path | None = None) -> Store:
    """Open a store.

    Args:
        url: a path or `sqlite:///path`, `postgresql://...`, or None for the user's own file.

    Raises:
        StoreError: it cannot be opened, or was written by a newer gangline.
    """
    return Store(url)


class Store:
    """Jobs and their events in one database.

    Attributes:
        deliver: is given the callbacks of one commit's tickets, on the writer's thread, and
            calls them there; an executor sets it to something that calls them on its loop.
        memory: what workflows remember.
    """

    def __init__(self, url: str | Path | None = None) -> None:
        self.database: Database = open_database(url)
        self.deliver: Callable[[Sequence[Call]], object] = _call_all
        self.memory = Memory(self.database, self._do)
        self._codec = Codec()
        self._key_changes = KeyChanges(self.database)
        self._leased: set[str] = set()
        self._tidied_s = -math.inf
        self._writer = Writer(self.database, lambda calls: self.deliver(calls))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued and close the database; a second call does nothing."""
        self._writer.close()
        self.database.close()

    @property
    def where(self) -> str:
        """Say which file or URL this is; no password in it."""
        return self.database.where

    @property
    def path(self) -> Path:
        """Give the file; StoreError where there is none."""
        if not isinstance(self.database, SqliteDatabase):
            raise StoreError("The job store is not a file", where=self.where)
        return self.database.path

    @property
    def is_local(self) -> bool:
        """Say whether the database is a file of this machine: small reads take microseconds."""
        return isinstance(self.database, SqliteDatabase)

    @property
    def commits(self) -> int:
        """Count the transactions that were committed, each with one sync of the disk."""
        return self._writer.commits

    @property
    def queue_depth(self) -> int:
        """Count the operations that wait for the writer."""
        return self._writer.depth

    def healthy(self) -> bool:
        """Say whether the last transaction went well (none yet is well)."""
        return self._writer.alive and self._writer.failing is None

    # Jobs and events.

    def create(
        self,
        queued: Event,
        workflow: str,
        owner: str = "",
        ttl_s: float = LEASE_S,
        *,
        tenant: str | None = None,
        priority: int | None = None,
        idempotency: tuple[str, str] | None = None,
        forked_from: str | None = None,
        webhook: Mapping[str, Any] | None = None,
        more: Sequence[Event] = (),
    ) -> Ticket[Created]:
        """Add a job with its first event; see `NewJob`.

        Refusals, in the ticket: IdempotencyError for a key that was used with another body,
        ConflictError for an id that is in use.
        """
        new = NewJob(
            queued, workflow, owner, tenant, priority, idempotency, forked_from, webhook, more
        )
        create = create_of(new, self._codec)
        self._ensure(owner, ttl_s)
        self._writer.put(create)
        return create.ticket

    def create_many(self, jobs: Sequence[NewJob]) -> Ticket[list[Created | GanglineError]]:
        """Add jobs; each is answered for itself, all are on disk when the ticket is done."""
        creates = [create_of(new, self._codec) for new in jobs]
        if not creates:
            return Ticket.of([])
        for owner in {new.owner for new in jobs}:
            self._ensure(owner, LEASE_S)
        answer: Ticket[list[Created | GanglineError]] = Ticket()
        # The writer answers in order: with the last one all are answered.
        creates[-1].then = lambda: answer.settle([_answer(create) for create in creates], None)
        self._writer.put(*creates)
        return answer

    def append(
        self, job_id: str, events: Sequence[Event], epoch: int, here: bool = False
    ) -> Ticket[None]:
        """Add events in order; LeaseLost (in the ticket) if `epoch` is not the current one.

        The event that stops a job also ends its lease: it need not be released. With `here` the
        calling thread writes them itself if it need not wait for others; the ticket is done then.
        """
        change = RowChange()
        for event in events:
            change.add(event)
        append = Append(job_id, epoch, encode_all(events), change)
        put = self._writer.put_here if here else self._writer.put
        put(append)
        return append.ticket

    def flush(self) -> None:
        """Wait until everything appended so far is on disk."""
        self._do(lambda _: None).result()

    def job(self, job_id: str) -> JobRow:
        """Find a job's row; StoreError if there is none."""
        return listing.read_job(self.database, job_id)

    def find(self, job_id: str) -> JobRow | None:
        """Find a job's row; None if there is none."""
        return listing.find_job(self.database, job_id)

    def earlier(self, tenant: str, key: str) -> tuple[str, str] | None:
        """Give the job and the body's hash of an earlier create with an idempotency key."""
        return listing.find_call(self.database, tenant, key)

    def resolve(self, part: str) -> str:
        """Find the one job whose id begins or ends with `part`; StoreError if none or several."""
        return listing.resolve(self.database, part)

    def jobs(
        self,
        limit: int = 50,
        after: str = "",
        status: str | None = None,
        *,
        tenant: str | None = None,
        workflow: str | None = None,
        created_after: float | None = None,
        created_before: float | None = None,
        id_prefix: str | None = None,
    ) -> list[JobRow]:
        """List jobs, newest first; `after` is the last id of the page before."""
        chosen = (status, tenant, workflow, created_after, created_before, id_prefix)
        return listing.read_jobs(self.database, limit, after, *chosen)

    def counts(self, tenant: str | None = None) -> dict[str, int]:
        """Count jobs by status."""
        return listing.count_jobs(self.database, tenant)

    def num_queued(self) -> int:
        """Count the jobs that wait; it costs what there are of them, however many have ended."""
        return listing.count_queued(self.database)

    def events(self, job_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """Give a job's events with a number above `after`, in order, at most `limit`.

        Programs and plans in them are shared between calls: do not change them.
        """
        events = self.raw_events(job_id, after, limit)
        if events and events[0].type == "job.queued":
            events[0] = listing.whole(self.database, self._codec, events[0])
        return events

    def raw_events(self, job_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        """Give events as they are stored: programs and plans are `{"ref": hash}`."""
        return listing.read_events(self.database, job_id, after, limit)

    def document(self, hash_: str) -> Any:
        """Give a program's or plan's JSON by its hash; shared, do not change it."""
        return listing.read_document(self.database, self._codec, hash_)

    def steps(self, job_id: str) -> list[StepRecord]:
        """Give a job's step records."""
        return fold_steps(self.events(job_id))

    # Owners and leases.

    def register(self, owner: str, ttl_s: float = LEASE_S) -> Ticket[None]:
        """Give an owner a lease of `ttl_s` seconds; all jobs it holds are held as long."""
        self._leased.add(owner)
        self._do(self._tidy)
        return self._do(lambda database: leases.extend(database, owner, ttl_s))

    def heartbeat(self, owner: str, ttl_s: float = LEASE_S) -> Ticket[None]:
        """Extend an owner's lease; LeaseLost (in the ticket) if it ran out before."""
        if time.monotonic() > self._tidied_s + TIDY_S:
            self._do(self._tidy)
        return self._do(lambda database: leases.heartbeat(database, owner, ttl_s))

    def unregister(self, owner: str) -> Ticket[None]:
        """End an owner's lease: what it holds is free at once."""
        self._leased.discard(owner)
        return self._do(lambda database: leases.unregister(database, owner))

    def owned(self, owner: str) -> dict[str, int]:
        """Give the jobs an owner holds, with their epochs."""
        rows = self.database.read(
            "SELECT id, epoch FROM jobs WHERE owner = ? AND owner <> ''", (owner,)
        )
        return {job_id: int(epoch) for job_id, epoch in rows}

    def acquire(self, job_id: str, owner: str, ttl_s: float = LEASE_S) -> int:
        """Take a job and wait for it; gives the epoch. See `take`."""
        return self.take(job_id, owner, ttl_s).result()

    def take(self, job_id: str, owner: str, ttl_s: float = LEASE_S) -> Ticket[int]:
        """Take a job, whatever its status; gives the epoch that appends must name.

        LeaseLost (in the ticket) while another live owner holds it. A process of this host
        that was killed holds nothing, whatever its lease says.
        """

        def take(database: Database) -> int:
            leases.ensure(database, owner, ttl_s)
            return leases.acquire(database, job_id, owner)

        return self._do(take)

    def release(self, job_id: str, epoch: int) -> Ticket[None]:
        """Give a job back, so that it can be continued at once."""
        release = Release(job_id, epoch)
        self._writer.put(release)
        return release.ticket

    def claim(self, owner: str, limit: int, *, per_tenant: int | None = None) -> list[Claimed]:
        """Take free jobs that are queued, running or asked something; waits for the disk.

        The most urgent and then the oldest first, at most `per_tenant` of each tenant. Two
        owners never get the same job.
        """

        def claim(database: Database) -> list[Claimed]:
            leases.ensure(database, owner, LEASE_S)
            return leases.claim(database, owner, limit, per_tenant)

        return self._do(claim).result()

    def claim_overdue(self, owner: str, now: float, limit: int = 256) -> list[Claimed]:
        """Take free jobs that are queued or wait for a person, and have expired by `now`.

        Waits for the disk if there are any.
        """
        if not leases.any_overdue(self.database, now):
            return []

        def claim(database: Database) -> list[Claimed]:
            leases.ensure(database, owner, LEASE_S)
            return leases.claim_overdue(database, owner, now, limit)

        return self._do(claim).result()

    def control(
        self, job_id: str, kind: str, data: Mapping[str, Any] | None = None
    ) -> Ticket[None]:
        """Leave a request (`cancel`, `resume`, ...) for whoever runs the job, or will."""
        text = encode(dict(data or {}), kind)
        return self._do(lambda database: leases.add_control(database, job_id, kind, text))

    def controls(self, owner: str) -> list[Control]:
        """Take the requests for an owner's jobs, each once; waits for the disk if there are any.

        A request is forgotten when its job records a change of status or is released; until
        then whoever takes the job over gets it again.
        """
        if not leases.any_control(self.database, owner):
            return []
        taken = self._do(lambda database: leases.take_controls(database, owner)).result()
        return [
            Control(job_id, epoch, kind, json.loads(data)) for job_id, epoch, kind, data in taken
        ]

    # Tenants, keys and webhooks.

    def usage(self, tenant: str, since_s: float) -> Usage:
        """Sum what a tenant used since a time: a midnight (UTC), or at most an hour ago."""
        return usage.read_usage(self.database, tenant, since_s)

    def spend(self, tenant: str, at_s: float, usd: float, tokens: int) -> Ticket[None]:
        """Add what a tenant used beside its jobs to what it used."""
        return self._do(lambda database: usage.spend(database, tenant, at_s, usd, tokens))

    def add_key(self, key: KeyRow) -> Ticket[None]:
        """Keep an API key's hash."""
        return self._key_changes.follow(self._do(lambda database: keys.add_key(database, key)))

    def keys(self, tenant: str | None = None) -> list[KeyRow]:
        """Give the API keys of a tenant, or all."""
        return keys.list_keys(self.database, tenant)

    def key_changes(self) -> tuple[int, int]:
        """Give something that differs after every change of the keys.

        A change made by another process shows a moment later (`key_changes.LOOK_S`).
        """
        return self._key_changes.look()

    def find_key(self, hash_: str) -> KeyRow | None:
        """Find an API key by its hash, revoked or not."""
        return keys.find_key(self.database, hash_)

    def revoke_key(self, id_: str, now: float) -> Ticket[bool]:
        """Revoke an API key; gives whether there was one that was valid."""
        return self._key_changes.follow(
            self._do(lambda database: keys.revoke_key(database, id_, now))
        )

    def deliveries(self, now: float, limit: int = 32) -> list[Delivery]:
        """Take webhook messages that are due; each is hidden from others for a minute."""
        if not outbox.any_due(self.database, now):
            return []
        return self._do(lambda database: outbox.take_due(database, now, limit)).result()

    def delivered(self, id_: str) -> Ticket[None]:
        """Forget a webhook message that arrived."""
        return self._do(lambda database: outbox.delivered(database, id_))

    def postpone(self, id_: str, attempts: int, next_at_s: float, error: str) -> Ticket[None]:
        """Note that a webhook message did not arrive, and when to try again."""
        return self._do(lambda database: outbox.postpone(database, id_, attempts, next_at_s, error))

    def dropped(self, id_: str) -> Ticket[None]:
        """Give a webhook message up."""
        return self._do(lambda database: outbox.dropped(database, id_))

    # Keeping and forgetting.

    def prune(
        self,
        before_s: float,
        statuses: Collection[str] = FINAL_STATUSES,
        limit: int | None = None,
    ) -> int:
        """Forget jobs to which nothing happened since `before_s`; gives how many.

        Programs that no other job needs go with them. Waits for the disk, in small
        transactions. Jobs that somebody holds stay, whatever their status.
        """
        wanted = sorted(statuses)
        num_pruned = 0
        while limit is None or num_pruned < limit:
            size = archive.PRUNED_AT_ONCE if limit is None else limit - num_pruned
            size = min(size, archive.PRUNED_AT_ONCE)
            some = self._do(partial(_prune, before_s, wanted, size)).result()
            num_pruned += some
            if some < size:
                break
        if num_pruned:
            self._do(archive.drop_unused).result()
        return num_pruned

    def export(self, chosen: ExportFilter | None = None) -> Iterator[str]:
        """Give jobs as lines of JSON, the newest first; see `archive`."""
        return archive.export(self, chosen or ExportFilter())

    def import_(self, lines: Iterable[str], *, unfinished: bool = False) -> Imported:
        """Add the jobs of an export that are not there yet; waits for the disk.

        Jobs that have not ended come with `unfinished` only: servers would go on with them.
        """
        owner = owner_name()
        try:
            return archive.import_lines(self, lines, owner, unfinished=unfinished)
        finally:
            self.unregister(owner)

    def _tidy(self, database: Database) -> None:
        """Drop rows that nobody will look at again."""
        self._tidied_s = time.monotonic()
        leases.forget_dead(database)
        usage.forget_old(database, time.time())

    def _ensure(self, owner: str, ttl_s: float) -> None:
        """Register an owner that holds jobs but did not say so."""
        if owner and owner not in self._leased:
            self.register(owner, ttl_s)

    def _do(self, run: Callable[[Database], T]) -> Ticket[T]:
        task = Task(run)
        self._writer.put(task)
        return task.ticket


def _prune(before_s: float, statuses: list[str], limit: int, database: Database) -> int:
    return archive.prune(database, before_s, statuses, limit)


def _call_all(calls: Sequence[Call]) -> None:
    for call in calls:
        call()


def _answer(create: Create) -> Created | GanglineError:
    error = create.ticket.exception()
    if error is None:
        return create.ticket.result()
    return error if isinstance(error, GanglineError) else StoreError(f"It failed: {error}")
