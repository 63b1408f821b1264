"""The longest path of a job, its shares and slack, against brute force and networkx."""

from __future__ import annotations

import math
from collections.abc import Iterator

import networkx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gangline.ir.critical_path import UNTIMED_OPS, paths
from gangline.ir.program import Program, Region, Stage
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.ir.visits import region_factors
from gangline.runtime.dispatch.remaining import Expectation
from tests.ir.programs import RandomProgram

seeds = st.integers(min_value=0, max_value=10**9)
unhurried = settings(deadline=None)
Path = tuple[tuple[int, float], ...]
"""Stages of one path with the seconds each takes of it."""


def timed(program: Program) -> list[Stage]:
    return [s for s in program.stages if not s.regions and s.op not in UNTIMED_OPS]


def inner_reads(program: Program, stage: Stage) -> set[int]:
    found = set(stage.operands)
    for region in stage.regions:
        found |= set(program.regions[region].yields)
        for inner in program.walk(region):
            found |= set(inner.operands)
            for nested in inner.regions:
                found |= set(program.regions[nested].yields)
    return found


def all_paths(drawn: RandomProgram, region: int, times: float) -> Iterator[Path]:
    """Yield every path through a region: each chain of readers, also those that end early."""
    program = drawn.program
    stages = [program.stages[at] for at in program.regions[region].stages]
    made = {value: stage for stage in stages for value in stage.results}

    def own(stage: Stage) -> list[Path]:
        if not stage.regions:
            if stage.op in UNTIMED_OPS:
                return [()]
            return [((stage.id, times * drawn.seconds[stage.id]),)]
        shares = (1.0,) if stage.op == "map" else region_factors(stage, drawn.factors)
        found: list[Path] = [()]
        for inner, share in zip(stage.regions, shares, strict=True):
            nested = list(all_paths(drawn, inner, times * share)) or [()]
            found = [(*head, *tail) for head in found for tail in nested]
        return found

    def up_to(stage: Stage) -> Iterator[Path]:
        before = {made[v].id: made[v] for v in inner_reads(program, stage) if v in made}
        heads = [head for producer in before.values() for head in up_to(producer)] or [()]
        for head in heads:
            for tail in own(stage):
                yield (*head, *tail)

    for stage in stages:
        yield from up_to(stage)


@unhurried
@given(seeds)
def test_longest_paths_and_shares_are_those_of_brute_force(seed: int) -> None:
    drawn = RandomProgram(seed, most=3)
    found = paths(drawn.program, drawn.seconds, drawn.factors)
    stages = found.stages()
    longest: dict[int, float] = {}
    total = 0.0
    for path in all_paths(drawn, 0, 1.0):
        length = sum(seconds for _, seconds in path)
        total = max(total, length)
        for number, _ in path:
            longest[number] = max(longest.get(number, 0.0), length)
        assert sum(stages[number].deadline_share for number, _ in path) <= 1.0 + 1e-9
    assert found.seconds == pytest.approx(total, abs=1e-9)
    for number, seconds in longest.items():
        assert stages[number].longest_s == pytest.approx(seconds, abs=1e-9)
    assert set(stages) == {stage.id for stage in timed(drawn.program)}


@unhurried
@given(seeds)
def test_shares_on_the_critical_path_sum_to_one(seed: int) -> None:
    drawn = RandomProgram(seed, most=6)
    found = paths(drawn.program, drawn.seconds, drawn.factors)
    stages = found.stages()
    path = [stage.id for stage in found.critical()]
    assert {number for number, row in stages.items() if row.critical} == set(path)
    assert all(stages[number].longest_s == pytest.approx(found.seconds) for number in path)
    if found.seconds > 0.0:
        assert sum(stages[number].deadline_share for number in path) == pytest.approx(1.0)
    assert all(0.0 <= row.deadline_share <= 1.0 + 1e-9 for row in stages.values())


@unhurried
@given(seeds)
def test_a_flat_job_is_a_longest_path_of_networkx(seed: int) -> None:
    drawn = RandomProgram(seed, flat=True, most=40)
    program = drawn.program
    graph = networkx.DiGraph()
    graph.add_nodes_from(stage.id for stage in program.stages)
    producers = program.producers()
    for stage in program.stages:
        own = 0.0 if stage.op in UNTIMED_OPS else drawn.seconds[stage.id]
        graph.add_edge(stage.id, "end", seconds=own)
        for value in stage.operands:
            if value in producers:
                before = producers[value]
                lasted = 0.0 if before.op in UNTIMED_OPS else drawn.seconds[before.id]
                graph.add_edge(before.id, stage.id, seconds=lasted)
    found = paths(program, drawn.seconds, {})
    assert found.seconds == pytest.approx(
        networkx.dag_longest_path_length(graph, weight="seconds"), abs=1e-9
    )


@unhurried
@given(seeds)
@example(182)  # a region within a region gives back a value from outside
def test_slack_agrees_with_what_the_dispatcher_expects_after_a_stage(seed: int) -> None:
    drawn = RandomProgram(seed, most=6)
    # A branch differs on purpose: urgency counts its longer side, a path the mean of both.
    if any(stage.op in ("branch", "loop") for stage in drawn.all()):
        drawn = RandomProgram(seed, flat=True, most=12)
    rows = tuple(
        StagePlan(stage.name, stage.op, "d", drawn.seconds[stage.id], 0.0)
        for stage in timed(drawn.program)
    )
    expected = Expectation(drawn.program, Plan("w", "", "f", rows, 0.0, 0.0))
    found = paths(drawn.program, drawn.seconds, drawn.factors)
    stages, spans = found.stages(), found.spans()
    for stage in timed(drawn.program):
        longest = spans[stage.name][1] + expected.after(stage)
        assert stages[stage.id].longest_s == pytest.approx(longest, abs=1e-9)


def chain(length: int) -> Program:
    stages = tuple(Stage(n, "tool", f"s{n}", (n,), (n + 1,)) for n in range(length))
    return Program("flow", (), (Region((0,), tuple(range(length)), (length,)),), stages)


def test_a_stage_in_a_loop_takes_all_its_trips_of_the_deadline() -> None:
    until = Stage(1, "tool", "until", (1,), (2,))
    body = Stage(2, "tool", "body", (3,), (4,))
    loop = Stage(0, "loop", "loop", (0,), (5,), {}, (1, 2))
    regions = (Region((0,), (0,), (5,)), Region((1,), (1,), (2,)), Region((3,), (2,), (4,)))
    program = Program("flow", (), regions, (loop, until, body))
    found = paths(program, {1: 1.0, 2: 4.0}, {"loop": 3.0})
    assert found.seconds == 4 * 1.0 + 3 * 4.0
    assert found.stages()[2].seconds == 12.0
    assert found.stages()[2].deadline_share == 0.75
    assert found.stages()[1].deadline_share == 0.25


def test_a_chain_of_any_length_is_walked_without_recursion() -> None:
    program = chain(20_000)
    found = paths(program, dict.fromkeys(range(20_000), 1.0), {})
    assert found.seconds == 20_000.0
    assert len(found.critical()) == 20_000
    assert math.isclose(sum(row.deadline_share for row in found.stages().values()), 1.0)
