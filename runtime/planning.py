"""Plan for a percentile: propose, predict, simulate, and feed what was seen back.

The optimiser works with expected times. A percentile is met by asking it for an expected time
that is shorter by the ratio of the two, which is predicted first and measured then; and by
giving it the simulator's mean seconds of the stages it had placed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gangline.ir.errors import InfeasibleError
from gangline.ir.program import Program
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import Plan
from gangline.planner.calibration import Calibration
from gangline.planner.draws import draw_jobs
from gangline.planner.infeasible import misses_objective, overloaded
from gangline.planner.percentiles import NUM_DRAWS, Job, Prediction, predict_latencies
from gangline.planner.profile import Profile
from gangline.planner.proposal import propose
from gangline.planner.situation import ANY_TIME_S, Situation, assignment_of, situation_of

from .simulation.verdict import Verdict, simulate_plan

MAX_SIMULATIONS = 4
"""Proposals that are simulated at most before the fastest one has the last word."""

MAX_TIGHTENINGS = 6
"""Proposals that are only predicted at most before one is simulated."""

SLACK = 1.25
"""A placement is simulated if its prediction is at most this much over the objective: waits and
tails are predicted within some 20 %, and the simulator has the last word."""

IDLE_LOAD = 0.02
"""Jobs in flight where no rate is asked for: nearly always one at a time."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What a population of jobs is to keep: `percent` of them within `seconds`, at a rate."""

    percent: float
    seconds: float
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """A plan with what was predicted and what was simulated of it."""

    plan: Plan
    prediction: Prediction
    verdict: Verdict
    objective: Objective
    simulations: int

    def to_json(self) -> dict[str, Any]:
        """Give the plan's document with the percentiles beside it (docs/schemas/plan.json)."""
        percents = sorted({50.0, 95.0, self.objective.percent})
        predicted = {f"p{percent:g}_s": self.prediction.percentile(percent) for percent in percents}
        simulated = {f"p{percent:g}_s": self.verdict.percentile(percent) for percent in percents}
        return {
            **self.plan.to_json(),
            "slo": _slo_json(self.objective),
            "predicted": {**predicted, "utilisation": dict(self.prediction.utilisation)},
            "simulated": {**self.verdict.to_json(), **simulated, "rounds": self.simulations},
        }


def _slo_json(objective: Objective) -> dict[str, Any]:
    seconds = objective.seconds if math.isfinite(objective.seconds) else None
    return {"percent": objective.percent, "seconds": seconds, "rate": objective.rate or None}


@dataclass(slots=True)
class _Search:
    """One planning problem, and what the simulator has taught about it so far."""

    program: Program
    profile: Profile | None
    fleet: Fleet
    models: Mapping[str, ModelSpec]
    objective: Objective
    budget_usd: float | None
    calibration: Calibration | None
    seed: int
    num_jobs: int | None
    jobs: list[Job]
    observed: dict[tuple[str, str, int], float] = field(default_factory=dict)

    def propose(self, deadline_s: float, strict: bool, budget_usd: float | None = None) -> Plan:
        return propose(
            self.program,
            self.profile,
            self.fleet,
            self.models,
            deadline_s,
            self.budget_usd if budget_usd is None else budget_usd,
            strict=strict,
            rate=self.objective.rate,
            observed=self.observed,
            calibration=self.calibration,
        )

    def situation(self) -> Situation:
        return situation_of(
            self.program,
            self.profile,
            self.fleet,
            self.models,
            bool(self.fleet.links),
            rate=self.objective.rate,
            observed=self.observed,
            calibration=self.calibration,
        )

    def predict(self, plan: Plan) -> Prediction:
        situation = self.situation()
        return predict_latencies(situation, assignment_of(situation, plan), self.jobs, self.seed)

    def simulate(self, plan: Plan) -> Verdict:
        deadline = self.objective.seconds if math.isfinite(self.objective.seconds) else None
        return simulate_plan(
            self.program,
            self.profile,
            plan,
            self.fleet,
            self.models,
            rate=self.objective.rate or IDLE_LOAD / max(plan.seconds, 1e-6),
            num_jobs=self.num_jobs,
            seed=self.seed,
            deadline_s=deadline,
            calibration=self.calibration,
        )

    def learn(self, verdict: Verdict) -> None:
        for name, stage in verdict.stages.items():
            self.observed[(name, stage.device, stage.tp)] = stage.mean_s


def plan_for(
    program: Program,
    profile: Profile | None,
    fleet: Fleet,
    models: Mapping[str, ModelSpec],
    objective: Objective,
    *,
    budget_usd: float | None = None,
    calibration: Calibration | None = None,
    seed: int = 0,
    num_jobs: int | None = None,
) -> Judged:
    """Find the cheapest placement that the simulator finds to keep an objective.

    Args:
        num_jobs: jobs of one simulation; by default enough for its queues to settle.

    Raises:
        InfeasibleError: with the binding stage, the nearest objective the fleet keeps and the
            price of a millisecond.
    """
    jobs = draw_jobs(program, profile, NUM_DRAWS, seed)
    search = _Search(
        program, profile, fleet, models, objective, budget_usd, calibration, seed, num_jobs, jobs
    )
    mean_s = ANY_TIME_S
    # Invariant: no placement within a longer mean time is left that could keep the objective.
    for simulation in range(1, MAX_SIMULATIONS + 1):
        found = _tightened(search, mean_s)
        if found is None:
            break
        plan, prediction = found
        verdict = search.simulate(plan)
        reached = verdict.percentile(objective.percent)
        if reached <= objective.seconds:
            return _judged(search, plan, prediction, verdict, simulation)
        search.learn(verdict)
        mean_s = verdict.mean_s * objective.seconds / reached
    return _fastest(search)


def _tightened(search: _Search, mean_s: float) -> tuple[Plan, Prediction] | None:
    """Propose for shorter and shorter expected times until the objective is about predicted."""
    wanted = search.objective
    for _ in range(MAX_TIGHTENINGS):
        try:
            plan = search.propose(mean_s, strict=True)
        except InfeasibleError as error:
            if _in_time_at_any_price(search, mean_s):
                raise error from None  # it is the budget that stands in the way
            return None
        prediction = search.predict(plan)
        reached = prediction.percentile(wanted.percent)
        if reached <= SLACK * wanted.seconds:
            return plan, prediction
        # The percentile over the mean stays about the same from one placement to the next.
        mean_s = plan.seconds * min(wanted.seconds / reached, 0.999)
    return None


def _in_time_at_any_price(search: _Search, mean_s: float) -> bool:
    try:
        search.propose(mean_s, strict=True, budget_usd=math.inf)
    except InfeasibleError:
        return False
    return True


def _fastest(search: _Search) -> Judged:
    """Let the fastest placement have the last word: it keeps the objective, or none does."""
    search.observed.clear()
    plan = search.propose(0.0, strict=False)
    situation = search.situation()
    if math.isinf(plan.seconds):
        raise overloaded(situation, assignment_of(situation, plan))
    prediction, verdict = search.predict(plan), search.simulate(plan)
    reached = verdict.percentile(search.objective.percent)
    if reached > search.objective.seconds:
        raise misses_objective(
            situation, plan, search.objective.percent, search.objective.seconds, reached
        )
    return _judged(search, plan, prediction, verdict, MAX_SIMULATIONS)


def _judged(
    search: _Search, plan: Plan, prediction: Prediction, verdict: Verdict, simulations: int
) -> Judged:
    limit = search.objective.seconds
    limited = replace(plan, deadline_s=limit if math.isfinite(limit) else None)
    return Judged(limited, prediction, verdict, search.objective, simulations)
