"""Times of a job: regions compose, and the longest chain decides."""

from __future__ import annotations

from typing import Any

import pytest

from gangline.ir.program import Program, Region, Stage
from gangline.planner.critical_path import Timeline, timeline


def no_hop(source: Stage, target: Stage) -> float:
    return 0.0


def times(program: Program, factors: dict[str, float] | None = None, **named: float) -> Timeline:
    seconds = {stage.id: named.get(stage.name, 1.0) for stage in program.stages}
    return timeline(program, seconds, factors or {}, no_hop)


def test_a_chain_adds_up(build: Any) -> None:
    first = build.tool("a")
    build.tool("b", (first,))
    found = times(build.program(), a=2.0, b=3.0)
    assert found.seconds == 5.0
    assert found.path == ("a", "b")
    assert found.spans == {"a": (0.0, 2.0), "b": (2.0, 5.0)}


def test_independent_stages_run_side_by_side(build: Any) -> None:
    left, right = build.tool("a"), build.tool("b")
    build.tool("join", (left, right))
    found = times(build.program(), a=2.0, b=5.0, join=1.0)
    assert found.seconds == 6.0
    assert found.path == ("b", "join")
    assert found.spans["a"] == (0.0, 2.0)


def test_a_stage_nobody_reads_still_has_to_end(build: Any) -> None:
    build.tool("a")
    build.tool("write")
    assert times(build.program(), a=1.0, write=4.0).seconds == 4.0


def test_a_constant_and_a_computation_take_no_time(build: Any) -> None:
    value = build.add("constant", "c", value=1)
    slow = build.tool("a")
    total = build.add("compute", "sum", (value, slow), fn="add")
    build.tool("b", (total,))
    found = times(build.program(), a=2.0, b=1.0, c=100.0, sum=100.0)
    assert found.seconds == 3.0
    assert found.path == ("a", "b")


def control(build: Any, op: str, *bodies: str, **attributes: Any) -> Program:
    first = build.tool("first")
    regions = tuple(build.region(lambda v, name=name: build.tool(name, (v,))) for name in bodies)
    result = build.add(op, "control", (first,), regions, **attributes)
    build.tool("last", (result,))
    program: Program = build.program()
    return program


def test_a_map_takes_as_long_as_its_body(build: Any) -> None:
    program = control(build, "map", "item")
    found = times(program, {"control": 7.0}, item=3.0)
    assert found.seconds == 5.0
    assert found.path == ("first", "item", "last")


def test_a_loop_takes_its_expected_trips(build: Any) -> None:
    program = control(build, "loop", "until", "body", max_trips=9)
    found = times(program, {"control": 2.0}, until=0.5, body=3.0)
    assert found.seconds == 1.0 + 3 * 0.5 + 2 * 3.0 + 1.0
    assert found.path == ("first", "until", "body", "last")


def test_a_loop_that_is_never_entered_is_not_on_the_path(build: Any) -> None:
    program = control(build, "loop", "until", "body", max_trips=9)
    found = times(program, {"control": 0.0}, until=0.5, body=3.0)
    assert found.seconds == 2.5
    assert "body" not in found.path


def test_a_branch_takes_the_mean_of_its_sides(build: Any) -> None:
    program = control(build, "branch", "yes", "no")
    assert times(program, {"control": 0.25}, yes=4.0, no=8.0).seconds == 2.0 + 1.0 + 6.0


def test_a_region_waits_for_the_outer_values_it_reads(build: Any) -> None:
    slow, quick = build.tool("slow"), build.tool("quick")
    body = build.region(lambda item: build.tool("item", (item, slow)))
    build.add("map", "control", (quick,), (body,))
    assert times(build.program(), slow=10.0).spans["item"] == (10.0, 11.0)


def test_a_region_waits_for_an_outer_value_it_only_yields(build: Any) -> None:
    slow, quick = build.tool("slow"), build.tool("quick")
    then = build.region(lambda _: build.tool("then"))
    build.regions[then] = Region((), build.regions[then].stages, (slow,))
    build.add("branch", "control", (quick,), (then, then))
    assert times(build.program(), slow=10.0).spans["then"][0] == 10.0


def test_a_hop_delays_the_reader(build: Any) -> None:
    first = build.tool("a")
    build.tool("b", (first,))
    program = build.program()
    seconds = {stage.id: 1.0 for stage in program.stages}
    found = timeline(program, seconds, {}, lambda source, target: 0.5)
    assert found.seconds == 2.5
    assert found.spans["b"] == (1.5, 2.5)


def test_an_empty_program_takes_no_time(build: Any) -> None:
    assert times(build.program()) == Timeline(0.0, (), {})


def test_time_is_linear_in_a_long_chain(build: Any) -> None:
    value = build.tool("s0")
    for index in range(1, 2000):
        value = build.tool(f"s{index}", (value,))
    assert times(build.program()).seconds == pytest.approx(2000.0)
