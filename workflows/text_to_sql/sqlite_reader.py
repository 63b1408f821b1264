"""Read the schema of a SQLite file, read-only and within a time limit."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gangline.ir.errors import DatabaseError

from . import settings
from .location import Location, sqlite_uri
from .schema import Column, ForeignKey, Schema, Table

_TABLES = """
SELECT name, type FROM sqlite_master
WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
ORDER BY rowid
"""
_STEPS_PER_CHECK = 20_000  # virtual-machine steps between two looks at the clock


def read_sqlite(location: Location, timeout_s: float) -> Schema:
    """Read tables, keys and sample values; what the time does not allow goes unsampled."""
    with open_read_only(location.target, timeout_s) as connection:
        rows = connection.execute(_TABLES).fetchall()
        tables = (_table(connection, name, kind == "table") for name, kind in rows)
        return Schema("sqlite", tuple(table for table in tables if table.columns))


@contextmanager
def open_read_only(path: str, timeout_s: float) -> Iterator[sqlite3.Connection]:
    """Open a SQLite file that must exist; statements are interrupted after `timeout_s`.

    Bytes that are not UTF-8 are left out of text values.
    """
    try:
        connection = sqlite3.connect(sqlite_uri(path), uri=True)
    except (sqlite3.Error, OSError) as error:
        raise _unreadable(path, error) from error
    try:
        ends_at = time.monotonic() + timeout_s
        connection.text_factory = _decode
        connection.set_progress_handler(lambda: time.monotonic() > ends_at, _STEPS_PER_CHECK)
        connection.execute("PRAGMA trusted_schema = OFF")
        yield connection
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    finally:
        connection.close()


def quoted(name: str) -> str:
    """Quote an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", errors="ignore")


def _unreadable(path: str, error: Exception) -> DatabaseError:
    return DatabaseError(
        f"The database cannot be read: {error}",
        where=path,
        next_step="Check that the file is a whole SQLite database and that you may read it.",
    )


def _table(connection: sqlite3.Connection, name: str, sampled: bool) -> Table:
    try:
        rows = connection.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
    except sqlite3.OperationalError:  # a view over a table that is gone
        rows = []
    columns = tuple(
        _column(connection, name, column, kind, bool(key), sampled)
        for _, column, kind, _, _, key in rows
    )
    return Table(name, columns, _foreign_keys(connection, name))


def _column(
    connection: sqlite3.Connection, table: str, name: str, kind: str, key: bool, sampled: bool
) -> Column:
    column = Column(name, kind, key)
    if not sampled or not (column.is_text or column.is_time):
        return column
    values = _values(connection, table, name)
    keep = settings.SAMPLES_PER_COLUMN
    return Column(name, kind, key, tuple(values[:keep]), 0 < len(values) <= keep)


def _values(connection: sqlite3.Connection, table: str, column: str) -> list[str]:
    inner = f"SELECT {quoted(column)} AS v FROM {quoted(table)} LIMIT {settings.SAMPLE_SCAN_ROWS}"
    statement = f"SELECT DISTINCT v FROM ({inner}) WHERE v IS NOT NULL AND v != '' LIMIT ?"
    try:
        rows = connection.execute(statement, (settings.SAMPLES_PER_COLUMN + 1,)).fetchall()
    except sqlite3.OperationalError:  # out of time, or a virtual table without its module
        return []
    return [str(value) for (value,) in rows if not isinstance(value, bytes)]


def _foreign_keys(connection: sqlite3.Connection, table: str) -> tuple[ForeignKey, ...]:
    grouped: dict[int, list[tuple[str, str, str | None]]] = {}
    for row in connection.execute(f"PRAGMA foreign_key_list({quoted(table)})"):
        grouped.setdefault(row[0], []).append((row[2], row[3], row[4]))
    keys = (_foreign_key(connection, rows) for _, rows in sorted(grouped.items(), reverse=True))
    return tuple(key for key in keys if key is not None)


def _foreign_key(
    connection: sqlite3.Connection, rows: list[tuple[str, str, str | None]]
) -> ForeignKey | None:
    target = rows[0][0]
    named = tuple(row[2] for row in rows if row[2] is not None)
    if not named:  # REFERENCES t without columns means its primary key
        info = connection.execute(f"PRAGMA table_info({quoted(target)})").fetchall()
        named = tuple(row[1] for row in sorted(info, key=lambda row: row[5]) if row[5])
    columns = tuple(row[1] for row in rows)
    return ForeignKey(columns, target, named) if len(named) == len(columns) else None
