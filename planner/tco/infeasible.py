"""Say why no fleet is good enough, what would be, and what the next millisecond costs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from gangline.ir.errors import InfeasibleError
from gangline.ir.specs.fleet import SECONDS_PER_HOUR
from gangline.planner.optimiser.fleet_sizing import fastest_part_s

from .market import Market
from .search import Candidate, Search
from .sizing import SizingModel, unserved


def why_infeasible(search: Search, market: Market) -> InfeasibleError:
    """Explain a search that found nothing."""
    free = search.anew(slo=replace(search.slo, seconds=math.inf))
    model = free.model(market, math.inf)
    missing = unserved(search.demand, model)
    if missing:
        return _cannot_run(search, market, next(iter(missing.values())))
    if free.solve(market, math.inf) is None:
        return _cannot_carry(free, market)
    return _too_slow(search, market, model)


def _cannot_run(search: Search, market: Market, part: str) -> InfeasibleError:
    """No device type serves a part at all."""
    slo = search.slo
    limited = math.isfinite(slo.ttft_s) or math.isfinite(slo.tpot_s)
    if limited:
        loose = search.anew(slo=replace(slo, ttft_s=math.inf, tpot_s=math.inf))
        if not unserved(search.demand, loose.model(market, math.inf)):
            return InfeasibleError(
                f"No device type serves {part} within {_limits_in_words(search)}",
                where=f"stage {part}",
                next_step=f"{_nearest_token_times(loose, market)} Allow more, or choose a "
                "smaller model or a faster device type.",
            )
    return InfeasibleError(
        f"No device type that can be had serves {part}",
        where=f"stage {part}",
        next_step="Add a device type with CPU cores: tools and text run there."
        if part.endswith("(cpu)")
        else "Add a type with enough memory for the model's weights and cache, or choose a "
        "smaller model.",
    )


def _limits_in_words(search: Search) -> str:
    slo = search.slo
    words = []
    if math.isfinite(slo.ttft_s):
        words.append(f"a time to first token of {1000 * slo.ttft_s:g} ms")
    if math.isfinite(slo.tpot_s):
        words.append(f"{1000 * slo.tpot_s:g} ms a token")
    return " and ".join(words)


def _nearest_token_times(loose: Search, market: Market) -> str:
    first, token = math.inf, math.inf
    for pools in loose.pools:
        for row, config in enumerate(pools.configs):
            if config.device not in market.offers:
                continue
            if config.role in ("prefill", "colocated"):
                first = min(first, float(pools.first_s[row].max()))
            if config.role in ("decode", "colocated"):
                token = min(token, float(pools.token_s[row].max()))
    return f"The fastest reach {1000 * first:.1f} ms to the first token and {1000 * token:.2f} ms a token."


def _cannot_carry(search: Search, market: Market) -> InfeasibleError:
    """The stock, the budget or the power does not suffice for the rate, even without deadline."""
    options = search.options
    unlimited = replace(options, max_usd_per_hour=math.inf, max_watts=math.inf)
    found = search.anew(options=unlimited).solve(market, math.inf)
    rate = f"{search.demand.jobs_per_s:g} jobs a second"
    if found is None:
        return InfeasibleError(
            f"The devices that can be had do not carry {rate}",
            where="stock",
            next_step="Add devices to the stock, offer a type without a limit, or lower the rate.",
        )
    usd, watts = found.sizing.usd_per_hour, found.sizing.watts
    if usd > options.max_usd_per_hour:
        return InfeasibleError(
            f"{rate} cost at least {usd:.2f} USD an hour, over the budget of "
            f"{options.max_usd_per_hour:g}",
            where="budget",
            next_step=f"Allow {usd:.2f} USD an hour, or lower the rate.",
        )
    limit = options.max_usd_per_hour
    budget = f" and {limit:g} USD an hour" if math.isfinite(limit) else ""
    return InfeasibleError(
        f"No fleet carries {rate} within {options.max_watts:g} W" + budget,
        where="power",
        next_step=f"The cheapest fleet without these limits draws {watts:.0f} W at {usd:.2f} "
        "USD an hour: allow more, or lower the rate.",
    )


def _too_slow(search: Search, market: Market, model: SizingModel) -> InfeasibleError:
    """Every fleet misses the deadline: name the stage, the nearest SLO and the price of it."""
    fastest = quickest(search, market)
    stage = binding_part(search, model)
    wanted, share = search.slo.seconds, 100 * search.slo.percentile
    if fastest is None:
        return InfeasibleError(
            f"No fleet keeps p{share:g} <= {wanted:g} s",
            where=f"stage {stage}",
            next_step="Allow more time, more budget or more devices.",
        )
    reached = fastest.estimate.quantile(search.slo.percentile)
    nearest = math.ceil(reached * 1000.0 * 1.001) / 1000.0
    saved = usd_per_hour_per_ms(search, market, fastest.budget_s)
    advice = {
        "binding_stage": stage,
        "device": serving_device(search, fastest, stage),
        "nearest_slo_s": nearest,
        "percent": share,
        "usd_per_ms": saved / (SECONDS_PER_HOUR * search.demand.jobs_per_s),
        "usd_per_hour_per_ms": saved,
        "usd_per_hour": fastest.sizing.usd_per_hour,
    }
    return InfeasibleError(
        f"No fleet keeps p{share:g} <= {wanted:g} s: the fastest found reaches {reached:.3f} s "
        f"for {fastest.sizing.usd_per_hour:.2f} USD an hour, and {stage} takes most of it",
        where=f"stage {stage}",
        next_step=f"Ask for p{share:g} <= {nearest:g} s or more (from there each further "
        f"millisecond saves about {saved:.3g} USD an hour), add a faster device type for "
        f"{stage}, or make it do less (fewer output tokens, a smaller model).",
        advice=advice,
    )


def serving_device(search: Search, candidate: Candidate, part: str) -> str:
    """Name the device type that serves most of a part, as `binding_part` calls it."""
    shares: dict[str, float] = {}
    for way, share in zip(candidate.model.ways, candidate.sizing.shares, strict=True):
        name, role = search.demand.classes[way.served].name, way.config.role
        phases = ("prefill", "decode") if role == "colocated" else (role,)
        if part in {f"{name} ({phase})" for phase in phases}:
            shares[way.config.device] = shares.get(way.config.device, 0.0) + float(share)
    return max(shares, key=lambda device: shares[device], default="")


def quickest(search: Search, market: Market) -> Candidate | None:
    """Size a fleet for a mean little above the least there is."""
    lowest = search.fastest(market)
    if lowest is None:
        return None
    for factor in (1.01, 1.05, 1.2, 1.5, 2.0):
        found = search.solve(market, factor * lowest)
        if found is not None:
            return found
    return None


def binding_part(search: Search, model: SizingModel) -> str:
    """Name the part whose doubling would delay the fastest job most: class and phase."""
    problem, demand = model.problem, search.demand
    fastest = fastest_part_s(problem)
    jobs = np.repeat(fastest[:, None], len(fastest), axis=1)
    jobs[np.diag_indices(len(fastest))] *= 2.0
    index, phase = demand.parts[int(np.argmax(search.rows.paths().end_s(jobs)))]
    return f"{demand.classes[index].name} ({phase})"


def usd_per_hour_per_ms(search: Search, market: Market, budget_s: float) -> float:
    """Give what one more millisecond of the mean saves, USD/h: 2 % more time, relaxed replicas.

    Whole replicas make the cost a staircase; the relaxed program is smooth, so its difference
    is the slope a reader wants. 0 where the deadline does not bind.
    """
    if math.isinf(budget_s):
        return 0.0
    now, later = (search.relaxed(market, factor * budget_s) for factor in (1.0, 1.02))
    if now is None or later is None:
        return 0.0
    return max(0.0, now - later) / (0.02 * budget_s * 1000.0)
