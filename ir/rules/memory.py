"""Rules of memory operations: their names, their spaces, and whether there is an embedding."""

from __future__ import annotations

from collections.abc import Iterator

from gangline.ir.errors import VerifyError
from gangline.ir.specs.memory import MAX_LIMIT, SPACE_RULE, is_space

from .facts import Facts, Rule

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


def memory_names_its_operands(facts: Facts) -> Iterator[VerifyError]:
    """A memory operation names what it reads or keeps."""
    for found in facts.of(*_OPERANDS):
        if tuple(found.names) not in _OPERANDS[found.name]:
            yield found.error(f"{found.name} cannot name its operands {', '.join(found.names)}")


def spaces_are_spaces(facts: Facts) -> Iterator[VerifyError]:
    """The name of a space can be one, and a lookup is bounded."""
    for found in facts.of(*_OPERANDS):
        space, limit = found.attrs.get("space"), found.attrs.get("limit")
        if isinstance(space, str) and not is_space(space):
            yield found.error(f"the space of {found.name} is {space!r}, not {SPACE_RULE}")
        if isinstance(limit, int) and limit > MAX_LIMIT:
            yield found.error(f"the limit of {found.name} is above {MAX_LIMIT}")


def vectors_are_in_place(facts: Facts) -> Iterator[VerifyError]:
    """A lookup by vector, and it alone, has a model; a vector is the operand of that name."""
    for found in facts.of(*_OPERANDS):
        by_vector = found.attrs.get("by") == "vector"
        if found.name == "agent.recall" and by_vector != ("model" in found.given):
            yield found.error("agent.recall names a model by vector, and only then")
        if found.name == "stage.lookup" and by_vector != ("vector" in found.names):
            yield found.error("stage.lookup reads a vector by vector, and only then")
        for index, operand in enumerate(found.operands):
            is_vector = facts.kind(operand) == "vector"
            if is_vector != (index < len(found.names) and found.names[index] == "vector"):
                yield found.error(
                    f"operand {index} of {found.name} and the name `vector` do not go together"
                )


RULES: tuple[Rule, ...] = (memory_names_its_operands, spaces_are_spaces, vectors_are_in_place)
