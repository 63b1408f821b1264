"""What simpler rules would rent: one accelerator type for all, and each class on its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gangline.planner.optimiser.fleet_sizing import FleetProblem, Sizing, buy, fastest_part_s

from .market import Market
from .search import Candidate, Search
from .sizing import SizingModel

Array = npt.NDArray[np.float64]


def best_single_type(search: Search, market: Market, budget_s: float) -> Candidate | None:
    """Find the cheapest fleet with one accelerator type (CPU steps on any CPU type).

    Types are tried in the order of their lower bounds, until a bound exceeds the best found.
    """
    cpus = [name for name, spec in market.devices.items() if spec.cores > 0]
    bounds = []
    for name in market.offers:
        alone = market.only([name, *cpus])
        bound = search.relaxed(alone, max(budget_s, search.slo.seconds))
        if bound is not None:
            bounds.append((bound, name, alone))
    best: Candidate | None = None
    for bound, _, alone in sorted(bounds, key=lambda entry: entry[:2]):
        if best is not None and bound >= best.sizing.objective:
            break
        found = search.best(alone, budget_s, rounds=1)
        if found is not None and (best is None or found.sizing.objective < best.sizing.objective):
            best = found
    return best


def greedy(search: Search, market: Market) -> Candidate | None:
    """Put each class on the way that is cheapest for it alone, in its share of the deadline.

    The deadline is shared in proportion to the fastest seconds of the parts; shares shrink until
    the estimate is in time. No class knows of the others, so none fills another's spare capacity.
    """
    target = search.slo.seconds
    for factor in (1.0, 0.8, 0.64, 0.5, 0.4, 0.3, 0.2):
        model = search.model(market, math.inf)
        if not model.serves_all:
            return None
        budgets = _budgets(search, model, target * factor)
        sizing = _each_alone(model, budgets)
        if sizing is not None:
            found = search.candidate(model, sizing, target * factor)
            if math.isinf(target) or search.in_time(found):
                return found
        if math.isinf(target):
            return None
    return None


def _budgets(search: Search, model: SizingModel, target_s: float) -> Array:
    fastest = fastest_part_s(model.problem)
    if math.isinf(target_s):
        return np.full(model.problem.num_parts, np.inf)
    end = float(search.rows.paths().end_s(fastest[:, None])[0])
    return fastest * target_s / max(end, 1e-9)


@dataclass(slots=True)
class _Choice:
    usd: float
    ways: tuple[int, ...]


def _each_alone(model: SizingModel, budgets: Array) -> Sizing | None:
    problem = model.problem
    shares = np.zeros(problem.num_columns)
    usd = _replica_usd(problem)
    pool = np.zeros(problem.num_columns, dtype=np.int64)
    load = np.zeros(problem.num_columns)
    pool[problem.loads.column], load[problem.loads.column] = problem.loads.row, problem.loads.value
    in_time = np.ones(problem.num_columns, dtype=bool)
    late = problem.covers.value > budgets[problem.covers.row] + 1e-12
    in_time[problem.covers.column[late]] = False
    alone = np.ceil(load - 1e-9) * usd[pool]
    for group in dict.fromkeys(way.served for way in model.ways):
        choice = _cheapest(model, group, np.where(in_time, alone, np.inf))
        if choice is None:
            return None
        shares[list(choice.ways)] = 1.0
    needed = np.zeros(problem.num_pools)
    np.add.at(needed, pool, load * shares)
    return _priced(problem, np.ceil(needed - 1e-9).astype(np.int64), shares)


def _cheapest(model: SizingModel, group: int, usd: Array) -> _Choice | None:
    """Cheapest single way of a class, or pair of ways in one format."""
    best: dict[tuple[str, str], _Choice] = {}
    for index, way in enumerate(model.ways):
        if way.served != group or not math.isfinite(usd[index]):
            continue
        key = (way.config.role, way.config.dtype if way.config.role in PAIRED else "")
        if key not in best or usd[index] < best[key].usd:
            best[key] = _Choice(float(usd[index]), (index,))
    pairs = [
        _Choice(found.usd + best["decode", dtype].usd, found.ways + best["decode", dtype].ways)
        for (role, dtype), found in best.items()
        if role == "prefill" and ("decode", dtype) in best
    ]
    whole = [found for (role, _), found in best.items() if role not in PAIRED]
    return min(whole + pairs, key=lambda choice: choice.usd, default=None)


PAIRED = ("prefill", "decode")


def _replica_usd(problem: FleetProblem) -> Array:
    """Price of a replica of each pool at the dearest offer: a stock is not for the taking."""
    device = np.zeros(len(problem.watts))
    for tier in problem.tiers:
        device[tier.device] = max(device[tier.device], tier.usd_per_hour)
    return np.asarray(device[problem.pool_device] * problem.pool_size)


def _priced(problem: FleetProblem, replicas: npt.NDArray[np.int64], shares: Array) -> Sizing | None:
    bought = buy(problem, replicas)
    if bought is None:
        return None
    prices = np.array([tier.usd_per_hour for tier in problem.tiers])
    usd = float(bought @ prices)
    watts = float((replicas * problem.pool_size) @ problem.watts[problem.pool_device])
    objective = problem.usd_weight * usd + problem.watt_weight * watts
    return Sizing(replicas, shares, bought, usd, watts, objective, -math.inf)
