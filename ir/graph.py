"""The graph a front end records: plain Python, no MLIR. `builder.build` turns it into a module.

Recording plain nodes first keeps tracing free of the compiler (a failed trace leaves no half
built operations behind) and gives tests and other front ends one small thing to write by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """One SSA value. Compared by identity; `type` is a key of `ops.TYPES`, such as `text`."""

    type: str


@dataclass(slots=True, eq=False)
class Block:
    """A straight line of nodes with its own arguments; `yields` are the values it gives back."""

    arguments: tuple[Value, ...] = ()
    nodes: list[Node] = field(default_factory=list)
    yields: tuple[Value, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Yield every node of this block and of the blocks inside it, in order."""
        for node in self.nodes:
            yield node
            for block in node.blocks:
                yield from block.walk()


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation: an op of the table (`agent.tool`), or `branch`, `map` or `loop`.

    Control nodes hold blocks in the order of `ir.program`: branch(condition) has then, else;
    map(list) has body(item); loop(initial) has until(value), body(value).
    """

    op: str
    operands: tuple[Value, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    result: Value | None = None
    blocks: tuple[Block, ...] = ()
    where: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """One input of a function. `schema` is empty where the type says it all.

    `secret` marks a source that the policy pass keeps from external tools.
    """

    name: str
    type: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    required: bool = True
    default: Any = None
    secret: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A traced workflow. `body.arguments` are the inputs in order; it yields one value.

    `pattern` and `role` are those of a nested agent (`ops.PATTERNS`), where they are known.
    """

    name: str
    inputs: tuple[Input, ...]
    body: Block
    deadline_s: float | None = None
    budget_usd: float | None = None
    where: str = ""
    pattern: str | None = None
    role: str | None = None
