"""Bounds never exceed the optimum, and reach it where they must."""

from __future__ import annotations

import math

import pytest

from gangline.planner.optimiser import schedule_bound
from gangline.planner.optimiser.schedule import HeterogeneousDag, flexible_job_shop
from gangline.planner.optimiser.schedule_bound import (
    linear_bound,
    lower_bound,
    preemptive_one_machine,
)

from .schedule_cases import optimum, random_dag


@pytest.mark.parametrize("seed", range(24))
def test_bounds_hold(seed: int) -> None:
    problem = random_dag(seed, tasks=5, machines=2 + seed % 2, whole=seed % 3 > 0)
    best = optimum(problem)
    assert lower_bound(problem) <= best + 1e-9
    assert linear_bound(problem) <= best + 1e-9


def test_a_chain_pays_for_changing_machine_or_stays() -> None:
    # Best machines 0, 1, 0 cost 3 s plus two transfers of 5; staying on 0 costs 1 + 4 + 1.
    problem = HeterogeneousDag(((1.0, 9.0), (4.0, 1.0), (1.0, 9.0)), ((0, 1, 5.0), (1, 2, 5.0)))
    assert lower_bound(problem) == 6.0 == optimum(problem)


def test_one_machine_with_releases_and_tails() -> None:
    # From 0 job (0, 4, 7) runs, from 1 the longer tail pre-empts it: 1 + 3 + 9 = 13.
    assert preemptive_one_machine([(0.0, 4.0, 7.0), (1.0, 3.0, 9.0)]) == 14.0
    assert preemptive_one_machine([(1.0, 3.0, 9.0)]) == 13.0
    assert preemptive_one_machine([(5.0, 1.0, 0.0), (0.0, 2.0, 1.0)]) == 6.0
    assert preemptive_one_machine([]) == 0.0


def test_a_shared_single_machine_bounds_the_job_shop() -> None:
    problem = flexible_job_shop([[[(0, 4)], [(1, 2)]], [[(0, 3)], [(1, 5)]]], 2)
    assert lower_bound(problem) == optimum(problem) == 10.0


def test_loads_are_joined_with_speeds() -> None:
    # Four equal tasks, machine 0 twice as fast: loads 3 x 2 against 1 x 4.
    problem = HeterogeneousDag(((2.0, 4.0),) * 4)
    assert linear_bound(problem) == 6.0  # 16/3 rounded up: whole times, whole makespan
    assert optimum(problem) == 6.0


def test_fractions_are_not_rounded_up() -> None:
    problem = HeterogeneousDag(((0.5, 1.0),) * 4)
    assert 1.3 < linear_bound(problem) <= optimum(problem) == 1.5


def test_the_linear_bound_stands_aside_when_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule_bound, "LINEAR_LIMIT", 3)
    assert linear_bound(HeterogeneousDag(((2.0, math.inf),) * 4)) == 0.0
