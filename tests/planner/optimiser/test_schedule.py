"""The problem refuses bad input; the check refuses every kind of impossible schedule."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gangline.ir.errors import ConfigError, GanglineError, PlanError
from gangline.planner.optimiser.schedule import (
    HeterogeneousDag,
    Schedule,
    check,
    flexible_job_shop,
    topological_order,
)

INF = math.inf

# 0 -> 1 (4 s between machines), 0 -> 2 (1 s); machine 1 cannot run task 2.
PROBLEM = HeterogeneousDag(
    ((3.0, 5.0), (6.0, 2.0), (4.0, INF)), ((0, 1, 4.0), (0, 2, 1.0)), "three"
)
VALID = Schedule((0, 1, 0), (0.0, 7.0, 3.0), 9.0)


def test_a_valid_schedule_passes() -> None:
    check(PROBLEM, VALID)
    check(PROBLEM, replace(VALID, lower_bound=8.0))
    check(PROBLEM, replace(VALID, lower_bound=9.0, proven=True))


def test_waiting_is_allowed() -> None:
    check(PROBLEM, replace(VALID, start=(0.5, 8.0, 20.0), makespan=24.0))


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        pytest.param({"start": (0.0, 7.0, 2.0)}, "task 0", id="overlap and precedence"),
        pytest.param({"start": (0.0, 6.9, 3.0), "makespan": 8.9}, "arrives at 7", id="comm"),
        pytest.param({"start": (0.0, 3.0, 3.0)}, "arrives at 7", id="comm missing"),
        pytest.param({"machine": (0, 1, 1)}, "machine 1 cannot", id="ineligible machine"),
        pytest.param({"machine": (0, 1, 2)}, "machine 2 cannot", id="unknown machine"),
        pytest.param({"machine": (0, 1, -1)}, "machine -1 cannot", id="negative machine"),
        pytest.param(
            {"machine": (0, 0, 0), "start": (0.0, 5.0, 3.0), "makespan": 11.0},
            "overlaps task 2",
            id="overlap",
        ),
        pytest.param({"machine": (0, 1), "start": (0.0, 7.0)}, "3 tasks", id="missing task"),
        pytest.param({"start": (0.0, 7.0)}, "3 tasks", id="missing start"),
        pytest.param({"start": (0.0, 7.0, 3.0, 1.0)}, "3 tasks", id="too many starts"),
        pytest.param({"start": (-1.0, 7.0, 3.0)}, "starts at -1", id="before zero"),
        pytest.param({"start": (0.0, math.nan, 3.0)}, "starts at nan", id="not a time"),
        pytest.param({"start": (0.0, INF, 3.0)}, "starts at inf", id="never"),
        pytest.param({"makespan": 8.0}, "makespan is 9", id="makespan too small"),
        pytest.param({"makespan": 10.0}, "makespan is 9", id="makespan too large"),
        pytest.param({"lower_bound": 9.5}, "below its bound", id="bound above makespan"),
        pytest.param({"lower_bound": 8.0, "proven": True}, "called proven", id="not proven"),
    ],
)
def test_an_impossible_schedule_is_refused(broken: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError, match=says):
        check(PROBLEM, replace(VALID, **broken))


def test_overlap_is_seen_behind_a_short_task() -> None:
    free = HeterogeneousDag(((9.0,), (1.0,), (1.0,)))
    with pytest.raises(PlanError, match="overlaps task 0"):
        check(free, Schedule((0, 0, 0), (0.0, 3.0, 9.0), 10.0))


def test_precedence_without_communication_holds_across_machines() -> None:
    chain = HeterogeneousDag(((2.0, 2.0), (2.0, 2.0)), ((0, 1, 0.0),))
    check(chain, Schedule((0, 1), (0.0, 2.0), 4.0))
    with pytest.raises(PlanError, match="arrives at 2"):
        check(chain, Schedule((0, 1), (0.0, 1.5), 3.5))


def test_small_times_are_compared_as_strictly_as_large_ones() -> None:
    tiny = HeterogeneousDag(((2e-9,), (2e-9,)))
    with pytest.raises(PlanError, match="overlaps"):
        check(tiny, Schedule((0, 0), (0.0, 1e-9), 3e-9))


@pytest.mark.parametrize(
    ("durations", "edges", "where"),
    [
        pytest.param(((1.0, 2.0), (1.0,)), (), "task 1", id="ragged"),
        pytest.param(((1.0, -2.0),), (), "task 0, machine 1", id="negative"),
        pytest.param(((1.0, math.nan),), (), "task 0, machine 1", id="nan"),
        pytest.param(((1.0, "2"),), (), "task 0, machine 1", id="text"),
        pytest.param(((1.0, True),), (), "task 0, machine 1", id="bool"),
        pytest.param(((1.0,), (INF,)), (), "task 1", id="no eligible machine"),
        pytest.param(((),), (), "task 0", id="no machines"),
        pytest.param(((1.0,), (1.0,)), ((0, 2, 0.0),), "edge 0", id="unknown end"),
        pytest.param(((1.0,), (1.0,)), ((-1, 1, 0.0),), "edge 0", id="negative end"),
        pytest.param(((1.0,), (1.0,)), ((0, 1, 0.0), (0, 1, -1.0)), "edge 1", id="negative comm"),
        pytest.param(((1.0,), (1.0,)), ((0, 1, INF),), "edge 0", id="endless comm"),
        pytest.param(((1.0,),) * 3, ((0, 1, 0.0), (1, 2, 0.0), (2, 1, 0.0)), "task 1", id="cycle"),
        pytest.param(((1.0,),), ((0, 0, 0.0),), "task 0", id="self loop"),
    ],
)
def test_bad_input_is_refused_where_it_is(durations: Any, edges: Any, where: str) -> None:
    with pytest.raises((ConfigError, PlanError)) as caught:
        HeterogeneousDag(durations, edges)
    assert caught.value.where == where


def test_flexible_job_shop_is_chains_of_free_edges() -> None:
    jobs = [[[(0, 3), (2, 4)], [(1, 5)]], [[(1, 2)]]]
    problem = flexible_job_shop(jobs, 3, "tiny")
    assert problem.durations == ((3.0, INF, 4.0), (INF, 5.0, INF), (INF, 2.0, INF))
    assert problem.edges == ((0, 1, 0.0),)
    assert problem.eligible() == [[0, 2], [1], [1]]


@pytest.mark.parametrize("choice", [(3, 1.0), (-1, 1.0), (0.5, 1.0), (1,)])
def test_a_bad_choice_is_refused_where_it_is(choice: Any) -> None:
    with pytest.raises(GanglineError) as caught:
        flexible_job_shop([[[(0, 1.0)]], [[(0, 1.0)], [choice]]], 3)
    assert caught.value.where == "job 1, operation 1"


def test_topological_order_puts_predecessors_first() -> None:
    problem = HeterogeneousDag(((1.0,),) * 4, ((3, 1, 0.0), (1, 0, 0.0), (3, 2, 0.0)))
    order = topological_order(problem)
    assert sorted(order) == [0, 1, 2, 3]
    assert all(order.index(u) < order.index(v) for u, v, _ in problem.edges)


def test_gap_is_measured_from_the_bound() -> None:
    assert replace(VALID, lower_bound=7.5).gap == pytest.approx(0.2)
    assert replace(VALID, lower_bound=9.0).gap == 0
    assert VALID.gap == INF
    assert Schedule((), (), 0.0).gap == 0
