"""Workflows of plain tools for tests of the service, and small helpers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gangline as gl
from gangline.ir.errors import StepError
from gangline.runtime.service.job_request import JobRequest
from gangline.runtime.service.tenant import Tenant

GATES: dict[str, threading.Event] = {}
"""Tools named `hold` wait here until a test lets them go."""
CALLS: list[str] = []


@gl.tool(effects="read")
def twice(n: int) -> int:
    """Double a number."""
    return 2 * n


@gl.tool(effects="write")
def note(path: str, text: str) -> str:
    """Append a line to a file outside the store."""
    with open(path, "a") as file:
        file.write(text + "\n")
    return text


@gl.tool(effects="read")
def hold(gate: str) -> str:
    """Wait for a test."""
    CALLS.append(gate)
    if not GATES[gate].wait(60):
        raise TimeoutError(gate)
    return gate


@gl.tool(effects="read")
def broken(path: str) -> str:
    """Fail until there is a file."""
    if not Path(path).exists():
        raise StepError("there is no file yet")
    return Path(path).read_text()


@gl.tool(effects="read")
def numbers(n: int) -> list[int]:
    """Count."""
    return list(range(n))


@gl.workflow()
def four(n: int) -> int:
    """Double twice."""
    return twice(twice(n))


@gl.workflow()
def notes(path: str, text: str) -> str:
    """Write two lines, one after the other."""
    return note(path, note(path, text))


@gl.workflow()
def held(gate: str) -> str:
    """Wait for a test."""
    return hold(gate)


@gl.workflow()
def held_notes(gate: str, path: str, text: str) -> str:
    """Write, wait, write."""
    return note(path, hold_text(gate, note(path, text)))


@gl.tool(effects="read")
def hold_text(gate: str, text: str) -> str:
    """Wait for a test, with a text in hand."""
    CALLS.append(text)
    if not GATES[gate].wait(60):
        raise TimeoutError(gate)
    return text


@gl.tool(effects="write")
def slow_note(gate: str, path: str, text: str) -> str:
    """Append a line, in the middle of which a test may wait."""
    CALLS.append(gate)
    if not GATES[gate].wait(60):
        raise TimeoutError(gate)
    return note.fn(path, text)


@gl.workflow()
def slow_notes(gate: str, path: str, text: str) -> str:
    """Write two lines, each when a test lets it."""
    return slow_note(gate, path, slow_note(gate, path, text))


@gl.workflow()
def asking(n: int) -> int:
    """Ask a person between two steps."""
    return added(twice(n), gl.ask("How many more?", returns=int))


@gl.workflow()
def asking_beside(gate: str) -> str:
    """Ask a person while another branch runs."""
    return joined(hold(gate), gl.ask("How many?", returns=int))


@gl.workflow()
def steps(path: str, name: str) -> str:
    """Write three lines that differ, one after the other."""
    first = note(path, line(name, "1"))
    second = note(path, line(first, "2"))
    return note(path, line(second, "3"))


@gl.tool(effects="read")
def line(name: str, mark: str) -> str:
    """Name a line."""
    return f"{name}.{mark}"


@gl.tool(effects="read")
def added(n: int, more: int) -> int:
    """Add two numbers."""
    return n + more


@gl.workflow()
def mended(path: str, n: int) -> str:
    """A good step, then one that fails until a file is there."""
    return joined(broken(path), twice(n))


@gl.tool(effects="read")
def joined(text: str, n: int) -> str:
    """Join a text and a number."""
    return f"{text} {n}"


@gl.workflow()
def many(n: int) -> list[int]:
    """A step for each number."""
    return gl.map(lambda item: twice(item), numbers(n))


WORKFLOWS = (four, notes, slow_notes, held, held_notes, asking, asking_beside, steps, mended, many)


def request(workflow: str = "four", **options: Any) -> JobRequest:
    """Ask for a job; inputs that fit are made up where none are given."""
    options.setdefault("input", {"n": 3})
    return JobRequest(workflow=workflow, **options)


def tenant(name: str = "a", *scopes: str) -> Tenant:
    return Tenant(name, frozenset(scopes or ("submit", "read")))


async def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition; AssertionError if it never holds."""
    for _ in range(int(seconds / 0.005)):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")
