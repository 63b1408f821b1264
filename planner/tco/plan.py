"""Plan a fleet: the cheapest mix of device types for a demand, and how sure that is.

`plan_fleet` is pure: everything it needs is handed to it. The first answer takes well under a
second; break-even prices, runners-up and the sensitivity table are asked for with `detail`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .answer import Answer, BreakEven, FleetCost, SensitivityRow, Slo
from .baselines import best_single_type, greedy
from .break_even import break_evens
from .demand import Demand
from .infeasible import quickest, usd_per_hour_per_ms, why_infeasible
from .market import Market
from .search import FIRST_SHARE, Candidate, PlanOptions, Search, make_search
from .sensitivity import sensitivity_rows

MIXING_GAIN = 0.01
"""A mix that saves less than 1 % over one type is said to save nothing."""


def plan_fleet(
    demand: Demand,
    slo: Slo,
    market: Market,
    options: PlanOptions | None = None,
    *,
    detail: bool = True,
    variations: Mapping[str, Market] | None = None,
) -> Answer:
    """Choose the fleet for a demand.

    Args:
        market: device types with their prices and stock (`market_of`).
        detail: also give runners-up, break-even prices and the sensitivity table.
        variations: further rows of that table: what changes -> the market it changes to (power
            price, age discount, financing).

    Raises:
        InfeasibleError: no fleet keeps the SLO, the stock, the budget or the power; says which.
        ConfigError: an unknown model, or a device row without the figures planning needs.
        PlanError: the solver ran out of time.
    """
    search = make_search(demand, slo, market, options or PlanOptions())
    choice = choose(search, market, propose_fleet(search, market))
    return answer_of(search, market, choice, detail=detail, variations=variations)


@dataclass(frozen=True, slots=True)
class Choice:
    """The fleet chosen, and what simpler rules would rent; a rule may find none."""

    best: Candidate
    single: Candidate | None
    greedy: Candidate | None


def propose_fleet(search: Search, market: Market) -> Candidate:
    """Find the cheapest fleet: the first answer; InfeasibleError as of `plan_fleet`."""
    best = search.unhurried(market, FIRST_SHARE * search.slo.seconds) or search.best(market)
    if best is None:
        # The search for a budget stops short of the very fastest fleets.
        best = quickest(search, market)
    if best is None or not search.in_time(best):
        raise why_infeasible(search, market)
    return best


def choose(search: Search, market: Market, best: Candidate) -> Choice:
    """Compare a fleet with the baselines; a baseline that is cheaper and in time is chosen."""
    single = best_single_type(search, market, best.budget_s)
    alone = greedy(search, market)
    return Choice(_cheapest(search, market, best, single, alone), single, alone)


def _cheapest(
    search: Search, market: Market, best: Candidate, *others: Candidate | None
) -> Candidate:
    """Give the cheapest fleet in time, whichever rule found it.

    A baseline may win by the accident of its budget. What is proven of it is then only what
    holds without a deadline.
    """
    for other in others:
        if other is None or other.sizing.objective >= best.sizing.objective:
            continue
        if search.in_time(other):
            bound = search.relaxed(market, math.inf)
            lowest = -math.inf if bound is None else bound
            best = replace(other, sizing=replace(other.sizing, bound=lowest))
    return best


def answer_of(
    search: Search,
    market: Market,
    choice: Choice,
    *,
    detail: bool = True,
    variations: Mapping[str, Market] | None = None,
) -> Answer:
    """Write the answer about a choice; arguments as of `plan_fleet`."""
    best = choice.best
    cost = search.cost(best, market)
    compared = {
        "best_single_type": _cost(search, choice.single, market, "best single type"),
        "greedy": _cost(search, choice.greedy, market, "greedy"),
    }
    rows: tuple[SensitivityRow, ...] = ()
    limits: tuple[BreakEven, ...] = ()
    if detail:
        limits = break_evens(search, market, best)
        rows = sensitivity_rows(search, market, best, variations or {}, limits)
    return Answer(
        workflow=search.demand.name,
        jobs_per_s=search.demand.jobs_per_s,
        slo=search.slo,
        best=cost,
        ttft_s=best.estimate.ttft_s,
        tpot_s=best.estimate.tpot_s,
        sentence=mixing_sentence(cost, compared["best_single_type"]),
        budget_s=best.budget_s,
        usd_per_hour_per_ms=usd_per_hour_per_ms(search, market, best.budget_s),
        baselines=compared,
        runners_up=_runners_up(search, market, best, choice.single) if detail else (),
        break_even=limits,
        sensitivity=rows,
        searched=_searched(search, market),
        prices={
            name: {**market.offers[name][-1].terms.to_json(), "usd_per_hour": market.usd(name)}
            for name in dict.fromkeys(row.device for row in cost.fleet)
        },
    )


def _cost(
    search: Search, candidate: Candidate | None, market: Market, label: str
) -> FleetCost | None:
    return None if candidate is None else search.cost(candidate, market, label)


def _runners_up(
    search: Search, market: Market, best: Candidate, single: Candidate | None
) -> tuple[FleetCost, ...]:
    """Give the best fleets without one of the answer's types, cheapest first, each once."""
    found: dict[str, FleetCost] = {}
    for name in search.cost(best, market).device_types:
        left = search.without(market, name)
        other = search.unhurried(left, best.budget_s) or search.best(left, best.budget_s, rounds=2)
        if other is not None:
            cost = search.cost(other, market, f"without {name}")
            found.setdefault(cost.in_words(), cost)
    if single is not None:
        cost = search.cost(single, market, "best single type")
        found.setdefault(cost.in_words(), cost)
    found.pop(search.cost(best, market).in_words(), None)
    return tuple(sorted(found.values(), key=lambda cost: cost.usd_per_hour))


def _searched(search: Search, market: Market) -> dict[str, int]:
    """Count what was compared."""
    roles: dict[str, set[str]] = {}
    for pools in search.pools:
        for config in pools.configs:
            if config.device in market.offers:
                roles.setdefault(config.role, set()).add(config.device)
    return {
        "device_types": len(set().union(*roles.values())) if roles else 0,
        "configurations": sum(len(pools.configs) for pools in search.pools),
        "ordered_pairs": len(roles.get("prefill", ())) * len(roles.get("decode", ())),
    }


def mixing_sentence(best: FleetCost, single: FleetCost | None) -> str:
    """Say in words what mixing device types saves here, or that it saves nothing."""
    if single is None:
        return (
            f"Mixing is needed here: no single accelerator type keeps the SLO; "
            f"{best.in_words()} does, for {best.usd_per_hour:.2f} USD an hour."
        )
    saved = 1.0 - best.usd_per_hour / single.usd_per_hour if single.usd_per_hour else 0.0
    if len(best.device_types) <= 1 or saved < MIXING_GAIN:
        only = single.device_types[0] if single.device_types else "one type"
        return (
            f"Mixing saves nothing here: {only} alone costs {single.usd_per_hour:.2f} USD an "
            f"hour, the best fleet found {best.usd_per_hour:.2f}."
        )
    return (
        f"Mixing {' and '.join(best.device_types)} saves {100 * saved:.0f} % against the best "
        f"single type ({', '.join(single.device_types)}, {single.usd_per_hour:.2f} USD an hour)."
    )
