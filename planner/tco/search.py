"""The search for a fleet under a percentile: size for a budget, estimate, correct, repeat.

The sizing program adds up seconds, each term with one standard deviation. Which sum a job may
have so that 95 % of jobs are in time depends on the fleet, so that budget is searched: too late,
less; in time, more, until the largest budget that keeps the SLO is known within a twentieth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gangline.ir.specs.fleet import SECONDS_PER_HOUR
from gangline.planner.costs.shape import ModelShape, find_shape
from gangline.planner.optimiser.fleet_sizing import (
    Sizing,
    fastest_end_s,
    relaxed_objective,
    solve_fleet,
)

from .answer import FleetCost, FleetRow, Slo
from .demand import Demand
from .estimate import FleetEstimate, estimate
from .job_graph import LatencyRows, latency_rows
from .market import Market
from .options import Pools, SearchSpace, evaluate
from .sizing import Limits, SizingModel, sizing_model, with_budget
from .step_model import StepModels, fitted

MAX_ROUNDS = 5
FIRST_SHARE = 0.9
"""Share of the deadline that the summed seconds may take, as a first guess."""

NO_BUDGET_S = 1e9
"""A budget that binds nothing."""

SLACK_RATIO = 1.15
"""A fleet this much faster than the deadline is taken not to be bound by it."""

KNOWN_MARGIN = 1.001
"""Pools are left out that no fleet uses that is at most this much dearer than a known one."""

BUDGET_STEP = 1.05
"""The budget is known well enough when the next one that fails is within this factor."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How to search.

    Attributes:
        models: prices engine steps.
        shapes: model shapes by name, for models the packaged table does not have.
        max_usd_per_hour, max_watts: of the whole fleet.
        usd_weight, usd_per_kwh: the objective is usd_weight USD/h + usd_per_kwh x kW; (0, 1)
            minimises energy, (1, 0) money.
        max_gap: proven gap at which the solver may stop, relative.
    """

    space: SearchSpace = field(default_factory=SearchSpace)
    models: StepModels = fitted
    shapes: Mapping[str, ModelShape] = field(default_factory=dict)
    max_usd_per_hour: float = math.inf
    max_watts: float = math.inf
    usd_weight: float = 1.0
    usd_per_kwh: float = 0.0
    max_gap: float = 2e-3
    time_limit_s: float = 10.0
    seed: int = 0

    def shape(self, model: str) -> ModelShape:
        """Give the shape of a model by its name; ConfigError for one nobody knows."""
        return self.shapes[model] if model in self.shapes else find_shape(model)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A fleet with its estimate, sized for one budget."""

    model: SizingModel
    sizing: Sizing
    estimate: FleetEstimate
    budget_s: float


@dataclass(slots=True)
class Search:
    """One demand with its pools priced once; markets come and go."""

    demand: Demand
    slo: Slo
    options: PlanOptions
    pools: Sequence[Pools]
    rows: LatencyRows
    _models: dict[int, tuple[Market, SizingModel]] = field(default_factory=dict)
    _solved: dict[tuple[int, float], Candidate | None] = field(default_factory=dict)
    _without: dict[tuple[int, str], tuple[Market, Market]] = field(default_factory=dict)

    def anew(self, **changes: Any) -> Search:
        """Give this search with other options or token limits: nothing solved stays valid."""
        return replace(self, **changes, _models={}, _solved={}, _without={})

    def without(self, market: Market, name: str) -> Market:
        """Give a market without a type, the same one every time: it is solved for once."""
        key = (id(market), name)
        if key not in self._without:
            self._without[key] = (market, market.without([name]))
        return self._without[key][1]

    def limits(self, budget_s: float) -> Limits:
        """Give the limits of a sizing problem with that budget."""
        options = self.options
        return Limits(
            budget_s,
            self.slo.ttft_s,
            self.slo.tpot_s,
            options.max_usd_per_hour,
            options.max_watts,
            options.usd_weight,
            options.usd_per_kwh,
        )

    def model(self, market: Market, budget_s: float) -> SizingModel:
        """State the sizing problem on a market."""
        known = self._models.get(id(market))
        if known is None or known[0] is not market:
            limits = self.limits(math.inf)
            model = sizing_model(self.demand, self.pools, market, limits, self.rows)
            known = self._models[id(market)] = (market, model)
        return with_budget(known[1], budget_s)

    def solve(self, market: Market, budget_s: float, known: float = math.inf) -> Candidate | None:
        """Size a fleet for a budget and estimate it; None where there is none.

        A budget asked for before, of the same market, is not solved again (`_models` keeps every
        market alive, so that its id stays its own).

        Args:
            known: objective of some fleet within that budget: the search for one that is no
                dearer is quicker.
        """
        budget_s = math.inf if budget_s >= NO_BUDGET_S else budget_s
        key = (id(market), budget_s)
        if key not in self._solved:
            self._solved[key] = self._solve(market, budget_s, known)
        return self._solved[key]

    def _solve(self, market: Market, budget_s: float, known: float) -> Candidate | None:
        model = self.model(market, budget_s)
        if not model.serves_all:
            return None
        options = self.options
        gap, time_s = options.max_gap, options.time_limit_s
        ceiling = known * KNOWN_MARGIN
        narrowed = replace(model.problem, ceiling=ceiling)
        sizing = solve_fleet(narrowed, max_gap=gap, time_limit_s=time_s)
        if math.isfinite(ceiling) and (sizing is None or sizing.objective > ceiling):
            # The pools on this market have lost the fleet that was known: look at all of them.
            sizing = solve_fleet(model.problem, max_gap=gap, time_limit_s=time_s)
        if sizing is None:
            return None
        return self.candidate(model, sizing, budget_s)

    def solved_within(self, budget_s: float) -> list[Candidate]:
        """Give the fleets found so far, on any market, that keep a budget."""
        found = list(self._solved.values())
        return [fleet for fleet in found if fleet is not None and fleet.sizing.end_s <= budget_s]

    def unhurried(self, market: Market, budget_s: float) -> Candidate | None:
        """Give the cheapest fleet of all if it is in time; one solve, without a deadline to mind.

        What is cheapest without a deadline and keeps a budget is the cheapest within that.
        """
        if math.isinf(budget_s):
            return None
        free = self.solve(market, math.inf)
        if free is None or free.sizing.end_s > budget_s or not self.in_time(free):
            return None
        return replace(free, model=self.model(market, budget_s), budget_s=budget_s)

    def candidate(self, model: SizingModel, sizing: Sizing, budget_s: float) -> Candidate:
        """Put an estimate to a sizing."""
        found = estimate(self.demand, self.pools, model, sizing, seed=self.options.seed)
        return Candidate(model, sizing, found, budget_s)

    def in_time(self, candidate: Candidate) -> bool:
        """Tell whether a candidate keeps the SLO, as far as is estimated here."""
        return candidate.estimate.quantile(self.slo.percentile) <= self.slo.seconds

    def best(
        self, market: Market, first_budget_s: float = math.inf, rounds: int = MAX_ROUNDS
    ) -> Candidate | None:
        """Find the cheapest fleet that keeps the SLO; None where none was found."""
        if math.isinf(self.slo.seconds):
            return self.solve(market, math.inf)
        first = first_budget_s if math.isfinite(first_budget_s) else FIRST_SHARE * self.slo.seconds
        return _BudgetSearch(self, market, rounds).run(first)

    def fastest(self, market: Market) -> float | None:
        """Give the least summed seconds of a job on a market; None if a part cannot run."""
        model = self.model(market, NO_BUDGET_S)
        if not model.serves_all:
            return None
        return fastest_end_s(model.problem)

    def relaxed(self, market: Market, budget_s: float) -> float | None:
        """Give a lower bound of the objective on a market; None where there is no fleet."""
        model = self.model(market, budget_s)
        if not model.serves_all:
            return None
        return relaxed_objective(model.problem)

    def cost(self, candidate: Candidate, market: Market, label: str = "") -> FleetCost:
        """Write a candidate as a fleet with its costs."""
        return fleet_cost(self.demand, self.slo, candidate, market, label)


@dataclass(slots=True)
class _BudgetSearch:
    """Brackets the largest budget whose fleet keeps the SLO."""

    search: Search
    market: Market
    rounds: int
    kept: Candidate | None = None
    good_s: float = 0.0
    bad_s: float = math.inf
    bad_objective: float = -math.inf
    lowest_s: float = 0.0
    good_ratio: float = 1.0

    def run(self, budget_s: float) -> Candidate | None:
        """Search from a first guess; None where no fleet in time was found."""
        left = self.rounds
        # Invariant: `kept` is the cheapest fleet in time so far, `good_s` the largest budget
        # that gave one in time and `bad_s` the smallest that gave one too late.
        while left > 0 or (self.kept is None and left > -MAX_ROUNDS):
            left -= 1
            found = self.search.solve(self.market, budget_s)
            if found is None:
                # Below what any fleet reaches: start from there, once.
                if self.lowest_s > 0.0 or self.kept is not None:
                    break
                lowest = self.search.fastest(self.market)
                if lowest is None or lowest >= self.bad_s:
                    break
                budget_s = self.lowest_s = 1.02 * lowest
                continue
            self._learn(found, budget_s)
            if self._settled():
                break
            budget_s = self._next(found, budget_s)
        return self.kept

    def _learn(self, found: Candidate, budget_s: float) -> None:
        if not self.search.in_time(found):
            if budget_s < self.bad_s:
                self.bad_s, self.bad_objective = budget_s, found.sizing.objective
            return
        if budget_s > self.good_s:
            self.good_s, self.good_ratio = budget_s, self._ratio(found)
        if self.kept is None or found.sizing.objective < self.kept.sizing.objective:
            self.kept = found

    def _settled(self) -> bool:
        """Hold when a larger budget would save nothing worth a further solve."""
        if self.kept is None:
            return self.lowest_s > 0.0 and self.bad_s <= self.lowest_s
        enough = self.good_ratio <= 1.0 + 0.02
        if enough or self.bad_s <= self.good_s * BUDGET_STEP or self.good_s >= NO_BUDGET_S:
            return True
        # No budget in between costs less than the smallest that is too large.
        near = 1.0 + 2.0 * self.search.options.max_gap
        return self.kept.sizing.objective <= self.bad_objective * near

    def _ratio(self, found: Candidate) -> float:
        """Give how much later a fleet might be: the deadline over its percentile."""
        slo = self.search.slo
        return slo.seconds / max(found.estimate.quantile(slo.percentile), 1e-9)

    def _next(self, found: Candidate, budget_s: float) -> float:
        if self.good_s == 0.0:
            return budget_s * min(max(0.97 * self._ratio(found), 0.3), 0.95)
        if math.isinf(self.bad_s) and self.good_ratio > SLACK_RATIO:
            return NO_BUDGET_S  # far from binding: ask once what no deadline would cost
        # The percentile grows about as the budget does: aim a little below the deadline.
        aim = 0.985 * self.good_ratio * self.good_s
        if budget_s < NO_BUDGET_S and self.bad_s < NO_BUDGET_S and not self.search.in_time(found):
            aim = min(aim, 0.985 * self._ratio(found) * budget_s)
        return min(max(aim, 1.02 * self.good_s), 0.98 * self.bad_s)


def make_search(demand: Demand, slo: Slo, market: Market, options: PlanOptions) -> Search:
    """Price all pools of a demand on a market's device types.

    Raises:
        ConfigError: a model whose shape is not known.
    """
    names = dict.fromkeys(group.model for group in demand.classes if group.kind == "llm")
    shapes = {name: options.shape(name) for name in names}
    pools = evaluate(demand, market.devices, shapes, options.space, options.models)
    rows = latency_rows(demand.graph, len(demand.parts))
    return Search(demand, slo, options, pools, rows)


def fleet_cost(
    demand: Demand, slo: Slo, candidate: Candidate, market: Market, label: str = ""
) -> FleetCost:
    """Write a candidate as a fleet with its costs per hour, job and token."""
    sizing = candidate.sizing
    jobs_per_hour = demand.jobs_per_s * SECONDS_PER_HOUR
    mtok_per_hour = jobs_per_hour * demand.tokens_per_job / 1e6
    fleet = _with_prices(_fleet_rows(candidate, market), candidate)
    return FleetCost(
        fleet=fleet,
        usd_per_hour=sizing.usd_per_hour,
        usd_per_1k_jobs=1000.0 * sizing.usd_per_hour / jobs_per_hour,
        usd_per_mtok=sizing.usd_per_hour / mtok_per_hour if mtok_per_hour else 0.0,
        watts=sizing.watts,
        kwh_per_1k_jobs=sizing.watts / jobs_per_hour,
        p50_s=candidate.estimate.quantile(0.5),
        p95_s=candidate.estimate.quantile(0.95),
        reached_s=candidate.estimate.quantile(slo.percentile),
        gap=sizing.gap,
        label=label,
    )


def _fleet_rows(candidate: Candidate, market: Market) -> list[FleetRow]:
    """Write the replicas of a fleet, still without what they cost."""
    used = {load.group: load for load in candidate.estimate.groups}
    rows = []
    for group, replicas in zip(candidate.model.groups, candidate.sizing.replicas, strict=True):
        if replicas <= 0:
            continue
        load = used.get(group)
        count = int(replicas) * group.size
        rows.append(
            FleetRow(
                device=group.device,
                count=count,
                role=group.role,
                tp=group.tp,
                pp=group.pp,
                replicas=int(replicas),
                dtype=group.dtype,
                model=group.model,
                usd_per_hour=0.0,
                watts=count * market.devices[group.device].tdp_w,
                utilisation=0.0 if load is None else load.utilisation,
                batch=0.0 if load is None else load.batch,
            )
        )
    return rows


def _with_prices(rows: list[FleetRow], candidate: Candidate) -> tuple[FleetRow, ...]:
    """Spread what was paid for a device type evenly over its devices."""
    names, problem = candidate.model.device_names, candidate.model.problem
    paid = dict.fromkeys(names, 0.0)
    for tier, count in zip(problem.tiers, candidate.sizing.bought, strict=True):
        paid[names[tier.device]] += tier.usd_per_hour * float(count)
    devices = dict.fromkeys(names, 0)
    for row in rows:
        devices[row.device] += row.count
    priced = [
        replace(row, usd_per_hour=paid[row.device] * row.count / devices[row.device])
        for row in rows
    ]
    return tuple(sorted(priced, key=lambda row: (-row.usd_per_hour, row.device, row.role)))
