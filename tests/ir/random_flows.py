"""Random workflows, as data that can be traced and that can be carried out line by line.

A flow is a list of statements over numbered text values. `carried_out` runs it the obvious way,
one statement after the other, with plain functions for tools and model: what an author expects.
`traced` writes the same with the public combinators.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

import gangline as gl
from gangline.ir.module import Module

_numbers = itertools.count()


@dataclass(frozen=True)
class Statement:
    """One line: `kind`, the numbers of the values it reads, and blocks inside it."""

    kind: str
    reads: tuple[int, ...]
    blocks: tuple[Block, ...] = ()
    number: int = 0


@dataclass(frozen=True)
class Block:
    """Statements, each of which makes the next value, and the values it gives back, joined."""

    statements: tuple[Statement, ...]
    gives: tuple[int, ...]


@dataclass
class World:
    """What tools change and see, and how often work was done that passes may save."""

    written: list[str] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)

    def count(self, kind: str) -> None:
        self.calls[kind] = self.calls.get(kind, 0) + 1

    def pure(self, left: str, right: str) -> str:
        self.count("pure")
        return f"({left}+{right})"[-40:]

    def read(self, text: str) -> str:
        return f"{text}@{len(self.written)}"[-40:]

    def write(self, text: str) -> str:
        self.written.append(text)
        return f"w{len(self.written)}"

    def model(self, prompt: str, seed: int | None) -> str:
        self.count("llm")
        return hashlib.blake2b(f"{prompt}|{seed or 0}".encode(), digest_size=1).hexdigest()


@gl.tool(effects="none")
def fuzz_pure(left: str, right: str) -> str:
    """Only its name and signature are used."""
    raise NotImplementedError


@gl.tool(effects="read")
def fuzz_read(text: str) -> str:
    """Only its name and signature are used."""
    raise NotImplementedError


@gl.tool(effects="write")
def fuzz_write(text: str) -> str:
    """Only its name and signature are used."""
    raise NotImplementedError


@gl.llm(model="m", max_tokens=8)
def fuzz_greedy(text: str) -> str:
    """Say {text}"""
    raise NotImplementedError


@gl.llm(model="m", max_tokens=8)
def fuzz_seeded(text: str, seed: int) -> str:
    """Say {text}"""
    raise NotImplementedError


_LEAVES = ("constant", "pure", "pure", "read", "read", "write", "greedy", "seeded")
_CONTROL = ("branch", "map", "loop", "call")
_BLOCKS = {"branch": 2, "map": 1, "loop": 1, "call": 1}
_ARGUMENTS = {"branch": 0, "map": 1, "loop": 1, "call": 1}


@st.composite
def flows(draw: st.DrawFn, leaves: Sequence[str] = _LEAVES) -> Block:
    """Draw a flow of one input, value 0; `leaves` are the kinds without blocks it may have."""
    return _block(draw, 1, 0, leaves, writes=True)


def _block(
    draw: st.DrawFn, known: int, depth: int, leaves: Sequence[str], *, writes: bool
) -> Block:
    statements = []
    for _ in range(draw(st.integers(1, 6 if depth == 0 else 3))):
        kinds = [kind for kind in leaves if writes or kind != "write"]
        kind = draw(st.sampled_from([*kinds, *_CONTROL] if depth < 2 else kinds))
        reads = tuple(draw(st.integers(0, known - 1)) for _ in range(3))
        # The items of a map run side by side: what they wrote would have no order.
        inside = writes and kind != "map"
        more = known + _ARGUMENTS.get(kind, 0)
        if kind == "call":
            more = 1  # a nested workflow sees its own input only
        blocks = tuple(
            _block(draw, more, depth + 1, leaves, writes=inside)
            for _ in range(_BLOCKS.get(kind, 0))
        )
        statements.append(Statement(kind, reads, blocks, draw(st.integers(0, 2))))
        known += 1
    gives = draw(st.lists(st.integers(0, known - 1), min_size=1, max_size=4))
    return Block(tuple(statements), tuple(gives))


def carried_out(block: Block, values: Sequence[str], world: World) -> str:
    """Run a block the obvious way."""
    known = list(values)
    for statement in block.statements:
        known.append(_done(statement, known, world))
    return "".join(known[number][-9:] for number in block.gives)


def _done(statement: Statement, known: list[str], world: World) -> str:
    one, other, third = (known[number] for number in statement.reads)
    number, blocks = statement.number, statement.blocks
    match statement.kind:
        case "constant":
            return f"c{number}"
        case "pure":
            return world.pure(one, other)
        case "read":
            return world.read(one)
        case "write":
            return world.write(one)
        case "greedy":
            return world.model(f"Say {one}", None)
        case "seeded":
            return world.model(f"Say {one}", number)
        case "branch":
            return carried_out(blocks[0 if one == other else 1], known, world)
        case "map":
            items = [one, other, third][:number]
            return "".join(carried_out(blocks[0], [*known, item], world)[-9:] for item in items)
        case "loop":
            value = one
            for _ in range(number + 1):
                if value == other:
                    break
                value = carried_out(blocks[0], [*known, value], world)
            return value
        case _:
            return carried_out(blocks[0], [one], world)


@gl.tool(effects="none")
def fuzz_joined(parts: list[str]) -> str:
    """Only its name and signature are used."""
    raise NotImplementedError


def traced(block: Block) -> Module:
    """Trace the same flow through the public combinators."""
    made: Module = _workflow(block).trace()
    return made


def _workflow(block: Block) -> Any:
    def flow(text: str) -> str:
        return _written(block, [text])

    flow.__name__ = flow.__qualname__ = f"fuzz_{next(_numbers)}"
    return gl.workflow(flow)


def _written(block: Block, values: Sequence[Any]) -> str:
    known = list(values)
    for statement in block.statements:
        known.append(_line(statement, known))
    return fuzz_joined([known[number] for number in block.gives])


def _line(statement: Statement, known: list[Any]) -> Any:
    one, other, third = (known[number] for number in statement.reads)
    number, blocks = statement.number, statement.blocks

    def inner(which: int) -> Callable[[], Any]:
        return lambda: _written(blocks[which], known)

    def body(item: Any) -> Any:
        return _written(blocks[0], [*known, item])

    match statement.kind:
        case "constant":
            return f"c{number}"
        case "pure":
            return fuzz_pure(one, other)
        case "read":
            return fuzz_read(one)
        case "write":
            return fuzz_write(one)
        case "greedy":
            return fuzz_greedy(one)
        case "seeded":
            return fuzz_seeded(one, seed=number)
        case "branch":
            return gl.branch(one == other, inner(0), inner(1))
        case "map":
            return fuzz_joined(gl.map(body, [one, other, third][:number]))
        case "loop":
            return gl.loop(body, one, until=lambda value: value == other, max_trips=number + 1)
        case _:
            return _workflow(blocks[0])(one)
