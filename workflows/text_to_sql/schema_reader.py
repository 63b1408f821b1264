"""Read the schema of any database: the reader for its kind, and what was read before."""

from __future__ import annotations

import os
from functools import lru_cache

from gangline.ir.errors import DatabaseError

from . import settings
from .location import Location, locate
from .postgres_reader import read_postgres
from .schema import Schema
from .sqlite_reader import read_sqlite


def read_schema(db: str) -> Schema:
    """Read the schema of a database; DatabaseError if it cannot be read or has no tables.

    A SQLite file is read again only when its size or time of change differs.
    """
    location = locate(db)
    if location.dialect == "postgres":
        return _not_empty(read_postgres(location), location)
    stat = os.stat(location.target)
    return _read_file(location, stat.st_mtime_ns, stat.st_size, stat.st_ino)


@lru_cache(maxsize=64)
def _read_file(location: Location, mtime_ns: int, size: int, inode: int) -> Schema:
    return _not_empty(read_sqlite(location, settings.SCHEMA_TIMEOUT_S), location)


def _not_empty(schema: Schema, location: Location) -> Schema:
    if not schema.tables:
        raise DatabaseError(
            "The database has no tables",
            where=location.shown,
            next_step="Create and fill tables first, or give another database.",
        )
    return schema
