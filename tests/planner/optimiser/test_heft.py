"""HEFT and PEFT place by the published rules, worked out by hand on small graphs."""

from __future__ import annotations

import math

import pytest

from gangline.planner.optimiser.heft import (
    first_gap,
    heft,
    list_schedule,
    optimistic_cost,
    peft,
    upward_rank,
)
from gangline.planner.optimiser.schedule import HeterogeneousDag, check

from .schedule_cases import random_dag

# 0 -> 1, 2 -> 3 with communication; two machines.
DIAMOND = HeterogeneousDag(
    ((2.0, 4.0), (6.0, 2.0), (3.0, 5.0), (1.0, 3.0)),
    ((0, 1, 3.0), (0, 2, 1.0), (1, 3, 2.0), (2, 3, 4.0)),
)


def test_upward_rank_is_mean_cost_plus_longest_rest() -> None:
    # 3: 2; 1: 4 + 2 + 2 = 8; 2: 4 + 4 + 2 = 10; 0: 3 + max(3 + 8, 1 + 10) = 14
    assert upward_rank(DIAMOND) == [14.0, 8.0, 10.0, 2.0]


def test_upward_rank_ignores_machines_that_cannot_run_a_task() -> None:
    problem = HeterogeneousDag(((2.0, math.inf), (4.0, 6.0)), ((0, 1, 1.0),))
    assert upward_rank(problem) == [2.0 + 1.0 + 5.0, 5.0]


def test_optimistic_cost_stays_or_pays() -> None:
    # task 1 on machine 0: next either stays (1) or moves (2 + 3): 1. On machine 1: min(3, 2 + 1).
    # task 0 on machine 0: via 1: min(6 + 1, 3 + 2 + 3) = 7; via 2: min(3 + 1, ...) = 4.
    table = optimistic_cost(DIAMOND)
    assert table[3] == [0.0, 0.0]
    assert table[1] == [1.0, 3.0]
    assert table[2] == [1.0, 3.0]
    assert table[0] == [7.0, 5.0]


def test_heft_by_hand() -> None:
    # 0 on machine 0 till 2; 2 on 0 till 5; 1 on 1 from 2 + 3 till 7; 3 on 0 from 7 + 2 till 10,
    # on 1 from 5 + 4 till 12.
    found = heft(DIAMOND)
    assert found.machine == (0, 1, 0, 0)
    assert found.start == (0.0, 5.0, 2.0, 9.0)
    assert found.makespan == 10.0


def test_lookahead_leaves_the_machine_that_is_quick_now_but_dear_later() -> None:
    problem = HeterogeneousDag(((2.0, 3.0), (9.0, 2.0)), ((0, 1, 8.0),))
    assert heft(problem).makespan == 11.0  # 0 ends first on machine 0, and 1 stays there
    assert peft(problem).makespan == 5.0  # both on machine 1


def test_a_gap_before_placed_tasks_is_used() -> None:
    # 0 then 1 leave machine 1 idle from 0 to 5: task 2 of low rank goes there.
    problem = HeterogeneousDag(((5.0, math.inf), (math.inf, 20.0), (math.inf, 4.0)), ((0, 1, 0.0),))
    found = heft(problem)
    assert found.start == (0.0, 5.0, 0.0)


@pytest.mark.parametrize(
    ("arrival", "seconds", "begin"),
    [(0.0, 2.0, 0.0), (0.5, 2.0, 4.0), (0.0, 3.0, 7.0), (4.0, 1.0, 4.0), (9.0, 9.0, 9.0)],
)
def test_first_gap(arrival: float, seconds: float, begin: float) -> None:
    assert first_gap([(2.0, 4.0), (6.0, 7.0)], arrival, seconds) == begin


def test_allowed_machines_are_kept_where_a_task_can_run_there() -> None:
    problem = HeterogeneousDag(((1.0, 9.0, 9.0), (1.0, math.inf, math.inf)))
    found = list_schedule(problem, [0.0, 0.0], allowed={1, 2})
    assert found.machine[0] in (1, 2)
    assert found.machine[1] == 0


@pytest.mark.parametrize("seed", range(20))
def test_list_schedules_are_feasible(seed: int) -> None:
    problem = random_dag(seed, tasks=15, machines=3, whole=seed % 2 == 0)
    check(problem, heft(problem))
    check(problem, peft(problem))


def test_an_empty_problem_takes_no_time() -> None:
    assert heft(HeterogeneousDag(())).makespan == 0
    assert peft(HeterogeneousDag(())).makespan == 0
