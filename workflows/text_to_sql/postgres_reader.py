"""Read the schema of a PostgreSQL database over a read-only connection."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from gangline.ir.errors import BackendUnavailable, DatabaseError

from . import settings
from .location import Location, masked
from .schema import Column, ForeignKey, Schema, Table

_COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, NULL),
       EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary
               AND a.attnum = ANY (i.indkey)), c.relkind = 'r' OR c.relkind = 'p'
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
  AND pg_table_is_visible(c.oid) AND has_table_privilege(c.oid, 'SELECT')
  AND c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (current_schemas(false)))
ORDER BY c.oid, a.attnum
"""
_KEYS = """
SELECT c.relname, r.relname,
       ARRAY(SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY u(num, n)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY n),
       ARRAY(SELECT attname::text FROM unnest(k.confkey) WITH ORDINALITY u(num, n)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY n)
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class r ON r.oid = k.confrelid
WHERE k.contype = 'f' AND pg_table_is_visible(c.oid) ORDER BY k.oid
"""


def read_postgres(location: Location) -> Schema:
    """Read the visible tables that this user may select from; DatabaseError if it cannot."""
    psycopg = load_psycopg()
    try:
        with psycopg.connect(location.target, connect_timeout=5, options=_options()) as connection:
            return _schema(connection)
    except (psycopg.Error, ValueError) as error:
        raise DatabaseError(
            f"The PostgreSQL database cannot be read: {masked(one_line(error), location.target)}",
            where=location.shown,
            next_step="Check the URL, the password and that the server is running.",
        ) from None


def load_psycopg() -> Any:
    """Import psycopg; BackendUnavailable with what to install when it is absent."""
    try:
        import psycopg
    except ImportError:
        raise BackendUnavailable(
            "PostgreSQL needs the package psycopg",
            next_step="Install it with: pip install 'gangline[postgres]'.",
        ) from None
    return psycopg


def one_line(error: Exception) -> str:
    """Give the first line of a driver's message."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _options() -> str:
    millis = int(settings.SCHEMA_TIMEOUT_S * 1000)
    return f"-c default_transaction_read_only=on -c statement_timeout={millis}"


def _schema(connection: Any) -> Schema:
    columns: dict[str, list[Column]] = defaultdict(list)
    for table, name, kind, key, sampled in connection.execute(_COLUMNS).fetchall():
        columns[table].append(_column(connection, table, Column(name, kind, key), sampled))
    keys: dict[str, list[ForeignKey]] = defaultdict(list)
    for table, target, own, other in connection.execute(_KEYS).fetchall():
        if target in columns:
            keys[table].append(ForeignKey(tuple(own), target, tuple(other)))
    tables = (Table(name, tuple(found), tuple(keys[name])) for name, found in columns.items())
    return Schema("postgres", tuple(tables))


def _column(connection: Any, table: str, column: Column, sampled: bool) -> Column:
    if not sampled or not (column.is_text or column.is_time):
        return column
    values = _values(connection, table, column.name)
    keep = settings.SAMPLES_PER_COLUMN
    complete = 0 < len(values) <= keep
    return Column(column.name, column.type, column.primary_key, tuple(values[:keep]), complete)


def _values(connection: Any, table: str, column: str) -> list[str]:
    from psycopg import sql

    statement = sql.SQL(
        "SELECT DISTINCT v FROM (SELECT {column}::text AS v FROM {table} LIMIT {scan}) s"
        " WHERE v <> '' ORDER BY v LIMIT {keep}"
    ).format(
        column=sql.Identifier(column),
        table=sql.Identifier(table),
        scan=settings.SAMPLE_SCAN_ROWS,
        keep=settings.SAMPLES_PER_COLUMN + 1,
    )
    return [value for (value,) in connection.execute(statement).fetchall()]
