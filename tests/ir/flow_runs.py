"""A run of a random workflow's program on the dispatcher's interpreter, with fake work."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from gangline.ir.compiler import compile_module
from gangline.ir.passes import Pass
from gangline.ir.program import Program
from gangline.runtime.dispatch.interpreter import Activation, Interpreter
from gangline.runtime.dispatch.planned_steps import checked_plan
from gangline.runtime.dispatch.prompt import render
from tests.ir.random_flows import Block, World, carried_out, shown, traced

ORDERS = range(4)
"""Orders of ready steps that are no chance (`dispatched`)."""


def compare(flow: Block, pipelines: Mapping[str, Iterable[Pass]], seed: int) -> None:
    """Fail where a pipeline of passes makes a flow do other than the obvious order does."""
    expected = World()
    output = carried_out(flow, ["q"], expected)
    module, worlds = traced(flow), dict[str, World]()
    for name, passes in pipelines.items():
        program = compile_module(module, passes)
        for order in (*ORDERS, seed):
            world = worlds[name] = World()
            assert dispatched(program, "q", world, order) == output, (name, order)
            assert world.written == expected.written, (name, order)
            assert world.reads.keys() == expected.reads.keys(), (name, order)
            assert len(set(world.acts)) == len(world.acts), name
        for kind, count in world.calls.items():
            # A branch or a map may hold what another place computes too, never more of it.
            assert count <= expected.calls.get(kind, 0), f"{name}: more {kind}"
    # Inlined steps are called what they are in a call, but for the numbers of equal names: those
    # change where a step without effects is saved.
    for name in {"none", "inline", "inline a little"}.intersection(pipelines):
        assert _plain(worlds[name].acts) == _plain(worlds["none"].acts), name


def _plain(steps: Iterable[str]) -> Counter[str]:
    return Counter(re.sub(r"#\d+", "", step) for step in steps)


def dispatched(program: Program, text: str, world: World, seed: int) -> Any:
    """Run a program on the dispatcher's interpreter.

    Of the ready steps the next is that which became ready first or last (seeds 0 and 1), one that
    reads or one that writes where there is one (2 and 3), or any.
    """
    interpreter, order, ready = Interpreter(program), random.Random(seed), list[Activation]()
    interpreter.start([text])
    # Invariant: every step is in `ready` once, and finished once.
    while True:
        ready += interpreter.ready
        interpreter.ready.clear()
        if not ready:
            break
        step = ready.pop(_next(ready, seed, order))
        if step.stage.op == "expand" or _effect(step) != "none":
            world.acts.append(step.id)
        interpreter.finish(step, result(step, world))
    assert interpreter.error is None and interpreter.output is not None
    return interpreter.output.value


def _next(ready: list[Activation], seed: int, order: random.Random) -> int:
    if seed < 2:
        return -seed
    wanted = {2: "read", 3: "write"}.get(seed)
    found = [at for at, step in enumerate(ready) if _effect(step) == wanted]
    return order.choice(found or range(len(ready)))


def _effect(step: Activation) -> str:
    effects = {"ask": "read", "lookup": "read", "store": "write", "observe": "write"}
    found = effects.get(step.stage.op) or step.stage.attributes.get("effects", "none")
    return str(found)


def result(step: Activation, world: World) -> Any:
    attributes, operands = step.stage.attributes, step.operands
    match step.stage.op:
        case "tokenize":
            named = dict(zip(attributes["names"], operands, strict=False))
            (message,) = render(attributes["template"], named)
            return list(message["content"].encode())
        case "prefill":
            world.count("prefill")
            return None
        case "decode":
            named = dict(zip(attributes["names"], operands[1:], strict=False))
            prompt = bytes(operands[0].tokens).decode()
            return {"text": world.model(prompt, named.get("seed", attributes.get("seed")))}
        case "detokenize":
            return operands[0]["text"]
        case "ask":
            return world.read(f"{operands[0]}?")
        case "lookup":
            return [{"key": world.read(operands[0])}]
        case "store":
            return world.write(f"{operands[1]}={operands[0]}")
        case "observe":
            return world.write(operands[0])
        case "expand":
            rows, most = attributes["tools"], attributes["max_steps"]
            return {"steps": checked_plan(operands[0], rows, most, step.stage.where)}
    match attributes["tool"].rpartition(".")[2]:
        case "fuzz_pure":
            return world.pure(operands[0], operands[1])
        case "fuzz_read":
            return world.read(operands[0])
        case "fuzz_write":
            return world.write(operands[0])
        case "fuzz_shown":
            return shown(operands[0])
        case _:
            return "".join(part[-9:] for part in operands[0])
