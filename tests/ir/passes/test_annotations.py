"""Annotations: of nested control, of functions called twice, and in linear time."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.ir.builder import build
from gangline.ir.compiler import to_stages
from gangline.ir.critical_path import paths
from gangline.ir.decoding import decode_program, skeleton
from gangline.ir.graph import Block, Function, Input, Node, Value
from gangline.ir.module import Module, walk
from gangline.ir.passes import AnnotateResources, CriticalPath, InsertTransfers, run
from gangline.ir.specs.resources import Resources
from gangline.ir.verifier import verify
from gangline.ir.visits import visits
from tests.ir.passes.flows import Flow

seeds = st.integers(min_value=0, max_value=10**9)
unhurried = settings(deadline=None)
FACTORS = {"branch": 0.25, "loop": 2.0, "map": 3.0}


def factors_of(module: Module) -> dict[str, float]:
    return {s.name: FACTORS[s.op] for s in decode_program(module).stages if s.op in FACTORS}


def annotation(op: Any, name: str) -> Any:
    key = f"agent.{name}"
    return op.attributes[key].value if key in op.attributes else None


@unhurried
@given(seeds)
def test_a_skeleton_has_the_shape_of_the_program(seed: int) -> None:
    module = Flow(seed).module()
    program, shape = decode_program(module), skeleton(module)
    for stage, found in zip(program.stages, shape.program.stages, strict=True):
        assert (stage.op, stage.name, stage.operands) == (found.op, found.name, found.operands)
        assert (stage.results, stage.regions) == (found.results, found.regions)
    assert program.regions == shape.program.regions
    for number, op in enumerate(shape.ops):
        assert shape.ops[shape.first[number]] == op
    leaves = [op for f in module.functions() for op in walk(f) if op.name == "stage.tool"]
    assert sum(shape.ops[number].name == "stage.tool" for number in set(shape.first)) == len(leaves)


@unhurried
@given(seeds)
def test_visits_and_needs_of_calls_add_up(seed: int) -> None:
    module = Flow(seed).module()
    program, factors = decode_program(module), factors_of(module)
    rows = {
        stage.name: Resources(flops=float(10 + stage.id), cpu_seconds=0.5)
        for stage in program.stages
        if stage.op in ("prefill", "tool")
    }
    expected = {row.stage.name: row.visits for row in visits(program, factors)}
    run(module, [AnnotateResources(rows, factors)])
    verify(module, level="stage")
    ops = [op for f in module.functions() for op in walk(f)]
    total = sum(
        (annotation(op, "flops") or 0.0) * annotation(op, "visits")
        for op in ops
        if op.name in ("stage.prefill", "stage.tool")
        if "agent.visits" in op.attributes
    )
    assert total == pytest.approx(sum(rows[name].flops * expected[name] for name in rows), rel=1e-4)
    trips = {annotation(op, "trips") for op in ops if op.name == "scf.while"}
    assert trips <= {2.0, None}


@unhurried
@given(seeds)
def test_times_are_those_of_the_one_algorithm(seed: int) -> None:
    module = Flow(seed).module()
    program, factors = decode_program(module), factors_of(module)
    seconds = {stage.name: 1.0 + stage.id % 3 for stage in program.stages}
    run(module, [CriticalPath(seconds, factors)])
    verify(module, level="stage")
    found = paths(program, {s.id: seconds[s.name] for s in program.stages}, factors)
    shape = skeleton(module)
    for number, times in found.stages().items():
        op = shape.ops[number]
        if list(shape.first).count(shape.first[number]) == 1:
            slack = found.seconds - times.longest_s
            assert annotation(op, "slack_s") == pytest.approx(slack, abs=1e-4)
            assert annotation(op, "critical") == times.critical
            assert annotation(op, "deadline_share") == pytest.approx(times.deadline_share, abs=2e-6)
            assert annotation(op, "deadline_share") <= times.deadline_share + 1e-12


def test_a_transfer_moves_the_bytes_of_the_result_it_reads() -> None:
    module = Flow(3).module()
    program = decode_program(module)
    by_op = {"tokenize": "a", "prefill": "b", "decode": "c", "detokenize": "c", "tool": "c"}
    placement = {s.name: by_op[s.op] for s in program.stages if s.op in by_op}
    made = {"prefill": Resources(kv_bytes=7e6, result_bytes=7e6)}
    made["tokenize"] = Resources(result_bytes=1600.0)
    rows = {s.name: made[s.op] for s in program.stages if s.op in made}
    run(module, [InsertTransfers(placement), AnnotateResources(rows)])
    ops = [op for f in module.functions() for op in walk(f)]
    caches = [op for op in ops if op.name == "stage.kv_transfer"]
    tokens = [
        op for op in ops if op.name == "stage.transfer" and "tokens" in str(op.operands[0].type)
    ]
    assert caches and {annotation(op, "network_bytes") for op in caches} == {7e6}
    assert tokens and {annotation(op, "network_bytes") for op in tokens} == {1600.0}


def long_chain(llms: int) -> Module:
    """Twenty chains of llm calls side by side that one tool joins."""
    topic, last = Value("text"), Value("text")
    block, heads = Block((topic,)), [topic] * 20
    attrs: dict[str, Any] = {"names": ["a"], "template": [{"role": "user", "text": "Do {a}"}]}
    attrs |= {"model": "smollm2-135m", "max_tokens": 100, "format": "text"}
    for number in range(llms):
        made = Value("text")
        given = (heads[number % 20],)
        block.nodes.append(Node("agent.llm", given, {**attrs, "name": f"l{number}"}, made))
        heads[number % 20] = made
    tool: dict[str, Any] = {"name": "join", "names": [f"a{n}" for n in range(20)], "tool": "join"}
    tool |= {"signature": "s", "effects": "none", "timeout_s": 1.0, "retries": 0}
    block.nodes.append(Node("agent.tool", tuple(heads), {**tool, "idempotent": True}, last))
    block.yields = (last,)
    return to_stages(build([Function("f", (Input("topic", "text"),), block)]), passes=())


def annotate_s(llms: int) -> float:
    """Least CPU seconds of three tries to place and annotate 4 x `llms` operations."""
    module = long_chain(llms)
    program = decode_program(module)
    rows = {s.name: Resources(1e9, 1e9, 1e6, input_tokens=10.0) for s in program.stages}
    placement = {s.name: "b" if "code" in s.op else "a" for s in program.stages}
    tries = []
    for _ in range(3):
        own = module.copy()
        start_s = time.process_time()
        run(own, [InsertTransfers(placement), AnnotateResources(rows), CriticalPath()])
        tries.append(time.process_time() - start_s)
    return min(tries)


def test_annotating_takes_linear_time() -> None:
    assert annotate_s(2500) < 30 * annotate_s(250)
