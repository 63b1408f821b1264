"""What a database looks like: tables, columns, keys and a few values.

The records are the same for every kind of database; `read_schema` picks the reader.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from gangline.ir.errors import DatabaseError

from . import settings
from .location import Dialect, Location, locate


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `samples` are values as text; `complete` says that there are no others."""

    name: str
    type: str = ""
    primary_key: bool = False
    samples: tuple[str, ...] = ()
    complete: bool = False

    @property
    def is_text(self) -> bool:
        """Tell whether values of this column are (or may be) text."""
        kind = self.type.upper()
        return kind == "" or any(mark in kind for mark in ("CHAR", "TEXT", "CLOB", "ENUM", "NAME"))

    @property
    def is_time(self) -> bool:
        """Tell whether the declared type is a date or a time."""
        return any(mark in self.type.upper() for mark in ("DATE", "TIME"))


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """`columns` of the owning table refer to `ref_columns` of `ref_table`, pairwise."""

    columns: tuple[str, ...]
    ref_table: str
    ref_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """One table or view."""

    name: str
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()

    def column(self, name: str) -> Column | None:
        """Find a column by its name in any case."""
        wanted = name.lower()
        return next((column for column in self.columns if column.name.lower() == wanted), None)


@dataclass(frozen=True)
class Schema:
    """All tables of one database, in a fixed order."""

    dialect: Dialect
    tables: tuple[Table, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Table]:
        """Map lower-case table names to tables."""
        return {table.name.lower(): table for table in self.tables}

    def table(self, name: str) -> Table | None:
        """Find a table by its name in any case."""
        return self.by_name.get(name.lower())

    def owners(self, column: str) -> tuple[Table, ...]:
        """List the tables that have a column of that name."""
        return tuple(table for table in self.tables if table.column(column) is not None)


def read_schema(db: str) -> Schema:
    """Read the schema of a database; DatabaseError if it cannot be read or has no tables.

    A SQLite file is read again only when its size or time of change differs.
    """
    location = locate(db)
    if location.dialect == "postgres":
        from .postgres_reader import read_postgres

        return _not_empty(read_postgres(location), location)
    stat = os.stat(location.target)
    return _read_file(location, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=64)
def _read_file(location: Location, mtime_ns: int, size: int, inode: int) -> Schema:
    from .sqlite_reader import read_sqlite

    return _not_empty(read_sqlite(location, settings.SCHEMA_TIMEOUT_S), location)


def _not_empty(schema: Schema, location: Location) -> Schema:
    if not schema.tables:
        raise DatabaseError(
            "The database has no tables",
            where=location.shown,
            next_step="Create and fill tables first, or give another database.",
        )
    return schema
