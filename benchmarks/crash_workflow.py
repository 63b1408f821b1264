"""Workflows for benchmarks/crash.py: every call of a tool is told to a file outside the store.

The file is named by the environment variable CRASH_EFFECTS. A line is `[seconds, process, "begin"
or "end", job's tag, step's name, idempotency key]`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gangline as gl

NAMES = ("a", "b", "c", "d", "e", "f")
SLOWEST_S = 0.008
"""Longest a tool takes, so that kills also fall into calls."""

LINE = 256

_file: list[int] = []


def tell(phase: str, tag: str, name: str, key: str, synced: bool) -> None:
    """Append a line in one write: many threads and processes share the file.

    Lines are of one size that divides a page's: a write within a page is whole or not there, but
    between two pages a kill cuts it in two.
    """
    if not _file:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        _file.append(os.open(os.environ["CRASH_EFFECTS"], flags, 0o600))
    line = json.dumps([time.time(), os.getpid(), phase, tag, name, key]).ljust(LINE - 1)
    assert len(line) < LINE
    os.write(_file[0], f"{line}\n".encode())
    if synced:
        os.fdatasync(_file[0])


@contextmanager
def told(tag: str, name: str, key: str, synced: bool = False) -> Iterator[None]:
    """Tell that a call begins and, unless the process dies, that it ends."""
    tell("begin", tag, name, key, synced)
    yield
    tell("end", tag, name, key, synced)


def mixed(name: str, before: str) -> str:
    """Give a step's result: it depends on everything before it."""
    return hashlib.blake2b(f"{name}<{before}".encode(), digest_size=6).hexdigest()


def _work() -> None:
    time.sleep(random.random() * SLOWEST_S)


@gl.tool(effects="read")
def look(tag: str, name: str, before: str, idempotency_key: str = "") -> str:
    """Read: safe to repeat."""
    with told(tag, name, idempotency_key):
        _work()
    return mixed(name, before)


@gl.tool(effects="write", idempotent=True)
def put(tag: str, name: str, before: str, idempotency_key: str = "") -> str:
    """Write so that a repeat with the same key does no harm."""
    with told(tag, name, idempotency_key):
        _work()
    return mixed(name, before)


@gl.tool(effects="write", idempotent=False)
def once(tag: str, name: str, before: str, idempotency_key: str = "") -> str:
    """Write what must not be repeated."""
    with told(tag, name, idempotency_key, synced=True):
        _work()
    return mixed(name, before)


@gl.tool(effects="write", idempotent=False, inline=True)
def once_inline(tag: str, name: str, before: str, idempotency_key: str = "") -> str:
    """Write what must not be repeated, on the event loop."""
    with told(tag, name, idempotency_key):
        pass
    return mixed(name, before)


@gl.tool(effects="read", inline=True)
def glance(tag: str, name: str, before: str, idempotency_key: str = "") -> str:
    """Read, on the event loop."""
    with told(tag, name, idempotency_key):
        pass
    return mixed(name, before)


@gl.tool(effects="write", idempotent=False)
async def once_async(tag: str, name: str, before: str, idempotency_key: str = "") -> str:
    """Write what must not be repeated, between other things of the loop."""
    with told(tag, name, idempotency_key):
        await asyncio.sleep(random.random() * SLOWEST_S)
    return mixed(name, before)


@gl.tool(effects="none", inline=True)
def names(count: int) -> list[str]:
    """Give that many names."""
    return list(NAMES[:count])


@gl.tool(effects="none", inline=True)
def together(parts: list[str]) -> str:
    """Make one result of several."""
    return "+".join(parts)


@gl.workflow
def chain(tag: str) -> str:
    """Read, write and read, one after the other."""
    done = look(tag, "1", "")
    done = put(tag, "2", done)
    done = look(tag, "3", done)
    done = once(tag, "4", done)
    return look(tag, "5", done)


@gl.workflow
def writes(tag: str) -> str:
    """Write what must not be repeated, in each way a tool may be called."""
    done = once(tag, "1", "")
    done = once_inline(tag, "2", done)
    awaited: Any = once_async(tag, "3", done)
    return once(tag, "4", awaited)


@gl.workflow
def quick(tag: str) -> str:
    """Many steps that take no time."""
    done = ""
    for number in range(8):
        done = glance(tag, str(number), done)
    return done


@gl.workflow
def fan(tag: str) -> str:
    """Read side by side, then write."""
    parts = gl.map(lambda name: look(tag, name, ""), names(6))
    return once(tag, "end", together(parts))


@gl.workflow
def wide(tag: str) -> str:
    """Write what must not be repeated, side by side."""
    return together(gl.map(lambda name: once(tag, name, ""), names(3)))


@gl.workflow
def asks(tag: str) -> str:
    """Ask a person between two steps."""
    done = put(tag, "1", "")
    answer = gl.ask("Which one?", returns=str)
    return once(tag, "3", together_with(done, answer))


@gl.tool(effects="none", inline=True)
def together_with(one: str, other: str) -> str:
    """Make one result of two."""
    return f"{one}+{other}"


WORKFLOWS = (chain, writes, quick, fan, wide, asks)
ANSWER = "this one"


def outputs() -> dict[str, str]:
    """Give what a job of each workflow must give, however often it was interrupted."""
    chained, written, quickly = "", "", ""
    for number in range(1, 6):
        chained = mixed(str(number), chained)
    for number in range(1, 5):
        written = mixed(str(number), written)
    for number in range(8):
        quickly = mixed(str(number), quickly)
    return {
        "chain": chained,
        "writes": written,
        "quick": quickly,
        "fan": mixed("end", "+".join(mixed(name, "") for name in NAMES)),
        "wide": "+".join(mixed(name, "") for name in NAMES[:3]),
        "asks": mixed("3", f"{mixed('1', '')}+{ANSWER}"),
    }


UNSAFE = {
    "chain": {"4"},
    "writes": {"1", "2", "3", "4"},
    "quick": set[str](),
    "fan": {"end"},
    "wide": set(NAMES[:3]),
    "asks": {"3"},
}
"""Steps of each workflow that must not be called twice, by name."""
