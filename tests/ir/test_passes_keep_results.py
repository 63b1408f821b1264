"""Passes change what is computed and when it may begin, never what comes out."""

from __future__ import annotations

import os

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
from tests.ir.flow_runs import compare, dispatched
from tests.ir.random_flows import Block, Statement, World, flows, traced

EXAMPLES = int(os.environ.get("GANGLINE_FUZZ", "60"))

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
    compare(flow, PIPELINES, seed)


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
