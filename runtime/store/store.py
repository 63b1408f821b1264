"""The job store: append-only events, a row per job, and a lease that fences out old owners.

One writer thread owns the writing connection. It commits whatever queued while the commit
before was under way (group commit without a timer), so that many jobs share one fsync and a
single job waits for one. A future given by `append` is done when its events are on disk.
"""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

from gangline.ir.errors import GanglineError, LeaseLost, StoreError
from gangline.ir.specs.event import JOB_STATUSES, Event, StepRecord
from gangline.runtime.folders import data_dir
from gangline.runtime.owner import is_gone
from gangline.runtime.redact import redact
from gangline.runtime.step_fold import fold_steps

from .job_row import JobRow, RowChange
from .schema import connect

MAX_BATCH = 512
"""Most appends in one transaction; bounds how long a commit can take."""

_COLUMNS = "id, status, workflow, created_s, updated_s, seconds, usd, late, last_seq"

Operation = Callable[[sqlite3.Connection], Any]


def default_path() -> Path:
    """Give the store's file under gangline's data folder."""
    return data_dir() / "jobs.sqlite"


class Store:
    """Jobs and their events in one SQLite file."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        try:
            self._writer = connect(self.path)
            self._reader = _reader(self.path)
        except (sqlite3.Error, OSError) as error:
            raise _refused(error, self.path) from None
        self._read_lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Operation, Future[Any]] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._write, name="gangline-store", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what is queued and close the file; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._writer.close()
        self._reader.close()

    def create(self, queued: Event, workflow: str, owner: str, ttl_s: float) -> Future[int]:
        """Add a job with its first event, leased to `owner`; gives the lease's epoch, 1."""
        row = _encoded(queued)

        def operation(connection: sqlite3.Connection) -> int:
            connection.execute(
                "INSERT INTO jobs (id, status, workflow, created_s, updated_s, last_seq, owner, "
                "epoch, lease_until_s) VALUES (?, 'queued', ?, ?, ?, ?, ?, 1, ?)",
                (
                    queued.job_id,
                    workflow,
                    queued.at_s,
                    queued.at_s,
                    queued.seq,
                    owner,
                    queued.at_s + ttl_s,
                ),
            )
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
            return 1

        return self._submit(operation)

    def append(self, job_id: str, events: Sequence[Event], epoch: int) -> Future[None]:
        """Add events in order; LeaseLost (in the future) if `epoch` is not the current one."""
        rows = [_encoded(event) for event in events]
        change = RowChange()
        for event in events:
            change.add(event)

        def operation(connection: sqlite3.Connection) -> None:
            _fence(connection, job_id, epoch, events[0].seq)
            connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
            connection.execute(
                "UPDATE jobs SET status = coalesce(?, status), usd = usd + ?, updated_s = ?, "
                "seconds = coalesce(?, seconds), late = max(late, ?), last_seq = ? WHERE id = ?",
                (
                    change.status,
                    change.usd,
                    change.updated_s,
                    change.seconds,
                    change.late,
                    change.last_seq,
                    job_id,
                ),
            )

        return self._submit(operation)

    def acquire(self, job_id: str, owner: str, ttl_s: float, now: float) -> int:
        """Take the lease of a job; LeaseLost while another live owner holds it. Gives the epoch.

        A process of this host that was killed holds nothing, whatever its lease says.
        """

        def operation(connection: sqlite3.Connection) -> int:
            row = connection.execute(
                "SELECT owner, epoch, lease_until_s FROM jobs WHERE id = ?", (job_id,)
            ).fetchone()
            if row is None:
                raise _unknown(job_id)
            holder, epoch, until_s = row
            if holder not in ("", owner) and until_s > now and not is_gone(holder):
                raise _held(job_id, until_s - now)
            connection.execute(
                "UPDATE jobs SET owner = ?, epoch = ?, lease_until_s = ? WHERE id = ?",
                (owner, epoch + 1, now + ttl_s, job_id),
            )
            return int(epoch) + 1

        epoch: int = self._submit(operation).result()
        return epoch

    def renew(self, job_id: str, epoch: int, until_s: float) -> Future[None]:
        """Extend the lease; LeaseLost (in the future) if another owner took it."""

        def operation(connection: sqlite3.Connection) -> None:
            found = connection.execute(
                "UPDATE jobs SET lease_until_s = ? WHERE id = ? AND epoch = ?",
                (until_s, job_id, epoch),
            )
            if found.rowcount == 0:
                raise _lost(job_id)

        return self._submit(operation)

    def release(self, job_id: str, epoch: int) -> Future[None]:
        """Give the lease back, so that the job can be continued at once."""

        def operation(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE jobs SET owner = '', lease_until_s = 0 WHERE id = ? AND epoch = ?",
                (job_id, epoch),
            )

        return self._submit(operation)

    def flush(self) -> None:
        """Wait until everything appended so far is on disk."""
        self._submit(lambda _: None).result()

    def job(self, job_id: str) -> JobRow:
        """Find a job's row; StoreError if there is none."""
        rows = self._read(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job_id,))
        if not rows:
            raise _unknown(job_id)
        return _row(rows[0])

    def resolve(self, part: str) -> str:
        """Find the one job whose id begins or ends with `part`; StoreError if none or several."""
        rows = self._read(
            "SELECT id FROM jobs WHERE ? <> '' AND (substr(id, 1, length(?)) = ? "
            "OR substr(id, -length(?)) = ?) LIMIT 2",
            (part, part, part, part, part),
        )
        if len(rows) != 1:
            raise _ambiguous(part) if rows else _unknown(part)
        return str(rows[0][0])

    def jobs(self, limit: int = 50, after: str = "", status: str | None = None) -> list[JobRow]:
        """List jobs, newest first; `after` is the last id of the page before."""
        if status is not None and status not in JOB_STATUSES:
            raise StoreError(
                f"No job status is called {status!r}",
                next_step=f"Use one of: {', '.join(JOB_STATUSES)}.",
            )
        where = "WHERE (? = '' OR id < ?) AND (? IS NULL OR status = ?)"
        rows = self._read(
            f"SELECT {_COLUMNS} FROM jobs {where} ORDER BY id DESC LIMIT ?",
            (after, after, status, status, limit),
        )
        return [_row(row) for row in rows]

    def events(self, job_id: str, after: int = 0) -> list[Event]:
        """Give a job's events with a number above `after`, in order."""
        rows = self._read(
            "SELECT seq, type, at_s, step_id, data FROM events "
            "WHERE job_id = ? AND seq > ? ORDER BY seq",
            (job_id, after),
        )
        return [_event(job_id, row) for row in rows]

    def steps(self, job_id: str) -> list[StepRecord]:
        """Give a job's step records."""
        return fold_steps(self.events(job_id))

    def _read(self, sql: str, values: Sequence[Any]) -> list[Any]:
        try:
            with self._read_lock:
                return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise _refused(error, self.path) from None

    def _submit(self, operation: Operation) -> Future[Any]:
        if self._closed:
            raise StoreError("The job store is closed", next_step="Open it again.")
        future: Future[Any] = Future()
        self._queue.put((operation, future))
        return future

    def _write(self) -> None:
        # Invariant: an operation's future is done only after the transaction holding it ended.
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            while not last and len(batch) < MAX_BATCH:
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
                if item is None:
                    last = True
                else:
                    batch.append(item)
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: list[tuple[Operation, Future[Any]]]) -> None:
        outcomes: list[tuple[Future[Any], Any, BaseException | None]] = []
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            for operation, future in batch:
                outcomes.append((future, *self._attempt(operation)))
            self._writer.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            refusal = _refused(error, self.path)
            outcomes = [(future, None, refusal) for _, future in batch]
        for future, result, problem in outcomes:
            _settle(future, result, problem)

    def _attempt(self, operation: Operation) -> tuple[Any, BaseException | None]:
        """Run one operation; a refusal of its own undoes only itself."""
        self._writer.execute("SAVEPOINT one")
        try:
            return operation(self._writer), None
        except (GanglineError, sqlite3.IntegrityError) as problem:
            self._writer.execute("ROLLBACK TO one")
            known = isinstance(problem, GanglineError)
            return None, problem if known else _refused(problem, self.path)
        finally:
            if self._writer.in_transaction:
                self._writer.execute("RELEASE one")


def _reader(path: Path) -> sqlite3.Connection:
    reader = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    reader.execute("PRAGMA query_only=ON")
    return reader


def _settle(future: Future[Any], result: Any, problem: BaseException | None) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if problem is None:
        future.set_result(result)
    else:
        future.set_exception(problem)


def _encoded(event: Event) -> tuple[str, int, str, str, float, str]:
    try:
        data = json.dumps(event.data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        data.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreError(
            f"What a step returned cannot be stored as JSON: {error}",
            where=event.step_id or event.type,
            next_step="Return plain JSON values (no NaN, no deep nesting, no lone surrogates).",
        ) from None
    return (event.job_id, event.seq, event.type, event.step_id, event.at_s, redact(data))


def _fence(connection: sqlite3.Connection, job_id: str, epoch: int, seq: int) -> None:
    row = connection.execute("SELECT epoch, last_seq FROM jobs WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise _unknown(job_id)
    if row[0] != epoch:
        raise _lost(job_id)
    if row[1] + 1 != seq:
        raise StoreError(
            f"Event {seq} of job {job_id} does not follow event {row[1]}",
            next_step="Continue the job from what is stored: gangline jobs retry.",
        )


def _row(row: Sequence[Any]) -> JobRow:
    return JobRow(
        id=row[0],
        status=row[1],
        workflow=row[2],
        created_s=row[3],
        updated_s=row[4],
        seconds=row[5],
        usd=row[6],
        late=bool(row[7]),
        last_seq=row[8],
    )


def _event(job_id: str, row: Sequence[Any]) -> Event:
    seq, kind, at_s, step_id, data = row
    return Event(job_id, seq, kind, at_s, step_id, json.loads(data))


def _unknown(job_id: str) -> StoreError:
    return StoreError(
        f"No job has the id {job_id!r}", next_step="See `gangline jobs list` for the jobs stored."
    )


def _ambiguous(part: str) -> StoreError:
    return StoreError(
        f"Several jobs have an id that begins or ends with {part!r}",
        next_step="Give more of the id: `gangline jobs list` shows them whole.",
    )


def _held(job_id: str, left_s: float) -> LeaseLost:
    return LeaseLost(
        f"Job {job_id} is being run by another process",
        next_step=f"Stop that process, or wait {left_s:.0f} s for its lease to end.",
    )


def _lost(job_id: str) -> LeaseLost:
    return LeaseLost(
        f"Another owner has taken over job {job_id}",
        next_step="Nothing is lost: see `gangline jobs show` for where it stands.",
    )


def _refused(error: Exception, path: Path) -> StoreError:
    return StoreError(
        f"The job store cannot be used: {error}",
        where=str(path),
        next_step="Check free space and permissions, or set GANGLINE_HOME to another folder.",
    )
