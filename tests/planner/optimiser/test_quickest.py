"""The fastest placement is the fastest of all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.placement_instances import instance
from gangline.planner.optimiser.quickest import least_through, quickest
from gangline.planner.optimiser.series_parallel import reduce_graph

from .placement_cases import chain, length, random_problem


def shortest(problem: object, devices: int, nodes: int) -> float:
    """Give the least time by trying everything."""
    every = itertools.product(range(devices), repeat=nodes)
    return min(
        length(problem, list(one))  # type: ignore[arg-type]
        for one in every
        if all(problem.allowed[n, d] for n, d in enumerate(one))  # type: ignore[attr-defined]
    )


@pytest.mark.parametrize("seed", range(10))
def test_it_is_the_least_of_all_on_series_parallel_graphs(seed: int) -> None:
    problem = instance(6, seed, num_devices=4)
    found = quickest(problem, reduce_graph(6, problem.edges))
    assert found.seconds == pytest.approx(shortest(problem, 4, 6), rel=1e-9)
    assert found.bound_s == pytest.approx(found.seconds, rel=1e-9)
    assert found.seconds == pytest.approx(length(problem, found.assignment.tolist()))


@pytest.mark.parametrize("seed", range(30))
def test_on_other_graphs_the_bound_and_the_answer_enclose_it(seed: int) -> None:
    problem = random_problem(seed)
    found = quickest(problem, reduce_graph(problem.num_nodes, problem.edges))
    least = shortest(problem, problem.num_devices, problem.num_nodes)
    assert found.bound_s <= least + 1e-9
    assert found.seconds >= least - 1e-9
    assert found.seconds == pytest.approx(length(problem, found.assignment.tolist()))


@pytest.mark.parametrize("seed", range(20))
def test_nothing_in_time_goes_through_what_takes_too_long(seed: int) -> None:
    problem = random_problem(seed)
    nodes, devices = problem.seconds.shape
    through = least_through(problem)
    assert np.array_equal(np.isfinite(through), problem.allowed)
    for one in itertools.product(range(devices), repeat=nodes):
        chosen = list(one)
        if problem.allowed[np.arange(nodes), chosen].all():
            assert length(problem, chosen) >= through[np.arange(nodes), chosen].max() - 1e-9


def test_what_goes_through_a_chain_is_all_of_it() -> None:
    problem = chain([[1.0, 1.0]] * 3, [[3.0, 1.0], [2.0, 5.0], [4.0, 4.0]], 9.0)
    assert least_through(problem).tolist() == [[9.0, 7.0], [7.0, 10.0], [7.0, 7.0]]
