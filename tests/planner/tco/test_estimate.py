"""The estimate of a fleet against a queue simulated step by step, and against Little's law."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.tco.answer import Slo
from gangline.planner.tco.demand import Demand, demand_of, demand_of_trace
from gangline.planner.tco.distribution import Distribution
from gangline.planner.tco.market import Market, Offer
from gangline.planner.tco.options import SearchSpace
from gangline.planner.tco.search import Candidate, PlanOptions, Search, make_search
from gangline.planner.tco.step_model import stated

CPU = DeviceSpec("host", "cpu", {"fp32": 1e11}, 64 * 10**9, 5e10, cores=4, tdp_w=100.0)
GPU = DeviceSpec(
    "card", "gpu", {"bf16": 4e14}, 80 * 10**9, 2e12, tdp_w=400.0, host_bytes_per_s=5e10
)
MARKET = Market({"host": CPU, "card": GPU}, {"host": (Offer(0.2),), "card": (Offer(2.0),)})


def fleet_for(demand: Demand, **space: Any) -> tuple[Search, Candidate]:
    options = PlanOptions(space=SearchSpace(tps=(1,), pps=(1,), **space), models=stated())
    search = make_search(demand, Slo(math.inf), MARKET, options)
    found = search.best(MARKET)
    assert found is not None
    return search, found


def queue(seconds: np.ndarray, rate: float, servers: int, rng: np.random.Generator) -> np.ndarray:
    """Serve calls first come, first served; gives each one's time in the system."""
    free = [0.0] * servers
    now, spent = 0.0, np.empty(len(seconds))
    for index, work in enumerate(seconds):
        now += rng.exponential(1.0 / rate)
        start = max(now, heapq.heappop(free))
        heapq.heappush(free, start + work)
        spent[index] = start + work - now
    return spent


def test_percentiles_of_a_loaded_pool(build: Any) -> None:
    build.tool("work")
    demand = demand_of(build.program(), None, 30.0)
    rng = np.random.default_rng(3)
    work = rng.lognormal(0.0, 1.0, 200_000)
    work *= 0.12 / work.mean()
    demand = replace(demand, classes=(replace(demand.classes[0], seconds=Distribution.of(work)),))
    # 30 calls/s of 0.12 s keep 3.6 of 4 cores busy.
    _, found = fleet_for(demand, cpu_utilisation=0.95)
    (load,) = found.estimate.groups
    assert load.replicas == 1
    assert load.utilisation == pytest.approx(0.9, rel=0.01)
    spent = queue(work, 30.0, 4, rng)
    assert found.estimate.seconds.mean() == pytest.approx(spent.mean(), rel=0.12)
    assert found.estimate.quantile(0.5) == pytest.approx(np.quantile(spent, 0.5), rel=0.2)
    assert found.estimate.quantile(0.95) == pytest.approx(np.quantile(spent, 0.95), rel=0.15)


def test_long_answers_make_the_tail() -> None:
    """Of two lengths, one in ten long: the 95th percentile is a long answer's."""
    rows = [(500.0, 100.0)] * 9 + [(500.0, 130.0)]
    short = fleet_for(demand_of_trace(rows, 5.0, "llama-3.1-8b"))[1].estimate
    rows = [(500.0, 100.0)] * 9 + [(500.0, 1000.0)]
    heavy = fleet_for(demand_of_trace(rows, 5.0, "llama-3.1-8b"))[1].estimate
    assert short.quantile(0.95) < 2.0 * short.quantile(0.5)
    assert heavy.quantile(0.95) > 6.0 * heavy.quantile(0.5)


def test_tails_within_a_class_count() -> None:
    demand = demand_of_trace([(500.0, 100.0)], 5.0, "llama-3.1-8b")
    spread = Distribution((20.0,) * 9 + (820.0,))
    wide = replace(demand, classes=(replace(demand.classes[0], output_tokens=spread),))
    even, uneven = (fleet_for(d)[1].estimate for d in (demand, wide))
    assert uneven.quantile(0.95) > 5.0 * even.quantile(0.95)
    assert uneven.quantile(0.5) < 0.5 * even.quantile(0.5)


@pytest.mark.parametrize("rate", [1.0, 8.0, 40.0])
def test_the_batch_follows_from_the_load(rate: float) -> None:
    demand = demand_of_trace([(500.0, 200.0)], rate, "llama-3.1-8b")
    _, found = fleet_for(demand, roles=("prefill", "decode"))
    decode = next(load for load in found.estimate.groups if load.group.role == "decode")
    (token_s,) = found.estimate.tpot_s.values()
    # Little: sequences in decoding = calls/s x seconds of a call's decoding.
    expected = rate * 200.0 * token_s / decode.replicas
    assert decode.batch == pytest.approx(max(expected, 1.0), rel=0.1)


def test_the_same_seed_draws_the_same_jobs() -> None:
    demand = demand_of_trace([(500.0, 200.0), (100.0, 900.0)], 3.0, "llama-3.1-8b")
    first, second = (fleet_for(demand)[1].estimate.seconds for _ in range(2))
    assert first.tolist() == second.tolist()
