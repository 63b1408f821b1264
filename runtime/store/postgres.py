"""The job store in PostgreSQL: one connection writes, a few read; it comes back after a restart."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import psycopg
from psycopg.types.numeric import Int8Dumper

from gangline.ir.errors import StoreError
from gangline.runtime.redact import redact

from .database import Row, Statement, Unexpected
from .schema import MIGRATIONS, REFOLD_FROM, pending

PATIENCE_S = 10.0
"""How long to wait for a server that went away; well under the time of a lease."""

MAX_TRIES = 5
MAX_READERS = 8
CONNECT_TIMEOUT_S = 5
MIGRATION_LOCK, DOCUMENT_LOCK = 7_166_001, 7_166_002
"""Advisory locks of PostgreSQL are plain numbers, shared by all users of the database."""

_SETTINGS = (
    # What a commit acknowledges must be on disk, whatever the server's default is.
    "SET synchronous_commit = on",
    "SET default_transaction_isolation = 'read committed'",
    "SET lock_timeout = '30s'",
    "SET idle_in_transaction_session_timeout = '60s'",
)
_REPEATABLE = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


class PostgresDatabase:
    """See `Database`."""

    errors: tuple[type[BaseException], ...] = (psycopg.Error, OSError)
    conflicts: tuple[type[BaseException], ...] = (
        psycopg.IntegrityError,
        psycopg.DataError,
        UnicodeError,
    )
    # Who creates jobs shares this lock, who drops documents nobody refers to has it alone: else
    # a document could vanish between its being found and the job that needs it.
    sharing: tuple[Statement, ...] = (
        Statement(f"SELECT pg_advisory_xact_lock_shared({DOCUMENT_LOCK})"),
    )
    excluding: tuple[Statement, ...] = (
        Statement(f"SELECT pg_advisory_xact_lock({DOCUMENT_LOCK})"),
    )

    def __init__(self, url: str) -> None:
        self._url = url
        self.where = redact(url)
        self.writer = os.urandom(6).hex()
        self._readers: list[psycopg.Connection[Row]] = []
        self._readers_lock = threading.Lock()
        self._begun = False
        self._transaction = ""
        self._is_down = self._in_doubt = self._is_undone = False
        try:
            self._writer = self._connect()
            self._migrate()
        except self.errors as error:
            self.close()
            raise self.refusal(error) from None
        except BaseException:
            self.close()
            raise

    def _connect(self) -> psycopg.Connection[Row]:
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            # Prepared statements are lost count of when a pipeline is cut short by an error; and
            # poolers between us and the server do not know them.
            prepare_threshold=None,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="gangline",
            # A server that is gone without a word must not hold the writer for minutes.
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=20_000,
        )
        # One type for all sizes of numbers: values of one column must agree in theirs.
        connection.adapters.register_dumper(int, Int8Dumper)
        for setting in _SETTINGS:
            connection.execute(setting.encode())
        return connection

    def _migrate(self) -> None:
        self.begin()
        try:
            self.rows(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            self.run("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
            rows = self.rows("SELECT version FROM schema_version")
            version = rows[0][0] if rows else 0
            for statement in pending(version):
                self.run(_postgres_ddl(statement))
            if 0 < version <= REFOLD_FROM:
                from .refold import refold_all

                refold_all(self)
            self.run("DELETE FROM schema_version")
            self.run("INSERT INTO schema_version (version) VALUES (?)", (len(MIGRATIONS),))
            self.commit()
        except BaseException:
            self.rollback()
            raise

    def begin(self) -> None:
        if self._writer.closed:
            self._writer = self._connect()
        self._begun, self._transaction = False, ""

    def commit(self) -> None:
        if not self._begun:
            return
        if not self._transaction:
            ((self._transaction,),) = self.rows("SELECT pg_current_xact_id()::text")
        try:
            self._writer.execute(b"COMMIT")
        except psycopg.OperationalError:
            # The line may have broken before or after the commit: the server knows.
            if not self._writer.closed or not self._was_committed():
                raise
        self._begun = self._is_down = False

    def rollback(self) -> None:
        with suppress(*self.errors):
            if self._begun and not self._writer.closed:
                self._writer.execute(b"ROLLBACK")
        self._begun = False

    def mark(self) -> None:
        self._execute("SAVEPOINT one")

    def undo(self) -> None:
        self._execute("ROLLBACK TO SAVEPOINT one")

    def forget(self) -> None:
        self._execute("RELEASE SAVEPOINT one")

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._execute(sql, values).rowcount

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._execute(sql, values).fetchall()

    def run_all(self, statements: Sequence[Statement]) -> None:
        cursors = []
        with self._writer.pipeline():
            self._begin()
            for statement in statements:
                cursor = self._writer.execute(_postgres(statement.sql), statement.values)
                cursors.append((cursor, statement.expected))
            transaction = self._writer.execute(b"SELECT pg_current_xact_id()::text")
        self._transaction = transaction.fetchall()[0][0]
        if any(
            expected is not None and cursor.rowcount != expected for cursor, expected in cursors
        ):
            raise Unexpected

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        query = _postgres(sql)
        try:
            try:
                with self._reader() as reader:
                    return reader.execute(query, values).fetchall()
            except psycopg.OperationalError:
                # The pool may hold connections to a server that has been restarted.
                self._drop_readers()
                with self._reader() as reader:
                    return reader.execute(query, values).fetchall()
        except self.errors as error:
            raise self.refusal(error) from None

    def clock(self) -> tuple[float, str]:
        # The server's: one clock for all its users, whatever theirs say.
        ((now,),) = self.rows("SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(now), ""

    def again(self, error: BaseException, num_tries: int) -> bool:
        if isinstance(error, _REPEATABLE):
            return num_tries < MAX_TRIES
        if self._in_doubt:  # done again, what may be stored already would be refused
            self._in_doubt = False
            return False
        if self._is_undone:
            self._is_undone = False
            return num_tries < MAX_TRIES
        if not self._writer.closed or num_tries >= MAX_TRIES:
            return False
        return self._reconnect()

    def refusal(self, error: BaseException) -> StoreError:
        return StoreError(
            f"The job store cannot be used: {redact(str(error)).strip()}",
            where=self.where,
            next_step="Check that the server runs, its address, its rights and its free space.",
        )

    def close(self) -> None:
        self._drop_readers()
        if hasattr(self, "_writer"):
            self._writer.close()

    def _begin(self) -> None:
        if not self._begun:
            self._writer.execute(b"BEGIN")
            self._begun = True

    def _execute(self, sql: str, values: Sequence[Any] = ()) -> psycopg.Cursor[Row]:
        self._begin()
        return self._writer.execute(_postgres(sql), values or None)

    def _reconnect(self) -> bool:
        """Connect anew, patiently the first time; while the server stays away, once a call."""
        return bool(self._patiently(lambda: True))

    def _was_committed(self) -> bool:
        """Ask a server that is back how the transaction ended that was under way."""

        def ask() -> str:
            query = b"SELECT coalesce(pg_xact_status(%s::text::xid8), '')"
            ((status,),) = self._writer.execute(query, (self._transaction,)).fetchall()
            if status == "in progress":
                raise psycopg.OperationalError("the transaction has not ended yet")
            return str(status)

        status = self._patiently(ask)
        self._in_doubt, self._is_undone = status is None, status == "aborted"
        return bool(status == "committed")

    def _patiently(self, ask: Callable[[], Any]) -> Any:
        until_s = time.monotonic() + (0.0 if self._is_down else PATIENCE_S)
        delay_s = 0.05
        while True:
            try:
                if self._writer.closed:
                    self._writer = self._connect()
                found = ask()
                self._is_down = False
                return found
            except psycopg.OperationalError:
                if time.monotonic() + delay_s > until_s:
                    self._is_down = True
                    return None
            time.sleep(delay_s)
            delay_s = min(2 * delay_s, 1.0)

    @contextmanager
    def _reader(self) -> Iterator[psycopg.Connection[Row]]:
        with self._readers_lock:
            reader = self._readers.pop() if self._readers else None
        if reader is None:
            reader = self._connect()
        try:
            yield reader
        finally:
            with self._readers_lock:
                keep = len(self._readers) < MAX_READERS and not reader.closed
                if keep:
                    self._readers.append(reader)
            if not keep:
                reader.close()

    def _drop_readers(self) -> None:
        with self._readers_lock:
            readers, self._readers = self._readers, []
        for reader in readers:
            reader.close()


@cache
def _postgres(sql: str) -> bytes:
    return sql.replace("?", "%s").encode()


def _postgres_ddl(statement: str) -> str:
    """Translate a statement of `MIGRATIONS`. Ids sort by their bytes, as they do in SQLite."""
    for sqlite, postgres in (
        (" REAL", " DOUBLE PRECISION"),
        (" INTEGER", " BIGINT"),
        (" BLOB", " BYTEA"),
        (" TEXT", ' TEXT COLLATE "C"'),
        (") WITHOUT ROWID", ")"),
    ):
        statement = statement.replace(sqlite, postgres)
    return statement
