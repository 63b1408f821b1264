"""What memory takes in and gives out, checked: entries, spaces, and the limits of both."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from gangline.ir.errors import ConflictError, InputError, NotFoundError, TooLargeError
from gangline.ir.specs.memory import (
    MAX_ENTRIES,
    MAX_KEY_CHARS,
    MAX_QUERY_CHARS,
    MAX_VALUE_BYTES,
    SPACE_RULE,
    is_space,
)

ENTRIES, LOG = "entries", "log"
NUMBER_DIGITS = 12
"""Observations are kept under their number with leading zeros, so that keys sort as numbers."""


@dataclass(frozen=True, slots=True)
class Place:
    """A space of a tenant."""

    tenant: str
    space: str

    @property
    def where(self) -> str:
        """Name the space, for errors; a tenant knows its own name."""
        return f"memory space {self.space}"


@dataclass(frozen=True, slots=True)
class Write:
    """Which step writes, so that it does so once.

    Attributes:
        id: the step's idempotency key.
        epoch: of the lease under which it runs; None for a job that the store does not hold.
    """

    id: str
    job_id: str
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class MemorySpace:
    """A row of `memory list`. `model` is empty where no entry has an embedding."""

    tenant: str
    space: str
    kind: str
    model: str
    dimensions: int
    entries: int
    words: int
    last_number: int
    updated_s: float


@dataclass(frozen=True, slots=True)
class MemoryEntry:
    """One entry; `score` says how well it fits what was looked for (1 where nothing was)."""

    key: str
    value: Any
    created_s: float
    updated_s: float
    score: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Give what a workflow's recall gives of an entry (`workflows.memory.Entry`)."""
        return {
            "key": self.key,
            "value": self.value,
            "score": self.score,
            "created_s": self.created_s,
        }


def checked_place(tenant: str, space: str) -> Place:
    """Give a place; InputError for a name that no space can have."""
    if not is_space(space):
        raise InputError(
            f"{space!r} cannot be the name of a memory space",
            next_step=f"A name is {SPACE_RULE}.",
        )
    return Place(tenant, space)


def checked_key(key: Any, place: Place) -> str:
    """Give a key; InputError for one that cannot be stored, TooLargeError for a long one."""
    if not isinstance(key, str) or not key or not key.isprintable():
        raise InputError(
            "The key of a memory entry is no printable text",
            where=place.where,
            next_step="Give a short text without line breaks, such as a name or an id.",
        )
    if len(key) > MAX_KEY_CHARS:
        raise TooLargeError(
            f"The key of a memory entry has {len(key):,} characters; at most {MAX_KEY_CHARS} fit",
            where=place.where,
            next_step="Give a short text, such as a name or a hash.",
        )
    return key


def checked_query(query: Any, place: Place) -> str:
    """Give a query; InputError for one that is no text, TooLargeError for a long one."""
    if not isinstance(query, str):
        raise InputError(
            f"What is looked for in memory is a {type(query).__name__}, no text",
            where=place.where,
            next_step="Give gl.recall a text.",
        )
    if len(query) > MAX_QUERY_CHARS:
        raise TooLargeError(
            f"What is looked for in memory has {len(query):,} characters; at most "
            f"{MAX_QUERY_CHARS:,} are",
            where=place.where,
            next_step="Look for its words that matter.",
        )
    return query


def encoded_value(value: Any, place: Place) -> str:
    """Give a value as JSON text; InputError for what is no JSON, TooLargeError for too much."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"A memory entry is no JSON: {error}",
            where=place.where,
            next_step="Keep plain JSON values (no NaN, no lone surrogates).",
        ) from None
    if size > MAX_VALUE_BYTES:
        raise TooLargeError(
            f"A memory entry has {size:,} bytes as JSON; at most {MAX_VALUE_BYTES:,} fit",
            where=place.where,
            next_step="Keep a summary, or write it to a file and remember its name.",
        )
    return text


def other_kind(place: Place, kind: str) -> ConflictError:
    """Say that a space holds the other kind of thing."""
    holds = {ENTRIES: "entries", LOG: "observations, which nothing overwrites"}[kind]
    return ConflictError(
        f"The memory space {place.space!r} holds {holds}",
        where=place.where,
        next_step="Use a space of another name: gl.remember and gl.observe do not share one.",
    )


def other_model(place: Place, known: tuple[str, int], given: tuple[str, int]) -> ConflictError:
    """Say that embeddings of two models, each with its dimensions, cannot be compared."""
    one, other = (f"{model} ({dimensions} numbers)" for model, dimensions in (known, given))
    return ConflictError(
        f"The memory space {place.space!r} holds embeddings of {one}, not of {other}",
        where=place.where,
        next_step=f"Write model={known[0]!r}, use another space, or forget this one and begin anew.",
    )


def full(place: Place) -> TooLargeError:
    """Say that a space has no room."""
    return TooLargeError(
        f"The memory space {place.space!r} holds {MAX_ENTRIES:,} entries, the most it can",
        where=place.where,
        next_step="Forget what is not needed (`gangline memory forget`), or use another space.",
    )


def no_entry(place: Place, key: str = "") -> NotFoundError:
    """Say that there is no such space or entry."""
    what = f"The memory space {place.space!r} has no entry {key!r}"
    return NotFoundError(
        what if key else f"There is no memory space {place.space!r}",
        where=place.where,
        next_step="`gangline memory list` names the spaces, `gangline memory show` their entries.",
    )
