"""The search over frontiers finds the optimum where nothing is thinned, and says when it is."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.placement_instances import instance
from gangline.planner.optimiser.frontier import search
from gangline.planner.optimiser.problem import GraphProblem
from gangline.planner.optimiser.relaxation import Relaxation, relax
from gangline.planner.optimiser.series_parallel import Reduction, reduce_graph

from .placement_cases import brute_force, cost, keeps


def relaxed(problem: GraphProblem) -> tuple[Reduction, Relaxation]:
    """Give what a search starts from."""
    reduction = reduce_graph(problem.num_nodes, problem.edges)
    return reduction, relax(problem, reduction)


@pytest.mark.parametrize("seed", range(12))
def test_without_thinning_it_is_brute_force(seed: int) -> None:
    problem = instance(7, seed, num_devices=3)
    found = search(problem, *relaxed(problem), 1e9, 10_000)
    assert found.exact
    assert found.assignment is not None
    assert keeps(problem, found.assignment.tolist())
    assert found.usd == pytest.approx(cost(problem, found.assignment.tolist()), rel=1e-9)
    assert found.usd == pytest.approx(brute_force(problem), rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_cheaper_than_the_limit_is_lost(seed: int) -> None:
    problem = instance(7, seed, num_devices=3)
    least = brute_force(problem)
    above = search(problem, *relaxed(problem), least * 1.0001, 10_000)
    assert above.usd == pytest.approx(least, rel=1e-9)
    below = search(problem, *relaxed(problem), least * 0.999, 10_000)
    assert below.exact
    assert below.usd > least * 0.999


def test_short_lists_are_owned_up_to_and_still_in_time() -> None:
    problem = instance(300, 2)
    reduction, relaxation = relaxed(problem)
    found = search(problem, reduction, relaxation, relaxation.bound_usd * 1.05, 8)
    assert not found.exact
    assert found.assignment is not None
    assert keeps(problem, found.assignment.tolist())
    longer = search(problem, reduction, relaxation, relaxation.bound_usd * 1.05, 64)
    assert longer.usd < found.usd


def test_it_stops_where_the_effort_ends() -> None:
    problem = instance(100, 1)
    reduction, relaxation = relaxed(problem)
    found = search(problem, reduction, relaxation, np.inf, 64, effort=100)
    assert found.assignment is None
    assert not found.exact
