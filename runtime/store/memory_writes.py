"""Changes of memory, each within one transaction: remember, observe, forget.

Whatever a step writes is done once: its id goes into `memory_writes` in the same transaction, and
a step that runs again finds it there with what it gave. The row of the space is changed first, so
that two transactions on one space come one after the other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from gangline.ir.specs.memory import MAX_ENTRIES

from .database import Database
from .memory_rows import (
    ENTRIES,
    LOG,
    NUMBER_DIGITS,
    MemorySpace,
    Place,
    Write,
    full,
    no_entry,
    other_kind,
    other_model,
)
from .operations import lost

ROWS_AT_ONCE = 256
_AT = "tenant = ? AND space = ?"
SPACE_COLUMNS = "tenant, space, kind, model, dimensions, entries, words, last_number, updated_s"


@dataclass(frozen=True, slots=True)
class NewEntry:
    """What to keep: JSON text, its words, and an embedding (model and float32 bytes) if any."""

    value: str
    words: Counter[str]
    vector: tuple[str, bytes] | None = None


def remember(
    database: Database, place: Place, key: str, entry: NewEntry, write: Write, now: float
) -> str:
    """Put an entry in, in the place of one with its key; gives the key."""

    def put() -> str:
        space = _opened(database, place, ENTRIES, now)
        if entry.vector is not None:
            _same_model(database, space, place, *entry.vector)
        _put(database, space, place, key, entry, write, now)
        return key

    return str(_once(database, write, put))


def observe(database: Database, place: Place, entry: NewEntry, write: Write, now: float) -> int:
    """Append an observation; gives its number."""

    def append() -> int:
        space = _opened(database, place, LOG, now)
        number = space.last_number + 1
        _put(database, space, place, number_key(number), entry, write, now)
        database.run(
            f"UPDATE memory_spaces SET last_number = ? WHERE {_AT}",
            (number, place.tenant, place.space),
        )
        return number

    return int(_once(database, write, append))


def forget(database: Database, place: Place, key: str | None) -> int:
    """Remove an entry, or a whole space; gives how many entries; NotFoundError for none."""
    spaces = _lock(database, place)
    if not spaces:
        raise no_entry(place)
    values: tuple[Any, ...] = (place.tenant, place.space)
    condition = _AT
    if key is not None:
        condition, values = f"{_AT} AND key = ?", (*values, key)
    rows = database.rows(f"SELECT words FROM memory_entries WHERE {condition}", values)
    if key is not None and not rows:
        raise no_entry(place, key)
    for table in ("memory_entries", "memory_vectors", "memory_words"):
        database.run(f"DELETE FROM {table} WHERE {condition}", values)
    if key is None:
        database.run(f"DELETE FROM memory_spaces WHERE {condition}", values)
    else:
        _count(database, place, -len(rows), -sum(row[0] for row in rows))
    return len(rows)


def number_key(number: int | str) -> str:
    """Give the key of an observation."""
    return str(number).zfill(NUMBER_DIGITS)


def _once(database: Database, write: Write, run: Callable[[], Any]) -> Any:
    if write.epoch is not None:
        rows = database.rows("SELECT epoch FROM jobs WHERE id = ?", (write.job_id,))
        if not rows or rows[0][0] != write.epoch:
            raise lost(write.job_id)
    known = database.rows("SELECT result FROM memory_writes WHERE id = ?", (write.id,))
    if known:
        return json.loads(known[0][0])
    result = run()
    database.run(
        "INSERT INTO memory_writes (id, job_id, result) VALUES (?, ?, ?)",
        (write.id, write.job_id, json.dumps(result)),
    )
    return result


def _lock(database: Database, place: Place) -> list[MemorySpace]:
    """Give the space's row, which nobody else changes until this transaction ends."""
    values = (place.tenant, place.space)
    database.run(f"UPDATE memory_spaces SET updated_s = updated_s WHERE {_AT}", values)
    rows = database.rows(f"SELECT {SPACE_COLUMNS} FROM memory_spaces WHERE {_AT}", values)
    return [MemorySpace(*row) for row in rows]


def _opened(database: Database, place: Place, kind: str, now: float) -> MemorySpace:
    """Give the space's row, made if need be; ConflictError if it holds the other kind."""
    database.run(
        "INSERT INTO memory_spaces (tenant, space, kind, updated_s) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (tenant, space) DO UPDATE SET updated_s = excluded.updated_s",
        (place.tenant, place.space, kind, now),
    )
    (space,) = _lock(database, place)
    if space.kind != kind:
        raise other_kind(place, space.kind)
    return space


def _same_model(
    database: Database, space: MemorySpace, place: Place, model: str, vector: bytes
) -> None:
    dimensions = len(vector) // 4
    if not space.model:
        database.run(
            f"UPDATE memory_spaces SET model = ?, dimensions = ? WHERE {_AT}",
            (model, dimensions, place.tenant, place.space),
        )
    elif (space.model, space.dimensions) != (model, dimensions):
        raise other_model(place, (space.model, space.dimensions), (model, dimensions))


def _put(
    database: Database,
    space: MemorySpace,
    place: Place,
    key: str,
    entry: NewEntry,
    write: Write,
    now: float,
) -> None:
    at, length = (place.tenant, place.space, key), entry.words.total()
    old = database.rows(f"SELECT words FROM memory_entries WHERE {_AT} AND key = ?", at)
    if not old and space.entries >= MAX_ENTRIES:
        raise full(place)
    for table in ("memory_vectors", "memory_words") if old else ():
        database.run(f"DELETE FROM {table} WHERE {_AT} AND key = ?", at)
    database.run(
        "INSERT INTO memory_entries "
        "(tenant, space, key, value, words, created_s, updated_s, job_id) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (tenant, space, key) DO UPDATE SET "
        "value = excluded.value, words = excluded.words, updated_s = excluded.updated_s, "
        "job_id = excluded.job_id",
        (*at, entry.value, length, now, now, write.job_id),
    )
    if entry.vector is not None:
        database.run(
            "INSERT INTO memory_vectors (tenant, space, key, vector) VALUES (?, ?, ?, ?)",
            (*at, entry.vector[1]),
        )
    _insert_words(
        database,
        [(*at[:2], word, key, times, length) for word, times in sorted(entry.words.items())],
    )
    _count(database, place, 0 if old else 1, length - sum(row[0] for row in old))


def _insert_words(database: Database, rows: Sequence[Sequence[Any]]) -> None:
    for begin in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[begin : begin + ROWS_AT_ONCE]
        marks = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(some))
        values: Iterable[Any] = chain.from_iterable(some)
        database.run(
            f"INSERT INTO memory_words (tenant, space, word, key, times, length) VALUES {marks}",
            list(values),
        )


def _count(database: Database, place: Place, entries: int, words: int) -> None:
    database.run(
        f"UPDATE memory_spaces SET entries = entries + ?, words = words + ? WHERE {_AT}",
        (entries, words, place.tenant, place.space),
    )
