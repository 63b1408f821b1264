"""Routes of what a tenant's workflows remember: look at it, and forget it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from gangline.ir.specs.memory import MAX_KEY_CHARS, MAX_LIMIT, is_space
from gangline.runtime.store.memory import Memory
from gangline.runtime.store.memory_rows import MemoryEntry, MemorySpace, Place, no_entry

from .call import Call
from .models import Whole
from .operation import Answer, Asgi, Operation
from .reply import Reply

_PATTERNS = {"key": f".{{1,{MAX_KEY_CHARS}}}"}
"""Keys are texts of authors: they may hold `/` and `:`."""


class MemorySpaceDocument(BaseModel):
    """A memory space. `kind` is `entries` or `log`; `model` embedded its entries, or is empty."""

    space: str
    kind: str
    model: str
    dimensions: int
    entries: int
    updated_s: float


class MemoryEntryDocument(BaseModel):
    """An entry; `score` says how well it fits what was looked for."""

    key: str
    value: Any
    created_s: float
    updated_s: float
    score: float


class MemorySpaceList(BaseModel):
    """The spaces of a tenant, by name."""

    data: list[MemorySpaceDocument]


class MemoryEntryList(BaseModel):
    """Entries; `next` is the cursor of the next page, or null."""

    data: list[MemoryEntryDocument]
    next: str | None


class Forgotten(BaseModel):
    """How many entries were forgotten."""

    forgotten: int


class MemoryQuery(BaseModel):
    """Which entries to give."""

    model_config = ConfigDict(extra="forbid")
    find: str | None = Field(
        default=None, min_length=1, max_length=1000, description="Entries with these words."
    )
    limit: Whole = Field(default=50, ge=1, le=MAX_LIMIT, description="How many at most.")
    after: str | None = Field(
        default=None, max_length=MAX_KEY_CHARS, description="Cursor: the `next` of the page before."
    )


async def spaces(call: Call) -> Asgi:
    """List the tenant's spaces."""
    rows = await asyncio.to_thread(_memory(call).spaces, call.tenant.name)
    return Reply.json({"data": [_space(row) for row in rows]})


async def entries(call: Call) -> Asgi:
    """Give entries of a space: those with some words, or a page."""
    query: MemoryQuery = call.query or MemoryQuery()
    memory, tenant, space = _memory(call), call.tenant.name, _named(call)
    if query.find is not None:
        words, limit = query.find, query.limit
        found = await asyncio.to_thread(memory.lookup, tenant, space, "text", words, limit)
        return Reply.json({"data": [asdict(row) for row in found], "next": None})
    after = query.after or ""
    page = await asyncio.to_thread(memory.entries, tenant, space, query.limit, after)
    more = page[-1].key if len(page) == query.limit else None
    return Reply.json({"data": [asdict(row) for row in page], "next": more})


async def entry(call: Call) -> Asgi:
    """Give one entry."""
    found: MemoryEntry = await asyncio.to_thread(
        _memory(call).entry, call.tenant.name, _named(call), call.path["key"]
    )
    return Reply.json(asdict(found))


async def forget(call: Call) -> Asgi:
    """Forget an entry, or a space."""
    count = await _memory(call).forget(call.tenant.name, _named(call), call.path.get("key"))
    return Reply.json({"forgotten": count})


def _memory(call: Call) -> Memory:
    return call.context.service.store.memory


def _named(call: Call) -> str:
    """Give the space asked for; NotFoundError for a name that no space can have."""
    space = call.path["space"]
    if not is_space(space):
        raise no_entry(Place(call.tenant.name, space))
    return space


def _space(row: MemorySpace) -> dict[str, Any]:
    document = asdict(row)
    for name in ("tenant", "words", "last_number"):
        del document[name]
    return document


OPERATIONS = (
    Operation(
        "GET",
        "/v1/memory",
        "listMemory",
        "List the memory spaces",
        spaces,
        (Answer(200, "What there is.", MemorySpaceList),),
        tag="memory",
    ),
    Operation(
        "GET",
        "/v1/memory/{space}",
        "listMemoryEntries",
        "Look into a memory space",
        entries,
        (Answer(200, "Entries in the order of keys, or the best first.", MemoryEntryList),),
        tag="memory",
        query=MemoryQuery,
        problems=(404, 422),
        path_patterns=_PATTERNS,
    ),
    Operation(
        "DELETE",
        "/v1/memory/{space}",
        "forgetMemory",
        "Forget a memory space",
        forget,
        (Answer(200, "It is gone.", Forgotten),),
        scope="submit",
        tag="memory",
        problems=(404,),
        path_patterns=_PATTERNS,
    ),
    Operation(
        "GET",
        "/v1/memory/{space}/{key}",
        "getMemoryEntry",
        "See an entry",
        entry,
        (Answer(200, "The entry.", MemoryEntryDocument),),
        tag="memory",
        problems=(404,),
        path_patterns=_PATTERNS,
    ),
    Operation(
        "DELETE",
        "/v1/memory/{space}/{key}",
        "forgetMemoryEntry",
        "Forget an entry",
        forget,
        (Answer(200, "It is gone.", Forgotten),),
        scope="submit",
        tag="memory",
        problems=(404,),
        path_patterns=_PATTERNS,
    ),
)
