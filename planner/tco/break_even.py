"""At which price of a device type the answer changes, exactly for the fleets the search knows.

The cost of a fixed fleet is linear in the price p of one type, so the least cost over all fleets
is a concave, piecewise linear function of p (Eisner and Severance 1976). Where it leaves the
answer's line is found by intersecting lines: solve at a price beyond, cut the two lines, solve
at the cut, until no fleet is cheaper there. Few solves are needed, and no bisection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .answer import BreakEven
from .market import Market
from .search import Candidate, Search

MAX_SOLVES = 5
DEAR_FACTOR = 50.0
"""A type is taken to be left out at no price if the answer keeps it at 50 times its price."""


@dataclass(frozen=True, slots=True)
class _Line:
    """Objective of a fleet: base + slope x price of the type. Without a price of energy it is USD."""

    base: float
    slope: float
    fleet: str

    def at(self, price: float) -> float:
        return self.base + self.slope * price


def devices_of(candidate: Candidate, name: str) -> float:
    """Count the devices of a type in a fleet that are bought at the type's dearest offer."""
    model, problem = candidate.model, candidate.model.problem
    if name not in model.device_names:
        return 0.0
    device = model.device_names.index(name)
    tiers = [i for i, tier in enumerate(problem.tiers) if tier.device == device]
    dearest = max(tiers, key=lambda index: problem.tiers[index].usd_per_hour)
    return float(candidate.sizing.bought[dearest])


def break_even_up(search: Search, market: Market, answer: Candidate, name: str) -> BreakEven:
    """Find the price above which the answer, which uses a type, is no longer the cheapest."""
    now = market.usd(name)
    start = _line(search, market, answer, name, now)
    price = max(now, 0.01) * DEAR_FACTOR
    limit, beyond = None, start
    left = search.without(market, name)
    # The fleet without the type is one line to cut; runners-up ask for it as well.
    found = search.unhurried(left, answer.budget_s) or search.solve(left, answer.budget_s)
    for _ in range(MAX_SOLVES):
        found = found or _solve(search, market, answer, name, price, start)
        if found is None:
            break
        line, found = _line(search, market, found, name, price), None
        if line.slope >= start.slope - 1e-9 or line.at(price) >= start.at(price) * (1 - 1e-6):
            break  # the answer is still the cheapest there
        limit, beyond = (line.base - start.base) / (start.slope - line.slope), line
        if abs(limit - price) <= 1e-6 * max(price, 1e-9):
            break
        price = limit
    rounded = None if limit is None else max(limit, now)
    return BreakEven(name, now, rounded, "up", beyond.fleet if limit is not None else "")


def break_even_down(search: Search, market: Market, answer: Candidate, name: str) -> BreakEven:
    """Find the price below which a type that the answer does without enters it."""
    now = market.usd(name)
    start = _line(search, market, answer, name, now)
    price, limit, beyond = 0.0, None, start
    for _ in range(MAX_SOLVES):
        found = _solve(search, market, answer, name, price, start)
        if found is None:
            break
        line = _line(search, market, found, name, price)
        if line.slope <= start.slope + 1e-9 or line.at(price) >= start.at(price) * (1 - 1e-6):
            break
        limit, beyond = (start.base - line.base) / (line.slope - start.slope), line
        if abs(limit - price) <= 1e-6 * max(price, 1e-9):
            break
        price = limit
    rounded = None if limit is None else min(limit, now)
    return BreakEven(name, now, rounded, "down", beyond.fleet if limit is not None else "")


def _line(search: Search, market: Market, candidate: Candidate, name: str, price: float) -> _Line:
    slope = search.options.usd_weight * devices_of(candidate, name)
    fleet = search.cost(candidate, market).in_words()
    return _Line(candidate.sizing.objective - slope * price, slope, fleet)


def _solve(
    search: Search, market: Market, answer: Candidate, name: str, price: float, start: _Line
) -> Candidate | None:
    """Find the best fleet at a price; the answer's own, at that price, is known."""
    other = market.with_price(name, price)
    return search.solve(other, answer.budget_s, start.at(price))


def outside_by_promise(search: Search, market: Market, answer: Candidate) -> list[str]:
    """Order the types the answer does without by how little cheaper they would have to be.

    The promise is the fleet's cost over what the work of all classes would cost on the type
    alone at today's prices, fractional replicas, the better of its roles.
    """
    used = {row.device for row in search.cost(answer, market).fleet}
    scores: dict[str, float] = {}
    for pools in search.pools:
        for row, config in enumerate(pools.configs):
            name = config.device
            if name in used or name not in market.offers or config.role == "cpu":
                continue
            usd = float(np.sum(pools.load[row])) * config.size * market.usd(name)
            weight = 1.0 if config.role == "colocated" else 2.0  # half of the work
            if math.isfinite(usd) and usd > 0.0:
                scores[name] = min(scores.get(name, math.inf), weight * usd)
    return sorted(scores, key=lambda name: scores[name])


def break_evens(
    search: Search, market: Market, answer: Candidate, num_outside: int = 1
) -> tuple[BreakEven, ...]:
    """Give the break-even price of every type in the answer, and of the likeliest outside it."""
    types = dict.fromkeys(row.device for row in search.cost(answer, market).fleet)
    outside = outside_by_promise(search, market, answer)[:num_outside]
    return (
        *(break_even_up(search, market, answer, name) for name in types),
        *(break_even_down(search, market, answer, name) for name in outside),
    )
