"""What a database looks like: tables, columns, keys and a few values.

The records are the same for every kind of database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from .location import Dialect


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
