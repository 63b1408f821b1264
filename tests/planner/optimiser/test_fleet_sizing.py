"""Fleet sizing against brute force over whole replicas, and its laws."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import linprog

from gangline.planner.optimiser.fleet_sizing import (
    Entries,
    FleetProblem,
    PathRows,
    Tier,
    _Program,
    buy,
    fastest_end_s,
    relaxed_objective,
    solve_fleet,
)

CHAIN_OF_TWO = [{0: 1.0, 2: -1.0}, {2: 1.0, 1: 1.0, 3: -1.0}]
"""Part 1 after part 0; times are columns 2 (end of part 0) and 3 (end of the job)."""


def problem_of(
    loads: npt.NDArray[np.float64],
    seconds: npt.NDArray[np.float64],
    prices: list[float],
    sizes: list[float],
    deadline_s: float = math.inf,
) -> FleetProblem:
    """Two parts in a chain, every pool can serve both: way = part x pools + pool."""
    parts, pools = loads.shape
    ways = list(itertools.product(range(parts), range(pools)))
    return FleetProblem(
        num_parts=parts,
        covers=Entries.of([(p, i, seconds[p, q]) for i, (p, q) in enumerate(ways)]),
        loads=Entries.of([(q, i, loads[p, q]) for i, (p, q) in enumerate(ways)]),
        pool_device=np.arange(pools),
        pool_size=np.array(sizes),
        watts=np.full(pools, 100.0),
        tiers=tuple(Tier(index, price) for index, price in enumerate(prices)),
        paths=PathRows(CHAIN_OF_TWO, 2, 2, 3, deadline_s),
    )


def brute_force(
    loads: npt.NDArray[np.float64],
    seconds: npt.NDArray[np.float64],
    prices: list[float],
    sizes: list[float],
    deadline_s: float,
    most: int = 5,
) -> float | None:
    """Try all counts of replicas; shares by a linear program of its own."""
    parts, pools = loads.shape
    fastest = seconds.min(axis=1)
    best: float | None = None
    for counts in itertools.product(range(most), repeat=pools):
        cost = sum(n * s * p for n, s, p in zip(counts, sizes, prices, strict=True))
        if best is not None and cost >= best:
            continue
        rows = [[loads[p, q] * (q == k) for p in range(parts) for q in range(pools)]
                for k in range(pools)]  # fmt: skip
        limits = [float(count) for count in counts]
        if math.isfinite(deadline_s):
            rows.append(list(seconds.ravel()))
            limits.append(deadline_s)
        slow = [
            seconds[p, q] + fastest.sum() - fastest[p] > deadline_s + 1e-9
            for p in range(parts)
            for q in range(pools)
        ]
        cover = [[float(p == k) for p in range(parts) for _ in range(pools)] for k in range(parts)]
        bounds = [(0.0, 0.0 if shut else 1.0) for shut in slow]
        found = linprog(np.zeros(parts * pools), rows, limits, cover, [1.0] * parts, bounds)
        if found.status == 0:
            best = cost
    return best


@pytest.mark.parametrize("seed", range(12))
def test_equals_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    loads = rng.uniform(0.1, 2.0, (2, 3))
    seconds = rng.uniform(0.5, 3.0, (2, 3))
    prices = [float(p) for p in rng.integers(1, 9, 3)]
    sizes = [float(s) for s in rng.choice([1, 2, 4], 3)]
    deadline = float(seconds.min(axis=1).sum() * rng.uniform(0.9, 2.0)) if seed % 3 else math.inf
    expected = brute_force(loads, seconds, prices, sizes, deadline)
    found = solve_fleet(problem_of(loads, seconds, prices, sizes, deadline), max_gap=0.0)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.usd_per_hour == pytest.approx(expected)
        assert found.bound <= found.objective + 1e-9
        assert found.gap <= 1e-6


def test_a_fleet_serves_everything_within_its_replicas() -> None:
    rng = np.random.default_rng(3)
    loads = rng.uniform(0.1, 5.0, (2, 3))
    problem = problem_of(loads, np.ones((2, 3)), [3.0, 2.0, 5.0], [1.0, 2.0, 1.0])
    found = solve_fleet(problem)
    assert found is not None
    shares = found.shares.reshape(2, 3)
    assert shares.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert ((loads * shares).sum(axis=0) <= found.replicas + 1e-6).all()


def test_stock_is_used_first_and_not_exceeded() -> None:
    loads, seconds = np.array([[2.0, 3.0], [1.5, 2.5]]), np.ones((2, 2))
    problem = problem_of(loads, seconds, [9.0, 10.0], [1.0, 1.0])
    # Three devices of the second type are owned.
    owned = replace(problem, tiers=(Tier(0, 9.0), Tier(1, 0.0, 3.0)))
    found = solve_fleet(owned)
    assert found is not None
    assert list(found.replicas) == [2, 3]
    assert found.usd_per_hour == pytest.approx(18.0)
    none = replace(problem, tiers=(Tier(0, 9.0, 1.0), Tier(1, 0.0, 3.0)))
    assert solve_fleet(none) is None


def test_budget_and_power_bind() -> None:
    problem = problem_of(
        np.array([[2.0, 5.0], [2.0, 5.0]]), np.ones((2, 2)), [4.0, 1.0], [1.0, 1.0]
    )
    free = solve_fleet(problem)
    assert free is not None
    assert (free.usd_per_hour, free.watts) == (10.0, 1000.0)
    # Half the power: the dear type, of which four do what ten of the other do.
    saving = solve_fleet(replace(problem, max_watts=500.0))
    assert saving is not None
    assert (saving.usd_per_hour, saving.watts) == (16.0, 400.0)
    assert solve_fleet(replace(problem, max_watts=500.0, max_usd_per_hour=15.0)) is None


def test_energy_can_be_the_objective() -> None:
    problem = problem_of(
        np.array([[2.0, 5.0], [2.0, 5.0]]), np.ones((2, 2)), [4.0, 1.0], [1.0, 1.0]
    )
    found = solve_fleet(replace(problem, usd_weight=0.0, watt_weight=1.0))
    assert found is not None
    assert found.watts == 400.0
    assert found.objective == pytest.approx(400.0)


def test_balanced_shares_cancel() -> None:
    """A prefill in one format needs a decode in it."""
    loads = np.array([[1.0, 9.0], [9.0, 1.0]])
    problem = problem_of(loads, np.ones((2, 2)), [1.0, 1.0], [1.0, 1.0])
    free = solve_fleet(problem)
    assert free is not None
    assert free.usd_per_hour == pytest.approx(2.0)
    # Ways 0 and 2 are of one format, 1 and 3 of another.
    tied = replace(problem, balances=Entries.of([(0, 0, 1.0), (0, 2, -1.0)]))
    found = solve_fleet(tied)
    assert found is not None
    assert found.usd_per_hour == pytest.approx(10.0)


def test_a_tighter_deadline_never_costs_less() -> None:
    rng = np.random.default_rng(11)
    loads, seconds = rng.uniform(0.5, 9.0, (2, 4)), rng.uniform(0.5, 4.0, (2, 4))
    problem = problem_of(loads, seconds, [1.0, 2.0, 4.0, 8.0], [1.0] * 4)
    least = fastest_end_s(problem)
    assert least is not None
    assert least == pytest.approx(seconds.min(axis=1).sum())
    costs = []
    for factor in (1.0, 1.2, 1.6, 2.5, 10.0):
        assert problem.paths is not None
        paths = replace(problem.paths, deadline_s=least * factor)
        timed = replace(problem, paths=paths)
        found, relaxed = solve_fleet(timed), relaxed_objective(timed)
        assert found is not None and relaxed is not None
        assert found.end_s <= paths.deadline_s * (1 + 1e-6)
        assert relaxed <= found.usd_per_hour + 1e-6
        costs.append(found.usd_per_hour)
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1]


def test_paths_are_evaluated_as_the_program_does() -> None:
    paths = PathRows(CHAIN_OF_TWO, 2, 2, 3)
    ends = paths.end_s(np.array([[1.0, 2.0], [5.0, 0.5]]))
    assert ends.tolist() == [6.0, 2.5]


def test_devices_are_bought_where_they_are_cheapest() -> None:
    problem = problem_of(np.ones((2, 1)), np.ones((2, 1)), [1.0], [2.0])
    tiers = (Tier(0, 3.0), Tier(0, 1.0, 3.0), Tier(0, 2.0, 2.0))
    bought = buy(replace(problem, tiers=tiers), np.array([4]))
    assert bought is not None
    assert bought.tolist() == [3.0, 3.0, 2.0]
    assert buy(replace(problem, tiers=tiers[1:]), np.array([4])) is None


def test_no_output_of_the_solver_reaches_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(5)
    loads = rng.uniform(1e-4, 1e3, (2, 4))
    solve_fleet(problem_of(loads, np.ones((2, 4)), [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 4.0, 8.0]))
    assert capfd.readouterr().out == ""


def test_the_seconds_of_a_fleet_are_those_of_its_shares_even_far_from_the_deadline() -> None:
    """The program's own end time may be anything up to the deadline."""
    loads, seconds = np.full((2, 1), 0.5), np.array([[2.0], [3.0]])
    problem = problem_of(loads, seconds, [1.0], [1.0])
    assert problem.paths is not None
    for deadline_s in (6.0, 1e9, math.inf):
        paths = replace(problem.paths, deadline_s=deadline_s)
        found = solve_fleet(replace(problem, paths=paths))
        assert found is not None
        assert found.end_s == pytest.approx(5.0)


@pytest.mark.parametrize("seed", (0, 1, 3, 5))
def test_a_ceiling_leaves_out_pools_but_never_the_answer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    loads, seconds = rng.uniform(0.2, 6.0, (2, 9)), rng.uniform(0.5, 4.0, (2, 9))
    problem = problem_of(loads, seconds, rng.uniform(1.0, 6.0, 9).tolist(), [1.0] * 9)
    best = solve_fleet(problem, max_gap=0.0)
    assert best is not None
    tight = replace(problem, ceiling=best.objective * 1.001)
    found = solve_fleet(tight, max_gap=0.0)
    assert found is not None
    assert found.objective == pytest.approx(best.objective)
    dear = _Program(tight)._too_dear()
    assert dear.any()
    assert not dear[best.replicas > 0].any()
