"""Stages taken apart: valid, of the whole's cost, and put together from all their parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.ir.decoding import decode_program
from gangline.ir.module import Module, walk
from gangline.ir.passes import (
    AnnotateResources,
    CriticalPath,
    DecomposeExperts,
    DecomposeTensorParallel,
    Draft,
    Experts,
    InsertTransfers,
    Pass,
    Speculate,
    run,
)
from gangline.ir.passes.parts import SUMMED
from gangline.ir.specs.resources import Resources
from gangline.ir.verifier import verify, violations
from tests.ir.passes.flows import Flow

MODEL = "smollm2-135m"
seeds = st.integers(min_value=0, max_value=10**9)
unhurried = settings(deadline=None, max_examples=60)


def annotated(seed: int) -> Module:
    """Draw a module whose prefills are on one device and decodes on another, with made-up needs."""
    module = Flow(seed).module()
    program = decode_program(module)
    rows = {
        stage.name: Resources(*(1e9 * (1 + len(stage.name)), 3e9, 5e6), input_tokens=400.0)
        for stage in program.stages
        if stage.op in ("prefill", "decode")
    }
    placement = {s.name: "b" if s.op in ("decode", "detokenize") else "a" for s in program.stages}
    seconds = dict.fromkeys(rows, 1.0)
    passes = [InsertTransfers(placement), AnnotateResources(rows), CriticalPath(seconds)]
    return run(module, passes)


def degrees_of(module: Module, degree: int) -> dict[str, int]:
    return {stage.name: degree for stage in decode_program(module).stages}


def sums(module: Module) -> dict[str, float]:
    """Add up what is written beside all operations but moves and collectives, visits counted."""
    found = dict.fromkeys(SUMMED, 0.0)
    for function in module.functions():
        for op in walk(function):
            if "transfer" in op.name or op.name == "stage.all_reduce":
                continue
            times = op.attributes["agent.visits"].value if "agent.visits" in op.attributes else 0.0
            for key in SUMMED:
                if key in op.attributes:
                    found[key] += times * op.attributes[key].value
    return found


def names(module: Module) -> list[str]:
    return [op.name for function in module.functions() for op in walk(function)]


@unhurried
@given(seeds, st.integers(min_value=2, max_value=5), st.sampled_from(["shards", "experts", "both"]))
def test_parts_are_valid_and_sum_to_the_whole(seed: int, degree: int, kind: str) -> None:
    module = annotated(seed)
    whole, degrees = sums(module), degrees_of(module, degree)
    passes: dict[str, list[Pass]] = {
        "shards": [DecomposeTensorParallel(degrees, {MODEL: 10.0})],
        "experts": [DecomposeExperts({MODEL: Experts(4, 2)})],
        "both": [DecomposeExperts({MODEL: Experts(3, 1)}, degrees, {MODEL: 10.0})],
    }
    run(module, passes[kind])
    verify(module, level="stage")
    assert sums(module) == pytest.approx(whole, rel=1e-4)
    assert not {"stage.prefill", "stage.decode"} & set(names(module))
    once = module.text
    assert run(module, passes[kind]).text == once


@unhurried
@given(seeds)
def test_drafts_are_valid_and_leave_the_large_models_cost(seed: int) -> None:
    module = annotated(seed)
    whole, decodes = sums(module), names(module).count("stage.decode")
    speculate = Speculate({MODEL: Draft("tiny", 4)})
    run(module, [speculate])
    verify(module, level="stage")
    assert sums(module) == pytest.approx(whole, rel=1e-6)
    assert names(module).count("stage.verify") == names(module).count("stage.draft") == decodes
    once = module.text
    assert run(module, [speculate]).text == once


def ops(module: Module, name: str) -> list[Any]:
    return [op for function in module.functions() for op in walk(function) if op.name == name]


def flow_with_an_llm() -> Module:
    return next(module for seed in range(100) if "stage.decode" in names(module := annotated(seed)))


def test_a_ring_sends_each_state_twice_less_its_own_part() -> None:
    module = flow_with_an_llm()
    run(module, [DecomposeTensorParallel(degrees_of(module, 4), {MODEL: 10.0})])
    sent = {op.attributes["name"].value: op for op in ops(module, "stage.all_reduce")}
    prefill = next(op for name, op in sent.items() if ".prefill." in name)
    # 4 devices each send 2 x 3/4 of 400 tokens x 10 bytes.
    assert prefill.attributes["agent.network_bytes"].value == 4 * 2 * 3 / 4 * 400 * 10


def test_shards_have_devices_and_seconds_of_their_own_and_the_rest_takes_no_time() -> None:
    module = flow_with_an_llm()
    run(module, [DecomposeTensorParallel(degrees_of(module, 2))])
    shards = ops(module, "stage.decode_shard")[:2]
    assert [op.attributes["agent.device"].value for op in shards] == ["b/0", "b/1"]
    assert all(op.attributes["agent.seconds"].value == 1.0 for op in shards)
    for name in ("stage.sample", "stage.join_kv", "stage.all_reduce"):
        assert not any("agent.seconds" in op.attributes for op in ops(module, name))


def test_a_degree_of_one_and_other_models_stay_whole() -> None:
    module = flow_with_an_llm()
    before = module.text
    passes: list[Pass] = [
        DecomposeTensorParallel(degrees_of(module, 1)),
        DecomposeExperts({"other": Experts(2, 1)}),
        Speculate({"other": Draft("tiny", 4)}),
    ]
    assert run(module, passes).text == before


@pytest.mark.parametrize("name", ["stage.join_kv", "stage.all_reduce", "stage.merge"])
def test_a_missing_part_is_an_error(name: str) -> None:
    module = flow_with_an_llm()
    run(module, [DecomposeExperts({MODEL: Experts(2, 1)}, degrees_of(module, 2))])
    text = module.text
    (line, *_) = [row for row in text.splitlines() if f'"{name}"' in row]
    head, _, tail = line.partition('"(')
    operands, _, rest = tail.partition(")")
    types = rest.rpartition(": (")[2].partition(")")[0]
    fewer = line.replace(f"({operands})", f"({operands.rpartition(', ')[0]})", 1)
    fewer = fewer.replace(f": ({types})", f": ({types.rpartition(', ')[0]})", 1)
    assert fewer != line and head
    found = [error.detail for error in violations(Module.parse(text.replace(line, fewer)))]
    assert any(name in detail for detail in found)
