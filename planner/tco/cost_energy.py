"""The trade between money and energy: fleets no other beats in both."""

from __future__ import annotations

from dataclasses import replace

from .answer import FleetCost, Slo
from .demand import Demand
from .market import Market
from .search import PlanOptions, make_search

WEIGHTS = ((1.0, 0.0), (1.0, 0.1), (1.0, 0.3), (1.0, 1.0), (1.0, 3.0), (1e-4, 1.0))
"""Weights of (USD, kWh) the front is drawn from; under the last one money breaks ties only."""


def cost_energy_front(
    demand: Demand, slo: Slo, market: Market, options: PlanOptions | None = None
) -> tuple[FleetCost, ...]:
    """Give the fleets that are cheapest for some price of energy, cheapest first.

    Each is labelled with the price of energy, on top of what devices cost, that leads to it.
    Fleets between two of the prices may be missing: the front is of the supported points only.
    """
    chosen = options or PlanOptions()
    found: dict[str, FleetCost] = {}
    for usd, kwh in WEIGHTS:
        weighed = replace(chosen, usd_weight=usd, usd_per_kwh=kwh)
        search = make_search(demand, slo, market, weighed)
        best = search.best(market)
        if best is not None:
            cost = search.cost(best, market, f"energy at {kwh / usd:g} USD/kWh more")
            found.setdefault(cost.in_words(), cost)
    kept: list[FleetCost] = []
    # Invariant: every kept fleet costs at most as much as the next and draws more than it.
    for cost in sorted(found.values(), key=lambda fleet: (fleet.usd_per_hour, fleet.watts)):
        if not kept or cost.watts < kept[-1].watts:
            kept.append(cost)
    return tuple(kept)
