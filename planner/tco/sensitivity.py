"""How the answer moves when an assumption does: prices, rate, and markets handed in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .answer import BreakEven, SensitivityRow
from .break_even import devices_of
from .market import Market
from .search import Candidate, PlanOptions, Search, make_search

PRICE_CHANGE = 0.2
RATE_CHANGE = 0.25


def sensitivity_rows(
    search: Search,
    market: Market,
    best: Candidate,
    variations: Mapping[str, Market],
    known: Sequence[BreakEven] = (),
) -> tuple[SensitivityRow, ...]:
    """Give one row per change; the budget the fleet is sized for stays that of the answer.

    Args:
        known: break-even prices of the answer's types; up to them no other fleet is better, so
            that those rows need no search.
    """
    fleet = search.cost(best, market)
    limits = {row.device: row.stays_best_until for row in known if row.direction == "up"}
    rows = []
    for name in fleet.device_types:
        for sign in (1.0, -1.0):
            factor = 1.0 + sign * PRICE_CHANGE
            change = f"price of {name} {100 * sign * PRICE_CHANGE:+.0f} %"
            other = market.scaled(factor, [name])
            limit = limits.get(name, 0.0)
            if sign > 0.0 and (limit is None or limit >= other.usd(name)):
                kept = kept_usd(search, market, best, other)
                rows.append(SensitivityRow(change, kept, kept, False, fleet.in_words()))
            else:
                rows.append(_row(search, market, best, change, other))
    others = (_row(search, market, best, change, other) for change, other in variations.items())
    rates = (1.0 - RATE_CHANGE, 1.0 + RATE_CHANGE)
    return (*rows, *others, *(_rate_row(search, market, best, factor) for factor in rates))


def _row(
    search: Search, market: Market, best: Candidate, change: str, other: Market
) -> SensitivityRow:
    kept = kept_usd(search, market, best, other)
    found = search.solve(other, best.budget_s, least_known(search, best, other, search.options))
    mine = search.cost(best, market).in_words()
    if found is None:
        return SensitivityRow(change, kept, None, False, "")
    fleet = search.cost(found, other).in_words()
    cheapest = found.sizing.usd_per_hour
    # The same cost is the same answer, whichever of several equal fleets the solver names.
    same = fleet == mine or (kept is not None and cheapest >= kept * (1.0 - 1e-3))
    if kept is not None and same:
        return SensitivityRow(change, kept, kept, False, mine)
    return SensitivityRow(change, kept, cheapest, True, fleet)


def least_known(search: Search, best: Candidate, market: Market, options: PlanOptions) -> float:
    """Least objective, on a market, of the fleets found so far: what to search below."""
    least = math.inf
    for fleet in (best, *search.solved_within(best.budget_s)):
        usd, watts = usd_on(fleet, market), fleet.sizing.watts
        least = min(least, options.usd_weight * usd + options.usd_per_kwh * watts / 1000.0)
    return least


def usd_on(fleet: Candidate, market: Market) -> float:
    """Price a fleet on a market, USD an hour, cheapest offers first; inf if it cannot be had."""
    needed: dict[str, float] = {}
    for group, replicas in zip(fleet.model.groups, fleet.sizing.replicas, strict=True):
        needed[group.device] = needed.get(group.device, 0.0) + float(replicas) * group.size
    total = 0.0
    for name, left in needed.items():
        # Invariant: `left` is what the offers before this one, all cheaper, could not give.
        for offer in sorted(market.offers.get(name, ()), key=lambda row: row.usd_per_hour):
            taken = min(left, offer.limit)
            total, left = total + taken * offer.usd_per_hour, left - taken
        if left > 1e-6:
            return math.inf
    return total


def kept_usd(search: Search, market: Market, best: Candidate, other: Market) -> float | None:
    """Price the answer's fleet on another market; None if a type cannot be had there.

    Types with a stock are priced at their dearest offer beyond what was in stock.
    """
    total = best.sizing.usd_per_hour
    for name in dict.fromkeys(row.device for row in search.cost(best, market).fleet):
        if name not in other.offers:
            return None
        total += devices_of(best, name) * (other.usd(name) - market.usd(name))
    return total if math.isfinite(total) else None


def _rate_row(search: Search, market: Market, best: Candidate, factor: float) -> SensitivityRow:
    """Scale the arrival rate: 25 % fewer jobs is what a fleet bought for the peak sees."""
    demand = replace(search.demand, jobs_per_s=search.demand.jobs_per_s * factor)
    other = make_search(demand, search.slo, market, search.options)
    found = other.solve(market, best.budget_s)
    change = f"rate {100 * (factor - 1.0):+.0f} %"
    kept = best.sizing.usd_per_hour if factor <= 1.0 else None
    if found is None:
        return SensitivityRow(change, kept, None, False, "")
    cost = other.cost(found, market)
    if cost.in_words() == search.cost(best, market).in_words():
        # More jobs may fit on the same fleet, which is then kept, at what it costs now.
        return SensitivityRow(change, cost.usd_per_hour, cost.usd_per_hour, False, cost.in_words())
    return SensitivityRow(change, kept, cost.usd_per_hour, True, cost.in_words())
