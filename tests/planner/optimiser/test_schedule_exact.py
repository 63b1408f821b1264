"""Branch and bound finds what trying everything finds."""

from __future__ import annotations

import pytest

from gangline.planner.optimiser import schedule_exact
from gangline.planner.optimiser.heft import heft
from gangline.planner.optimiser.schedule import check
from gangline.planner.optimiser.schedule_exact import BranchAndBound

from .schedule_cases import optimum, random_dag


@pytest.mark.parametrize("seed", range(40))
def test_the_optimum_is_found(seed: int) -> None:
    machines = 3 if seed % 4 == 0 else 2
    problem = random_dag(seed, tasks=5, machines=machines, whole=seed % 2 == 0, density=0.3)
    proof = BranchAndBound(problem, heft(problem), 0.0).run(10**6)
    check(problem, proof.schedule)
    assert proof.complete
    assert proof.schedule.makespan == pytest.approx(optimum(problem))


@pytest.mark.parametrize("seed", range(12))
def test_dropping_dominated_states_loses_nothing(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = random_dag(seed + 200, tasks=7, machines=3, whole=False, density=0.25)
    kept = BranchAndBound(problem, heft(problem), 0.0).run(10**6)
    monkeypatch.setattr(schedule_exact, "KEPT_STATES", 0)
    every = BranchAndBound(problem, heft(problem), 0.0).run(10**6)
    assert kept.complete
    assert every.complete
    assert kept.nodes <= every.nodes
    assert kept.schedule.makespan == pytest.approx(every.schedule.makespan)


def test_a_stopped_search_claims_nothing() -> None:
    problem = random_dag(7, tasks=12, machines=3)
    proof = BranchAndBound(problem, heft(problem), 0.0).run(1)
    assert not proof.complete
    assert proof.schedule.makespan <= heft(problem).makespan


def test_a_reached_bound_ends_the_search() -> None:
    problem = random_dag(7, tasks=12, machines=3)
    start = heft(problem)
    proof = BranchAndBound(problem, start, start.makespan).run(10**6)
    assert proof.complete
    assert proof.nodes == 0
