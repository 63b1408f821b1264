"""Single moves are weighed as a recount would, and lead into the limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.placement_instances import instance
from gangline.planner.optimiser.repair import improved, keeps_limits, moves, repaired, upgraded

from .placement_cases import brute_force, cost, keeps, length, random_problem


@pytest.mark.parametrize("seed", range(8))
def test_every_move_is_weighed_exactly(seed: int) -> None:
    problem = instance(12, seed, general=True)
    start = np.where(problem.allowed, problem.usd, np.inf).argmin(axis=1)
    weighed = moves(problem, start)
    before = cost(problem, start.tolist())
    for node in range(12):
        for device in np.flatnonzero(problem.allowed[node]):
            moved = start.copy()
            moved[node] = device
            assert weighed.usd[node, device] == pytest.approx(
                cost(problem, moved.tolist()) - before, abs=1e-12
            )
            in_time = length(problem, start.tolist()) <= problem.latest_s
            if in_time or weighed.through_s[node, device] > problem.latest_s:
                late = length(problem, moved.tolist()) > problem.latest_s
                assert late == (weighed.through_s[node, device] > problem.latest_s)


@pytest.mark.parametrize("seed", range(30))
def test_what_comes_out_keeps_every_limit_and_costs_no_less_than_the_optimum(seed: int) -> None:
    problem = random_problem(seed, capacities=seed % 3 == 0)
    start = np.where(problem.allowed, problem.usd, np.inf).argmin(axis=1)
    found = repaired(problem, start)
    if found is None:
        return
    assert keeps(problem, found.tolist())
    better = improved(problem, found)
    assert keeps(problem, better.tolist())
    assert brute_force(problem) - 1e-9 <= cost(problem, better.tolist())
    assert cost(problem, better.tolist()) <= cost(problem, found.tolist()) + 1e-9


def test_overloaded_devices_are_relieved() -> None:
    problem = replace(instance(60, 2), deadline_s=np.inf)
    start = np.where(problem.allowed, problem.usd, np.inf).argmin(axis=1)
    load = np.bincount(start, problem.seconds[np.arange(60), start], minlength=10)
    limited = replace(problem, capacity_s=np.full(10, 0.6 * load.max()))
    assert not keeps_limits(limited, start)
    found = repaired(limited, start)
    assert found is not None
    assert keeps_limits(limited, found)


def test_the_greedy_search_is_in_time_on_a_large_graph() -> None:
    problem = instance(200, 4)
    found = upgraded(problem)
    assert found is not None
    assert length(problem, found.tolist()) <= problem.latest_s
