"""Random workflows drawn from a seed, as stage-level modules: llms, tools and all control."""

from __future__ import annotations

import random
from typing import Any

from gangline.ir.builder import build
from gangline.ir.compiler import to_stages
from gangline.ir.graph import Block, Function, Input, Node, Value
from gangline.ir.module import Module

_CONTROL = ("branch", "map", "loop", "call")


class Flow:
    """One workflow of text values; `helper` is called from anywhere, several times."""

    def __init__(self, seed: int, size: int = 5) -> None:
        self.random = random.Random(seed)
        self.size = size
        self.names = 0
        helper = self._function("helper", depth=2)
        main = self._function("main", depth=0)
        called = any(node.op == "agent.call" for node in main.body.walk())
        self.functions = [main, helper] if called else [main]

    def module(self) -> Module:
        return to_stages(build(self.functions), passes=())

    def _function(self, name: str, depth: int) -> Function:
        topic, items = Value("text"), Value("list")
        block = Block((topic, items))
        self._fill(block, [topic], items, depth)
        return Function(name, (Input("topic", "text"), Input("items", "list")), block)

    def _fill(self, block: Block, known: list[Value], items: Value, depth: int) -> None:
        known = list(known)
        for _ in range(self.random.randint(1, self.size)):
            kind = self.random.choice(["tool"] * 3 + ["llm"] * 2 + ["compute"])
            if depth < 2 and self.random.random() < 0.4:
                kind = self.random.choice(_CONTROL)
            known.append(getattr(self, f"_{kind}")(block, known, items, depth))
        block.yields = (self.random.choice(known[-3:]),)

    def _add(self, block: Block, op: str, given: Any, attrs: dict[str, Any], **more: Any) -> Value:
        result = Value("text")
        self.names += 1
        if op != "agent.compute":
            attrs = {"name": f"{op.removeprefix('agent.')}{self.names}", **attrs}
        block.nodes.append(Node(op, tuple(given), attrs, result, **more))
        return result

    def _some(self, known: list[Value]) -> list[Value]:
        return [self.random.choice(known) for _ in range(self.random.randint(1, 2))]

    def _tool(self, block: Block, known: list[Value], items: Value, depth: int) -> Value:
        given = self._some(known)
        names = [f"a{index}" for index in range(len(given))]
        row = {"effects": "read", "timeout_s": 1.0, "retries": 0, "idempotent": True}
        attrs = {"names": names, "tool": "t", "signature": "s", **row}
        return self._add(block, "agent.tool", given, attrs)

    def _llm(self, block: Block, known: list[Value], items: Value, depth: int) -> Value:
        given = self._some(known)
        names = [f"a{index}" for index in range(len(given))]
        words = " ".join(f"{{{name}}}" for name in names)
        attrs = {"names": names, "template": [{"role": "user", "text": words}]}
        attrs |= {"model": "smollm2-135m", "max_tokens": 10, "format": "text"}
        return self._add(block, "agent.llm", given, attrs)

    def _compute(self, block: Block, known: list[Value], items: Value, depth: int) -> Value:
        given = [self.random.choice(known) for _ in range(2)]
        return self._add(block, "agent.compute", given, {"fn": "add"})

    def _call(self, block: Block, known: list[Value], items: Value, depth: int) -> Value:
        given = [self.random.choice(known), items]
        return self._add(block, "agent.call", given, {"callee": "helper"})

    def _inner(self, known: list[Value], items: Value, depth: int, *given: Value) -> Block:
        block = Block(given)
        self._fill(block, [*known, *given], items, depth + 1)
        return block

    def _truth(self, block: Block, value: Value) -> Value:
        result = Value("bool")
        block.nodes.append(Node("agent.compute", (value, value), {"fn": "eq"}, result))
        return result

    def _branch(self, block: Block, known: list[Value], items: Value, depth: int) -> Value:
        given = [self._truth(block, self.random.choice(known))]
        sides = tuple(self._inner(known, items, depth) for _ in range(2))
        return self._add(block, "branch", given, {}, blocks=sides)

    def _map(self, block: Block, known: list[Value], items: Value, depth: int) -> Value:
        body = self._inner(known, items, depth, Value("text"))
        self.names += 1
        listing = Value("list")
        block.nodes.append(Node("map", (items,), {"name": f"map{self.names}"}, listing, (body,)))
        row = {"effects": "read", "timeout_s": 1.0, "retries": 0, "idempotent": True}
        attrs = {"names": ["all"], "tool": "t", "signature": "s", **row}
        return self._add(block, "agent.tool", [listing], attrs)

    def _loop(self, block: Block, known: list[Value], items: Value, depth: int) -> Value:
        state = Value("text")
        test = Block((state,))
        self._tool(test, [*known, state], items, depth)
        test.yields = (self._truth(test, state),)
        body = self._inner(known, items, depth, Value("text"))
        given = [self.random.choice(known)]
        return self._add(block, "loop", given, {"max_trips": 3}, blocks=(test, body))
