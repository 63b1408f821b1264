"""The memory of workflows in the job store: spaces of entries and of observations, by tenant.

Lookups read what is committed, on the thread that asks. Changes are tickets of the writer: done
when they are on disk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, TypeVar

from gangline.ir.errors import InputError
from gangline.ir.specs.memory import MAX_LIMIT, vector_from_json

from . import memory_writes
from .database import Database
from .memory_rows import (
    LOG,
    MemoryEntry,
    MemorySpace,
    Place,
    Write,
    checked_key,
    checked_place,
    checked_query,
    encoded_value,
    no_entry,
    other_model,
)
from .memory_words import best, query_words, ranked, words_in
from .memory_writes import SPACE_COLUMNS, NewEntry, number_key
from .ticket import Ticket

T = TypeVar("T")
Do = Callable[[Callable[[Database], Any]], Ticket[Any]]

VECTORS_AT_ONCE = 4096
"""Vectors read and compared at once: 14 MB of 896 numbers each."""
PAGE = 500
_AT = "tenant = ? AND space = ?"


class Memory:
    """See above. `do` queues a function for the writer's transaction."""

    def __init__(self, database: Database, do: Do) -> None:
        self._database = database
        self._do = do

    # Steps --------------------------------------------------------------------------------

    def remember(
        self,
        tenant: str,
        space: str,
        value: Any,
        write: Write,
        now: float,
        *,
        key: str | None = None,
        vector: Any = None,
    ) -> Ticket[str]:
        """Put an entry into a space; gives its key, which is one of its own where none is given.

        Args:
            vector: its embedding, as `vector_to_json` writes it.

        Raises:
            InputError: space, key, value or vector cannot be stored.
            TooLargeError: value or key is over its limit, or (in the ticket) the space is full.
            ConflictError: in the ticket; the space is a log, or holds another model's embeddings.
            LeaseLost: in the ticket; the job is another owner's.
        """
        place = checked_place(tenant, space)
        text = encoded_value(value, place)
        words = words_in(value)
        if key is None:
            name = blake2b(write.id.encode(), digest_size=8).hexdigest()
        else:
            name = checked_key(key, place)
            words.update(words_in(key))
        entry = NewEntry(text, words, None if vector is None else vector_from_json(vector))
        ticket: Ticket[str] = self._do(
            lambda database: memory_writes.remember(database, place, name, entry, write, now)
        )
        return ticket

    def observe(
        self, tenant: str, space: str, event: Any, result: Any, write: Write, now: float
    ) -> Ticket[int]:
        """Append an observation to a log; gives its number. Raises as `remember`."""
        place = checked_place(tenant, space)
        value = {"event": event, "result": result}
        entry = NewEntry(encoded_value(value, place), words_in(value))
        ticket: Ticket[int] = self._do(
            lambda database: memory_writes.observe(database, place, entry, write, now)
        )
        return ticket

    def lookup(
        self, tenant: str, space: str, by: str, query: Any, limit: int, vector: Any = None
    ) -> list[MemoryEntry]:
        """Find entries by `key`, `text` or `vector`, the best first, ties by key.

        Raises:
            InputError: the query, the way or the space cannot be.
            TooLargeError: the query is over its limit.
            ConflictError: the space holds another model's embeddings.
        """
        place = checked_place(tenant, space)
        asked, limit = checked_query(query, place), max(1, min(limit, MAX_LIMIT))
        found = self.space(place)
        if found is None:
            return []
        match by:
            case "key":
                if not asked.isprintable():
                    return []  # nor can a key be stored that is not, nor asked for everywhere
                if found.kind == LOG and asked.isdecimal():
                    asked = number_key(asked)
                return self._entries(place, [(asked, 1.0)])
            case "text":
                return self._entries(place, self._by_text(place, found, asked, limit))
            case "vector":
                return self._entries(place, self._by_vector(place, found, vector, limit))
            case _:
                raise InputError(
                    f"Memory cannot be looked up by {by!r}",
                    where=place.where,
                    next_step="Compile the workflow with this version of gangline.",
                )

    # People and programs ------------------------------------------------------------------

    def spaces(self, tenant: str | None = None) -> list[MemorySpace]:
        """Give the spaces of a tenant, or all, by name."""
        where, values = ("WHERE tenant = ?", (tenant,)) if tenant is not None else ("", ())
        rows = self._database.read(
            f"SELECT {SPACE_COLUMNS} FROM memory_spaces {where} ORDER BY tenant, space", values
        )
        return [MemorySpace(*row) for row in rows]

    def space(self, place: Place) -> MemorySpace | None:
        """Give a space; None if nobody has written to it."""
        rows = self._database.read(
            f"SELECT {SPACE_COLUMNS} FROM memory_spaces WHERE {_AT}", (place.tenant, place.space)
        )
        return MemorySpace(*rows[0]) if rows else None

    def entries(
        self, tenant: str, space: str, limit: int = PAGE, after: str = ""
    ) -> list[MemoryEntry]:
        """Give a page of a space in the order of keys; `after` is the last key of the one before.

        NotFoundError if there is no such space.
        """
        place = checked_place(tenant, space)
        after = after.partition("\0")[0]  # no key has one, and not every database takes it
        if self.space(place) is None:
            raise no_entry(place)
        rows = self._database.read(
            f"SELECT key, value, created_s, updated_s FROM memory_entries WHERE {_AT} "
            "AND key > ? ORDER BY key LIMIT ?",
            (tenant, space, after, limit),
        )
        return [MemoryEntry(key, json.loads(value), *times) for key, value, *times in rows]

    def entry(self, tenant: str, space: str, key: str) -> MemoryEntry:
        """Give one entry; NotFoundError if there is none."""
        found = self.lookup(tenant, space, "key", key, 1)
        if not found:
            raise no_entry(checked_place(tenant, space), key)
        return found[0]

    def forget(self, tenant: str, space: str, key: str | None = None) -> Ticket[int]:
        """Remove an entry, or a space with all it holds; gives how many entries.

        NotFoundError (in the ticket) if there is no such thing. What steps recorded stays in the
        logs of their jobs until those are pruned.
        """
        place = checked_place(tenant, space)
        if key is not None and not key.isprintable():
            raise no_entry(place, key)
        name = key
        if name is not None and name.isdecimal() and (known := self.space(place)):
            name = number_key(name) if known.kind == LOG else name
        ticket: Ticket[int] = self._do(lambda database: memory_writes.forget(database, place, name))
        return ticket

    def export(self, tenant: str | None = None, space: str | None = None) -> Iterator[str]:
        """Give entries as lines of JSON, space by space; memory stays bounded."""
        for row in self.spaces(tenant):
            if space is not None and row.space != space:
                continue
            after = ""
            while page := self.entries(row.tenant, row.space, PAGE, after):
                for entry in page:
                    line: dict[str, Any] = {"tenant": row.tenant, "space": row.space}
                    line.update(key=entry.key, value=entry.value, created_s=entry.created_s)
                    yield json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"
                after = page[-1].key

    # --------------------------------------------------------------------------------------

    def _entries(self, place: Place, scored: Sequence[tuple[str, float]]) -> list[MemoryEntry]:
        """Give the entries of some keys, in their order; one that is gone by now is left out."""
        found: dict[str, tuple[str, float, float]] = {}
        for begin in range(0, len(scored), PAGE):
            keys = [key for key, _ in scored[begin : begin + PAGE]]
            rows = self._database.read(
                f"SELECT key, value, created_s, updated_s FROM memory_entries WHERE {_AT} "
                f"AND key IN ({', '.join('?' * len(keys))})",
                (place.tenant, place.space, *keys),
            )
            found.update({key: (value, *times) for key, value, *times in rows})
        return [
            MemoryEntry(key, json.loads(found[key][0]), *found[key][1:], score)
            for key, score in scored
            if key in found
        ]

    def _by_text(
        self, place: Place, space: MemorySpace, query: str, limit: int
    ) -> list[tuple[str, float]]:
        words = query_words(query)
        if not words:
            return []
        rows = self._database.read(
            f"SELECT word, key, times, length FROM memory_words WHERE {_AT} "
            f"AND word IN ({', '.join('?' * len(words))})",
            (place.tenant, place.space, *words),
        )
        return ranked(rows, space.entries, space.words, limit)

    def _by_vector(
        self, place: Place, space: MemorySpace, vector: Any, limit: int
    ) -> list[tuple[str, float]]:
        model, wanted = vector_from_json(vector)
        if not space.model:
            return []
        if (space.model, 4 * space.dimensions) != (model, len(wanted)):
            known = (space.model, space.dimensions)
            raise other_model(place, known, (model, len(wanted) // 4))
        from .memory_vectors import cosines

        found: list[tuple[str, float]] = []
        after = ""
        # Invariant: `found` holds the best of all vectors whose key is at most `after`.
        while rows := self._database.read(
            f"SELECT key, vector FROM memory_vectors WHERE {_AT} AND key > ? ORDER BY key LIMIT ?",
            (place.tenant, place.space, after, VECTORS_AT_ONCE),
        ):
            after = rows[-1][0]
            scores = cosines(wanted, [row[1] for row in rows])
            keys = [row[0] for row in rows]
            found = best([*found, *zip(keys, scores, strict=True)], limit)
        return found
