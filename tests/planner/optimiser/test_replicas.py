"""Fleets of whole replicas: against all fleets there are, and within the bound they prove."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.placement_instances import fleet_instance
from gangline.ir.errors import InfeasibleError, PlanError
from gangline.planner.optimiser.problem import Index
from gangline.planner.optimiser.quickest import quickest
from gangline.planner.optimiser.replica_cuts import cuts
from gangline.planner.optimiser.replica_moves import fewer_replicas
from gangline.planner.optimiser.replica_problem import ReplicaProblem
from gangline.planner.optimiser.replicas import size_fleet
from gangline.planner.optimiser.series_parallel import reduce_graph

from .placement_cases import cost, keeps, length, random_problem


def least_usd(problem: ReplicaProblem) -> float:
    """Give the least dollars per job by trying every assignment."""
    graph, best = problem.graph, math.inf
    for chosen in itertools.product(range(graph.num_devices), repeat=graph.num_nodes):
        one = list(chosen)
        if not keeps(graph, one):
            continue
        load = [0.0] * graph.num_devices
        for node, device in enumerate(one):
            load[device] += float(graph.seconds[node, device])
        busy = [load_s * problem.jobs_per_s / problem.utilisation for load_s in load]
        replicas = [
            max(math.ceil(value - 1e-9), device in one) for device, value in enumerate(busy)
        ]
        if problem.stock is not None and any(np.array(replicas) > problem.stock):
            continue
        hourly = sum(float(usd) * n for usd, n in zip(problem.usd_per_hour, replicas, strict=True))
        best = min(best, hourly / 3600.0 / problem.jobs_per_s + cost(graph, one))
    return best


@pytest.mark.parametrize("seed", range(25))
def test_small_fleets_are_the_cheapest_there_are(seed: int) -> None:
    graph = random_problem(seed)
    rng = np.random.default_rng(seed)
    problem = ReplicaProblem(
        graph,
        usd_per_hour=3600.0 * rng.integers(1, 9, graph.num_devices).astype(float),
        jobs_per_s=float(rng.choice([0.02, 0.1, 0.5])),
        stock=rng.integers(0, 5, graph.num_devices).astype(float) if seed % 2 else None,
    )
    least = least_usd(problem)
    if not math.isfinite(least):
        with pytest.raises(InfeasibleError):
            size_fleet(problem)
        return
    found = size_fleet(problem, gap=1e-6)
    assert found.usd == pytest.approx(least, rel=1e-5)
    assert found.bound_usd <= least * (1.0 + 1e-6)
    assert keeps(graph, found.assignment.tolist())


@pytest.mark.parametrize("seed", range(2))
def test_a_low_rate_fleet_is_within_three_percent(seed: int) -> None:
    problem = fleet_instance(30, seed + 1, replicas=4.0)
    found = size_fleet(problem)
    assert found.gap <= 0.03
    load = np.zeros(10)
    for node, device in enumerate(found.assignment.tolist()):
        load[device] += problem.graph.seconds[node, device]
    assert np.all(load * problem.jobs_per_s <= problem.utilisation * found.replicas + 1e-9)
    assert length(problem.graph, found.assignment.tolist()) <= problem.graph.latest_s
    assert found.usd_per_hour == pytest.approx(float(found.replicas @ problem.usd_per_hour))
    # Nearly all of a job's dollars are the fleet's; the rest are transfers.
    assert found.usd >= found.usd_per_hour / 3600.0 / problem.jobs_per_s


@pytest.mark.parametrize("seed", [7, 13])
def test_a_bound_left_early_is_below_any_fleet(seed: int) -> None:
    problem = fleet_instance(20, seed)
    better = size_fleet(problem)
    for gap, effort in ((0.12, 3e6), (0.06, 3e6), (0.03, 1e5)):
        early = size_fleet(problem, gap, effort)
        assert 0.0 < early.bound_usd <= better.usd
        assert early.gap <= gap or effort < 3e6


def test_a_fleet_is_the_same_every_time() -> None:
    problem = fleet_instance(20, 7)
    first, second = (size_fleet(problem, effort=3e5) for _ in range(2))
    assert first.assignment.tolist() == second.assignment.tolist()
    assert first.bound_usd == second.bound_usd


@pytest.mark.parametrize("seed", range(6))
def test_added_rows_hold_for_all_whole_nodes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    work, share = rng.uniform(0.05, 1.6, (8, 2)), rng.uniform(0.0, 1.0, (8, 2))
    found = cuts(work, share, (work * share).sum(axis=0))
    assert found
    chosen = np.array(list(itertools.product((0.0, 1.0), repeat=8)))
    for cut in found:
        # Cuts off the fractional solution, and no choice of nodes on the replicas they need.
        held = (
            cut.replicas * (work * share).sum(axis=0)[cut.device] + cut.share @ share[:, cut.device]
        )
        assert held < cut.least
        needed = np.ceil(chosen @ work[:, cut.device] - 1e-9)
        assert np.all(cut.replicas * needed + chosen @ cut.share >= cut.least - 1e-9)


def test_moves_save_dollars_and_keep_the_limits() -> None:
    saved = []
    for seed in range(10):
        problem = fleet_instance(15, seed)
        start = placed_fastest(problem)
        # With enough of everything in stock, and with no more than the start needs.
        scarce = replace(problem, stock=problem.replicas_for(start))
        for one, fleet in ((problem, None), (problem, np.ones(10)), (scarce, None)):
            found = fewer_replicas(one, start, fleet)
            assert one.keeps_limits(found)
            assert one.usd(found) <= one.usd(start)
            saved.append(one.usd(found) / one.usd(start))
    assert np.mean(saved) < 0.95


def placed_fastest(problem: ReplicaProblem) -> Index:
    """Place a graph in the least time."""
    graph = problem.graph
    return quickest(graph, reduce_graph(graph.num_nodes, graph.edges)).assignment


def test_bad_rates_and_prices_are_refused() -> None:
    good = fleet_instance(5, 1)
    for change in (
        {"jobs_per_s": 0.0},
        {"jobs_per_s": math.nan},
        {"utilisation": 0.0},
        {"utilisation": 1.5},
        {"usd_per_hour": np.full(10, -1.0)},
        {"stock": np.ones(3)},
    ):
        with pytest.raises(PlanError):
            replace(good, **change)


def test_an_empty_stock_is_infeasible() -> None:
    problem = fleet_instance(8, 1)
    with pytest.raises(InfeasibleError, match="replicas in stock"):
        size_fleet(replace(problem, stock=np.zeros(10)))


def test_work_of_no_length_still_needs_a_replica() -> None:
    problem = fleet_instance(4, 1)
    graph = replace(problem.graph, seconds=np.zeros((4, 10)))
    assert replace(problem, graph=graph).replicas_for(np.array([0, 0, 2, 2])).tolist() == (
        [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    )
