"""The relaxation's bounds hold for every assignment, and reach the linear program's."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.placement_instances import instance
from gangline.planner.optimiser.linear_program import linear_bound
from gangline.planner.optimiser.problem import GraphProblem
from gangline.planner.optimiser.relaxation import relax
from gangline.planner.optimiser.series_parallel import PARALLEL, SERIES, Reduction, reduce_graph

from .placement_cases import brute_force, cost, keeps, random_problem


@pytest.mark.parametrize("seed", range(40))
def test_the_bound_is_below_the_optimum_on_any_graph(seed: int) -> None:
    problem = random_problem(seed)
    found = relax(problem, reduce_graph(problem.num_nodes, problem.edges))
    assert found.bound_usd <= brute_force(problem) + 1e-9


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("num_nodes", [20, 100])
def test_the_bound_reaches_the_linear_program(num_nodes: int, seed: int) -> None:
    problem = instance(num_nodes, seed)
    found = relax(problem, reduce_graph(num_nodes, problem.edges))
    linear = linear_bound(problem)
    assert linear is not None
    assert found.bound_usd >= linear.bound_usd * (1.0 - 1e-3)


def measured(
    problem: GraphProblem, reduction: Reduction, assignment: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give seconds, dollars and end sites of every component under an assignment."""
    site = [*(int(problem.site_of[device]) for device in assignment), 0, 0]
    count = reduction.num_components
    seconds, usd = np.zeros(count), np.zeros(count)
    source, target = np.zeros(count, dtype=int), np.zeros(count, dtype=int)
    for edge, (start, end) in enumerate(reduction.ends.tolist()):
        source[edge], target[edge] = site[start], site[end]
        if edge < len(problem.edges):
            seconds[edge] = problem.transfer_s[edge, site[start], site[end]]
            usd[edge] = problem.transfer_usd[edge, site[start], site[end]]
    for merge in reduction.merges:
        rows = zip(merge.first, merge.second, merge.node, merge.result, strict=True)
        for first, second, node, result in rows:
            source[result], target[result] = source[first], target[second]
            usd[result] = usd[first] + usd[second]
            if merge.kind == SERIES:
                device = assignment[node]
                usd[result] += problem.usd[node, device]
                seconds[result] = seconds[first] + seconds[second] + problem.seconds[node, device]
            else:
                assert merge.kind == PARALLEL
                seconds[result] = max(seconds[first], seconds[second])
    return seconds, usd, source, target


@pytest.mark.parametrize("seed", range(6))
def test_what_is_inside_and_outside_each_component_never_overstates(seed: int) -> None:
    problem = instance(5, seed, num_devices=4)
    reduction = reduce_graph(5, problem.edges)
    found = relax(problem, reduction)
    rank = np.arange(reduction.num_components)
    tight = -np.inf
    for chosen in itertools.product(range(4), repeat=5):
        if not keeps(problem, list(chosen)):
            continue
        seconds, usd, source, target = measured(problem, reduction, list(chosen))
        here = usd[:, None] + found.grid * seconds[:, None]
        assert np.all(found.value[rank, source, target] <= here + 1e-9)
        total = here + found.outside[rank, source, target]
        assert np.all(total <= cost(problem, list(chosen)) + 1e-9)
        tight = max(tight, float((total.max(axis=1) / cost(problem, list(chosen))).min()))
    assert tight > 0.5  # bounds of nothing would pass everything above


def test_without_a_deadline_the_bound_is_the_optimum() -> None:
    problem = replace(random_problem(11), deadline_s=np.inf)
    found = relax(problem, reduce_graph(problem.num_nodes, problem.edges))
    assert found.bound_usd == pytest.approx(brute_force(problem), rel=1e-9)


def test_the_price_of_time_is_what_time_saves() -> None:
    problem = instance(300, 5)
    reduction = reduce_graph(300, problem.edges)
    now = relax(problem, reduction)
    step = 1e-3 * problem.deadline_s
    later = relax(replace(problem, deadline_s=problem.deadline_s + step), reduction)
    sooner = relax(replace(problem, deadline_s=problem.deadline_s - step), reduction)
    slopes = [(now.bound_usd - later.bound_usd) / step, (sooner.bound_usd - now.bound_usd) / step]
    assert slopes[0] * 0.8 <= now.usd_per_s <= slopes[1] * 1.2
    assert now.usd_per_s > 0.0
