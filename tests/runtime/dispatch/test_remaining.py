"""What a plan expects after each stage."""

from __future__ import annotations

from typing import Any

from gangline.ir.program import Program
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.runtime.dispatch.remaining import Expectation


def after(program: Program, visits: float = 1.0) -> dict[str, float]:
    rows = tuple(
        StagePlan(stage.name, stage.op, "cpu", 10.0**index, 0.0, visits)
        for index, stage in enumerate(s for s in program.stages if s.op == "tool")
    )
    expectation = Expectation(program, Plan("w", "", "f", rows, 0.0, 0.0))
    return {s.name: expectation.after(s) for s in program.stages if s.op == "tool"}


def test_longest_path_counts(builder: Any) -> None:
    p = builder()
    a, b, c = p.tool("a"), p.tool("b"), p.tool("c")
    joined = p.tool("d", p.compute("list", b, c))
    program = p.done(p.tool("e", p.compute("list", a, joined)))
    assert after(program) == {"a": 10_000, "b": 11_000, "c": 11_000, "d": 10_000, "e": 0}


def test_inside_a_map_what_follows_the_map_counts(builder: Any) -> None:
    p = builder()
    made = p.map(p.constant([1, 2]), lambda item: p.tool("b", p.tool("a", item)))
    program = p.done(p.tool("c", made))
    assert after(program) == {"a": 110, "b": 100, "c": 0}


def test_a_loop_counts_its_visits(builder: Any) -> None:
    p = builder()
    first = p.tool("a")
    looped = p.loop(first, lambda v: p.tool("b", v), lambda v: p.tool("c", v), 5)
    program = p.done(p.tool("d", looped))
    assert after(program, visits=2.0)["a"] == 2 * 10 + 2 * 100 + 1000


def test_a_stage_read_only_inside_a_region(builder: Any) -> None:
    p = builder()
    outside = p.tool("a")
    program = p.done(p.map(p.constant([1]), lambda item: p.tool("b", outside)))
    assert after(program) == {"a": 10, "b": 0}


def test_no_plan_expects_nothing(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("a"))
    assert Expectation(program, None).after(program.stages[0]) == 0.0
