"""Passes change what is computed and when it may begin, never what comes out."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gangline.ir.compiler import compile_module
from gangline.ir.module import Module
from gangline.ir.passes import (
    DEFAULT_PASSES,
    CommonStages,
    DeadStages,
    HoistFromMaps,
    InlineAgents,
    Pass,
)
from gangline.ir.verifier import verify
from tests.ir.flow_runs import dispatched
from tests.ir.random_flows import Block, Statement, World, carried_out, flows, traced

EXAMPLES = int(os.environ.get("GANGLINE_FUZZ", "60"))

ORDERS = range(4)
"""Orders of ready steps that are no chance (`flow_runs.dispatched`)."""

PIPELINES: dict[str, tuple[Pass, ...]] = {
    "none": (),
    "common": (CommonStages(),),
    "dead": (DeadStages(),),
    "hoist": (HoistFromMaps(),),
    "inline": (InlineAgents(),),
    "inline a little": (InlineAgents(max_ops=6),),
    "all": DEFAULT_PASSES,
    "twice": (*DEFAULT_PASSES, *DEFAULT_PASSES),
}


READ, WRITE = Statement("read", (0, 0, 0)), Statement("write", (0, 0, 0))
CALL_OF_READ = Statement("call", (0, 0, 0), (Block((READ, WRITE), (1,)),), 1)


@given(flow=flows(), seed=st.integers(4, 99))
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
def test_results_and_writes_are_those_of_the_obvious_order(flow: Block, seed: int) -> None:
    expected = World()
    output = carried_out(flow, ["q"], expected)
    module, worlds = traced(flow), dict[str, World]()
    for name, passes in PIPELINES.items():
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
    for name in ("inline", "inline a little"):
        assert _plain(worlds[name].acts) == _plain(worlds["none"].acts), name


def _plain(steps: Iterable[str]) -> Counter[str]:
    return Counter(re.sub(r"#\d+", "", step) for step in steps)


def test_a_loop_without_a_trip_has_not_waited_for_what_was_before_it() -> None:
    write, read = Statement("write", (0, 0, 0)), Statement("read", (0, 0, 0))
    loop = Statement("loop", (0, 0, 0), (Block((write,), (0,)),))
    flow = Block((write, loop, read), (3,))
    program = compile_module(traced(flow), ())
    for seed in range(8):
        assert dispatched(program, "q", World(), seed) == "q@1"


def test_a_read_waits_for_the_write_behind_the_last_read_of_an_agent() -> None:
    agent = Block((WRITE, READ), (0,))
    for after, expected in (((READ,), "q@1"), ((CALL_OF_READ,), "q@1")):
        flow = Block((Statement("call", (0, 0, 0), (agent,), 1), *after), (2,))
        program = compile_module(traced(flow), (InlineAgents(),))
        for seed in range(16):
            assert dispatched(program, "q", World(), seed) == expected


@given(flow=flows())
@settings(deadline=None, max_examples=EXAMPLES // 2, suppress_health_check=[HealthCheck.too_slow])
def test_text_and_bytecode_come_back_as_they_were(flow: Block) -> None:
    module = traced(flow)
    for found in (Module.parse(module.text), Module.from_bytecode(module.bytecode)):
        verify(found, level="agent")
        assert found.text == module.text


class MergesReads(CommonStages):
    """A wrong pass: it takes reads for deterministic."""

    def apply(self, module: Module) -> None:
        for function in module.functions():
            seen: dict[Any, Any] = {}
            for op in [found.operation for found in function.regions[0].blocks[0].operations]:
                if op.name == "agent.tool" and op.attributes["effects"].value == "read":
                    first = seen.setdefault((op.attributes["tool"].value, op.operands[0]), op)
                    if first is not op:
                        op.results[0].replace_all_uses_with(first.results[0])
                        op.erase()


class DropsWrites(DeadStages):
    """A wrong pass: a write whose result nobody uses is gone."""

    def apply(self, module: Module) -> None:
        for function in module.functions():
            for found in reversed(list(function.regions[0].blocks[0].operations)):
                op = found.operation
                if op.name == "agent.tool" and not any(len(list(r.uses)) for r in op.results):
                    op.erase()


@pytest.mark.parametrize("wrong", [MergesReads(), DropsWrites()])
def test_wrong_passes_are_found(wrong: Pass) -> None:
    flow = Block((READ, WRITE, READ, WRITE), (1, 3))
    expected, world = World(), World()
    output = carried_out(flow, ["q"], expected)
    program = compile_module(traced(flow), (wrong,))
    found = dispatched(program, "q", world, 0)
    assert (found, world.written) != (output, expected.written)
