"""The job store in one SQLite file: write-ahead log, every commit synced to disk."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gangline.ir.errors import StoreError

from .database import Row, Statement, Unexpected
from .schema import MIGRATIONS, REFOLD_FROM, pending

try:
    import fcntl
except ImportError:  # not on Windows: writers of several processes then poll
    fcntl = None  # type: ignore[assignment]

BUSY_S = 30.0
"""How long to wait for a writer that is not ours (the `sqlite3` shell, a backup)."""

MAX_LOG_BYTES = 64 << 20
MAX_TRIES = 4
MAX_READERS = 8
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SqliteDatabase:
    """See `Database`."""

    errors: tuple[type[BaseException], ...] = (sqlite3.Error, OSError)
    conflicts: tuple[type[BaseException], ...] = (
        sqlite3.IntegrityError,
        sqlite3.DataError,
        sqlite3.InterfaceError,
        UnicodeError,
        OverflowError,
    )

    writer = ""  # there is one writer at a time, and its rows are nobody's hurdle
    sharing: tuple[Statement, ...] = ()
    excluding: tuple[Statement, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)
        self._readers: list[sqlite3.Connection] = []
        self._readers_lock = threading.Lock()
        self._era = _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""
        self._gate: int | None = None
        try:
            self._open()
        except self.errors as error:
            self.close()
            raise self.refusal(error) from None
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        _private_folder(self.path.parent)
        self._writer = self._connect()
        self.path.chmod(0o600)
        gate = self.path.with_name(f"{self.path.name}.lock")
        self._gate = os.open(gate, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with self._alone():
            self._writer.execute("PRAGMA journal_mode=WAL")
        self._writer.execute("PRAGMA synchronous=FULL")
        # A log that grew while somebody read for long is cut back afterwards.
        self._writer.execute(f"PRAGMA journal_size_limit={MAX_LOG_BYTES}")
        self._migrate()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path,
            timeout=BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )

    def _migrate(self) -> None:
        self.begin()
        try:
            ((version,),) = self.rows("PRAGMA user_version")
            for statement in pending(version):
                self.run(statement)
            if 0 < version <= REFOLD_FROM:
                from .refold import refold_all

                refold_all(self)
            self.run(f"PRAGMA user_version = {len(MIGRATIONS)}")
            self.commit()
        except BaseException:
            self.rollback()
            raise

    def begin(self) -> None:
        # SQLite's own queue for the write lock is sleeping and trying again: with several busy
        # processes one may never get it. The kernel's lock wakes who waits, and ends with its
        # process, however that ends.
        self._lock()
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._unlock()
            raise

    def commit(self) -> None:
        self._writer.execute("COMMIT")
        self._unlock()

    def rollback(self) -> None:
        with suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
        self._unlock()

    def mark(self) -> None:
        self._writer.execute("SAVEPOINT one")

    def undo(self) -> None:
        self._writer.execute("ROLLBACK TO one")

    def forget(self) -> None:
        self._writer.execute("RELEASE one")

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._writer.execute(sql, values).rowcount

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._writer.execute(sql, values).fetchall()

    def run_all(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            changed = self._writer.execute(statement.sql, statement.values).rowcount
            if statement.expected is not None and changed != statement.expected:
                raise Unexpected

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        try:
            with self._reader() as reader:
                return reader.execute(sql, values).fetchall()
        except self.errors as error:
            raise self.refusal(error) from None

    def clock(self) -> tuple[float, str]:
        # Not the wall clock, which people and time servers set: a jump would free every job or
        # hold them for ever. This one goes on while the machine sleeps, and starts anew with it.
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)), self._era

    def again(self, error: BaseException, num_tries: int) -> bool:
        return "locked" in str(error) and num_tries < MAX_TRIES

    def refusal(self, error: BaseException) -> StoreError:
        return StoreError(
            f"The job store cannot be used: {error}",
            where=self.where,
            next_step="Check free space and permissions, or set GANGLINE_HOME to another folder.",
        )

    def close(self) -> None:
        with self._readers_lock:
            readers, self._readers = self._readers, []
        for connection in readers:
            connection.close()
        if hasattr(self, "_writer"):
            self._writer.close()
        if self._gate is not None:
            os.close(self._gate)
            self._gate = None

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        with self._readers_lock:
            reader = self._readers.pop() if self._readers else None
        if reader is None:
            reader = self._connect()
            reader.execute("PRAGMA query_only=ON")
        try:
            yield reader
        finally:
            with self._readers_lock:
                keep = len(self._readers) < MAX_READERS
                if keep:
                    self._readers.append(reader)
            if not keep:
                reader.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._lock()
        try:
            yield
        finally:
            self._unlock()

    def _lock(self) -> None:
        if fcntl is not None and self._gate is not None:
            fcntl.flock(self._gate, fcntl.LOCK_EX)

    def _unlock(self) -> None:
        if fcntl is not None and self._gate is not None:
            fcntl.flock(self._gate, fcntl.LOCK_UN)


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError:  # by now at the latest: another process may have been faster
        return
    folder.chmod(0o700)
