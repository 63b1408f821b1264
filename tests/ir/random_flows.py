"""Random workflows, as data that can be traced and that can be carried out line by line.

A flow is a list of statements over numbered text values. `carried_out` runs it the obvious way,
one statement after the other, with plain functions for tools and model: what an author expects.
`traced` writes the same with the public combinators.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
    """What tools change and see, how often work was done that passes may save; ids of steps with effects."""

    written: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    reads: Counter[tuple[str, int]] = field(default_factory=Counter)
    acts: list[str] = field(default_factory=list)

    def count(self, kind: str) -> None:
        self.calls[kind] += 1

    def pure(self, left: str, right: str) -> str:
        self.count("pure")
        return f"({left}+{right})"[-40:]

    def read(self, text: str) -> str:
        self.reads[text, len(self.written)] += 1
        return f"{text}@{len(self.written)}"[-40:]

    def write(self, text: str) -> str:
        self.written.append(text)
        return f"w{len(self.written)}"

    def agent(self, text: str) -> str:
        return self.read(self.write(text))

    def planned(self, steps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Carry a plan out in its own order."""
        found: dict[str, str] = {}
        for step in steps:
            text = step["arguments"]["text"]
            called = getattr(self, step["tool"].removeprefix("fuzz_"))
            found[step["id"]] = called(found[text["$ref"]] if isinstance(text, dict) else text)
        return found

    def model(self, prompt: str, seed: int | None) -> str:
        """Answer by chance, and write one of `PLANS` where it is asked to plan."""
        self.count("llm")
        if prompt.startswith("Plan "):
            return json.dumps(PLANS[sum(prompt.encode()) % len(PLANS)])
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


@gl.agent
def fuzz_agent(text: str) -> str:
    """An agent that a plan may call."""
    return fuzz_read(fuzz_write(text))


PLANS: tuple[list[dict[str, Any]], ...] = (
    [{"id": "a", "tool": "fuzz_read", "arguments": {"text": "p"}}],
    [
        {"id": "a", "tool": "fuzz_write", "arguments": {"text": "p"}},
        {"id": "b", "tool": "fuzz_read", "arguments": {"text": {"$ref": "a"}}},
        {"id": "c", "tool": "fuzz_write", "arguments": {"text": "q"}},
    ],
    [
        {"id": "a", "tool": "fuzz_agent", "arguments": {"text": "p"}},
        {"id": "b", "tool": "fuzz_read", "arguments": {"text": "q"}},
    ],
)


@gl.tool(effects="none")
def fuzz_shown(value: Any) -> str:
    """Only its name and signature are used."""
    raise NotImplementedError


def shown(value: Any) -> str:
    """What `fuzz_shown` gives: any value as text."""
    return str(value)[-40:]


@gl.llm(model="m", max_tokens=8)
def fuzz_greedy(text: str) -> str:
    """Say {text}"""
    raise NotImplementedError


@gl.llm(model="m", max_tokens=8)
def fuzz_seeded(text: str, seed: int) -> str:
    """Say {text}"""
    raise NotImplementedError


@gl.llm(model="m", max_tokens=8)
def fuzz_begun(text: str, other: str, third: str) -> str:
    """Say {text} of {other} to {third}, {text}"""
    raise NotImplementedError


@gl.llm(model="m", max_tokens=8)
def fuzz_planner(text: str) -> str:
    """Plan {text}"""
    raise NotImplementedError


_READS = ("read", "read", "ask", "recall")
_WRITES = ("write", "write", "remember", "observe", "plan", "planner")
_LEAVES = ("constant", "pure", "pure", *_READS, *_WRITES, "greedy", "seeded", "begun")
_CONTROL = ("branch", "map", "loop", "call", "call")
_BLOCKS = {"branch": 2, "map": 1, "loop": 1, "call": 1}
_ARGUMENTS = {"branch": 0, "map": 1, "loop": 1, "call": 1}


@st.composite
def flows(draw: st.DrawFn, leaves: Sequence[str] = _LEAVES) -> Block:
    """Draw a flow of one input, value 0; `leaves` are the kinds without blocks it may have."""
    few = tuple(kind for kind in ("read", "write") if kind in leaves)
    # Of many kinds two that depend on each other are rarely side by side.
    drawn = draw(st.sampled_from((leaves, few))) if len(few) == 2 else leaves
    return _Author(draw, drawn).block(1, 0, writes=True)


class _Author:
    """Draws blocks; keeps those of agents, which are called again elsewhere."""

    def __init__(self, draw: st.DrawFn, leaves: Sequence[str]) -> None:
        self.draw, self.leaves = draw, leaves
        self.agents: list[tuple[Block, int, bool]] = []

    def block(self, known: int, depth: int, *, writes: bool) -> Block:
        draw, statements = self.draw, []
        for _ in range(draw(st.integers(1, 6 if depth == 0 else 3))):
            kinds = [kind for kind in self.leaves if writes or kind not in _WRITES]
            kind = draw(st.sampled_from([*kinds, *_CONTROL] if depth < 2 else kinds))
            reads = tuple(draw(st.integers(0, known - 1)) for _ in range(3))
            number = draw(st.integers(0, 2))
            if kind == "call":
                block, number = self.agent(number, depth + 1, writes=writes)
                blocks: tuple[Block, ...] = (block,)
            else:
                # The items of a map run side by side: what they wrote would have no order.
                inside = writes and kind != "map"
                more = known + _ARGUMENTS.get(kind, 0)
                count = range(_BLOCKS.get(kind, 0))
                blocks = tuple(self.block(more, depth + 1, writes=inside) for _ in count)
            statements.append(Statement(kind, reads, blocks, number))
            known += 1
        gives = draw(st.lists(st.integers(0, known - 1), min_size=1, max_size=4))
        return Block(tuple(statements), tuple(gives))

    def agent(self, inputs: int, depth: int, *, writes: bool) -> tuple[Block, int]:
        """Draw an agent of so many inputs, or one that was drawn before."""
        fit = [(found, count) for found, count, wrote in self.agents if writes or not wrote]
        again = st.one_of(st.none(), st.sampled_from(fit)) if fit else st.none()
        found = self.draw(again)
        if found is not None:
            return found
        # It sees its own inputs only, and a constant where it has none.
        made = self.block(max(inputs, 1), depth, writes=writes)
        self.agents.append((made, inputs, writes))
        return made, inputs


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
        case "ask":
            return world.read(f"{one}?")
        case "recall":
            return shown([{"key": world.read(one)}])
        case "write":
            return world.write(one)
        case "remember":
            return world.write(f"{one}={other}")
        case "observe":
            return shown(world.write(one))
        case "plan":
            return shown(world.planned(PLANS[number]))
        case "planner":
            return shown(world.planned(json.loads(world.model(f"Plan {one}", None))))
        case "greedy":
            return world.model(f"Say {one}", None)
        case "seeded":
            return world.model(f"Say {one}", number)
        case "begun":
            world.calls["prefill"] += min(number, 2)
            return world.model(f"Say {one} of {other} to {third}, {one}", None)
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
            return carried_out(blocks[0], [one, other][:number] or ["z"], world)


@gl.tool(effects="none")
def fuzz_joined(parts: list[str]) -> str:
    """Only its name and signature are used."""
    raise NotImplementedError


def traced(block: Block) -> Module:
    """Trace the same flow through the public combinators."""
    _agents.clear()
    made: Module = _workflow(block, 1).trace()
    return made


_agents: dict[int, Any] = {}


def _workflow(block: Block, inputs: int) -> Any:
    """Give the workflow of a block; a block that is called twice is one agent."""
    if id(block) not in _agents:

        def bare() -> str:
            return _written(block, ["z"])

        def one(text: str) -> str:
            return _written(block, [text])

        def two(text: str, other: str) -> str:
            return _written(block, [text, other])

        flow = (bare, one, two)[inputs]
        flow.__name__ = flow.__qualname__ = f"fuzz_{next(_numbers)}"
        _agents[id(block)] = gl.workflow(flow)
    return _agents[id(block)]


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
        case "ask":
            return gl.ask(one)
        case "recall":
            return fuzz_shown(gl.recall(one))
        case "write":
            return fuzz_write(one)
        case "remember":
            return gl.remember(other, key=one)
        case "observe":
            return fuzz_shown(gl.observe(one))
        case "plan":
            return _expanded(PLANS[number])
        case "planner":
            return _expanded(fuzz_planner(one))
        case "greedy":
            return fuzz_greedy(one)
        case "seeded":
            return fuzz_seeded(one, seed=number)
        case "begun":
            return _begun(one, other, third, number)
        case "branch":
            return gl.branch(one == other, inner(0), inner(1))
        case "map":
            return fuzz_joined(gl.map(body, [one, other, third][:number]))
        case "loop":
            return gl.loop(body, one, until=lambda value: value == other, max_trips=number + 1)
        case _:
            return _workflow(blocks[0], number)(*[one, other][:number])


def _begun(one: Any, other: Any, third: Any, number: int) -> Any:
    """Ask without a cache, with one, or with one that goes on from another."""
    if number == 0:
        return fuzz_begun(one, other, third)
    first = fuzz_begun.cache(text=one)
    if number == 1:
        return fuzz_begun(other=other, third=third, cache=first)
    return fuzz_begun(third=third, cache=fuzz_begun.cache(other=other, cache=first))


def _expanded(plan: Any) -> Any:
    granted: list[Any] = [fuzz_write, fuzz_agent]
    return fuzz_shown(gl.expand(plan, tools=[fuzz_read, *granted], granted=granted))
