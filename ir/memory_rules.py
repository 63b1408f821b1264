"""Rules of memory operations: their names, their spaces, and whether there is an embedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gangline.ir.errors import GanglineError, VerifyError
from gangline.ir.specs.memory import MAX_LIMIT, SPACE_RULE, is_space

from .attributes import decode_all
from .module import Module, walk, where

_OPERANDS = {
    "agent.recall": (("query",),),
    "stage.lookup": (("query",), ("query", "vector")),
    "agent.remember": (("value",), ("value", "key")),
    "stage.store": (
        ("value",),
        ("value", "key"),
        ("value", "vector"),
        ("value", "key", "vector"),
    ),
    "agent.observe": (("event",), ("event", "result")),
    "stage.observe": (("event",), ("event", "result")),
}


def memory_fits(module: Module) -> Iterator[VerifyError]:
    """A memory operation names what it reads, its space can be one, a vector is where it belongs."""
    for function in module.functions():
        for op in walk(function):
            if op.name in _OPERANDS:
                yield from (VerifyError(text, where=where(op)) for text in _problems(op))


def _problems(op: Any) -> Iterator[str]:
    try:
        found = decode_all(op)
    except GanglineError:
        return
    names = found.get("names")
    if not isinstance(names, list) or len(names) > len(op.operands):
        return  # said by others
    if tuple(names) not in _OPERANDS[op.name]:
        yield f"{op.name} cannot name its operands {', '.join(map(str, names))}"
    if not is_space(found.get("space")):
        yield f"the space of {op.name} is {found.get('space')!r}, not {SPACE_RULE}"
    if found.get("limit", 1) > MAX_LIMIT:
        yield f"the limit of {op.name} is above {MAX_LIMIT}"
    yield from _vectors(op, found, names)


def _vectors(op: Any, found: dict[str, Any], names: list[str]) -> Iterator[str]:
    if op.name == "agent.recall" and (found.get("by") == "vector") != ("model" in found):
        yield "agent.recall names a model by vector, and only then"
    if op.name == "stage.lookup" and (found.get("by") == "vector") != ("vector" in names):
        yield "stage.lookup reads a vector by vector, and only then"
    for index, operand in enumerate(op.operands):
        is_vector = str(operand.type) == "!stage.vector"
        if is_vector != (index < len(names) and names[index] == "vector"):
            yield f"operand {index} of {op.name} and the name `vector` do not go together"
