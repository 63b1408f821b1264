"""Fleets around the answer: what being faster, or drawing less power, would cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from .answer import FleetCost
from .market import Market
from .search import Candidate, Search
from .sensitivity import least_known

SPEEDS = (1.4, 2.0, 4.0)
"""Budgets of the sizing over the least any fleet reaches."""

ENERGY_PRICES = ((1.0, 0.3), (1.0, 1.0), (1e-4, 1.0))
"""Weights of (USD, kWh); under the last one money breaks ties only."""


def latency_front(search: Search, market: Market, best: Candidate) -> tuple[FleetCost, ...]:
    """Give fleets from the fastest to the cheapest, none slower and dearer than another.

    The answer's own SLO does not bind them.
    """
    free = replace(search, slo=replace(search.slo, seconds=math.inf))
    lowest = free.fastest(market)
    if lowest is None:
        return (search.cost(best, market, "answer"),)
    found = [search.cost(best, market, "answer")]
    for factor in SPEEDS:
        candidate = free.solve(market, factor * lowest)
        if candidate is not None:
            found.append(free.cost(candidate, market, f"{factor:g} x the fastest"))
    return front(found, lambda cost: cost.p95_s)


def energy_front(search: Search, market: Market, best: Candidate) -> tuple[FleetCost, ...]:
    """Give fleets in the time of the answer from the cheapest to the most frugal one.

    Power is the thermal design power; fleets between two prices of energy may be missing.
    """
    found = [search.cost(best, market, "answer")]
    for usd, kwh in ENERGY_PRICES:
        options = replace(search.options, usd_weight=usd, usd_per_kwh=kwh)
        weighed = search.anew(options=options)
        known = least_known(search, best, market, options)
        candidate = weighed.solve(market, best.budget_s, known)
        if candidate is not None and weighed.in_time(candidate):
            label = f"{kwh / usd:g} USD/kWh more"
            found.append(weighed.cost(candidate, market, label))
    return front(found, lambda cost: cost.watts)


def front(costs: Iterable[FleetCost], other: Callable[[FleetCost], float]) -> tuple[FleetCost, ...]:
    """Keep the fleets that no other beats in both cost and the other criterion, cheapest first."""
    ranked = sorted(costs, key=lambda cost: (cost.usd_per_hour, other(cost)))
    kept: list[FleetCost] = []
    # Invariant: every kept fleet costs at most as much as the next and is worse in the other.
    for cost in ranked:
        if not kept or other(cost) < other(kept[-1]) * (1.0 - 1e-9):
            kept.append(cost)
    return tuple(kept)
