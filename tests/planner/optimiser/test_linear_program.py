"""The linear program bounds, and with whole shares is the problem."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.placement_instances import instance
from gangline.planner.optimiser.linear_program import branch_and_bound, linear_bound, linear_program

from .placement_cases import brute_force, cost, keeps, random_problem


@pytest.mark.parametrize("seed", range(25))
def test_branch_and_bound_is_brute_force_on_any_graph(seed: int) -> None:
    problem = random_problem(seed, capacities=seed % 2 == 0)
    least = brute_force(problem)
    found = branch_and_bound(problem, 1e-9)
    relaxed = linear_bound(problem)
    if not math.isfinite(least):
        assert found.assignment is None
        return
    assert found.assignment is not None
    assert keeps(problem, found.assignment.tolist())
    assert cost(problem, found.assignment.tolist()) == pytest.approx(least, abs=1e-6)
    assert relaxed is not None
    assert relaxed.bound_usd <= least + 1e-6


@pytest.mark.parametrize("seed", range(6))
def test_hops_that_cost_the_same_between_all_sites_need_fewer_columns(seed: int) -> None:
    problem = instance(6, seed, num_devices=3, general=seed % 2 == 0)
    sites = problem.transfer_s.shape[1]
    assert len(linear_program(problem).cost) == 6 * 3 + len(problem.edges) * sites + 6
    found = branch_and_bound(problem, 1e-9)
    assert found.assignment is not None
    assert cost(problem, found.assignment.tolist()) == pytest.approx(brute_force(problem))
    # A hair's breadth makes the hops unequal; the wider program then agrees.
    unequal = problem.transfer_usd.copy()
    unequal[:, 0, 1] *= 1.0 + 1e-9
    wide = linear_bound(replace(problem, transfer_usd=unequal))
    narrow = linear_bound(problem)
    assert wide is not None
    assert narrow is not None
    assert narrow.bound_usd == pytest.approx(wide.bound_usd, rel=1e-6)


def test_prices_foretell_what_a_later_deadline_and_more_devices_save() -> None:
    problem = instance(40, 1)
    free = linear_bound(problem)
    assert free is not None
    load = (free.share * np.where(problem.allowed, problem.seconds, 0.0)).sum(axis=0)
    tight = replace(problem, capacity_s=np.where(load == load.max(), 0.8 * load, 1e6))
    now = linear_bound(tight)
    assert now is not None
    assert now.capacity_price.max() > 0.0
    assert tight.capacity_s is not None
    more = tight.capacity_s.copy()
    device = int(now.capacity_price.argmax())
    more[device] *= 1.01
    after = linear_bound(replace(tight, capacity_s=more))
    later = linear_bound(replace(tight, deadline_s=tight.deadline_s * 1.01))
    assert after is not None
    assert later is not None
    # A linear program is convex in its limits: no step saves more than its price says.
    saved = now.bound_usd - after.bound_usd
    promised = now.capacity_price[device] * (more[device] - tight.capacity_s[device])
    assert 0.0 < saved <= promised * (1.0 + 1e-6)
    assert now.bound_usd - later.bound_usd <= now.usd_per_s * 0.01 * tight.deadline_s * (1 + 1e-6)
