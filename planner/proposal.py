"""Propose a plan: which device runs each stage of a program, in what time and for how much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from gangline.ir.errors import PlanError
from gangline.ir.program import Program
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import Plan

from .calibration import Calibration
from .infeasible import cannot_run, does_not_fit, too_dear, too_slow
from .placement import PlacementProblem, Solution, cheapest, fastest
from .profile import Profile
from .situation import (
    MAX_TP,
    Observed,
    Situation,
    StageClass,
    situation_of,
)


def propose(
    program: Program,
    profile: Profile | None,
    fleet: Fleet,
    models: Mapping[str, ModelSpec],
    deadline_s: float | None = None,
    budget_usd: float | None = None,
    *,
    split: bool = True,
    strict: bool = True,
    rate: float = 0.0,
    observed: Observed | None = None,
    calibration: Calibration | None = None,
    max_tp: int = MAX_TP,
) -> Plan:
    """Place every step stage of a program on a fleet at least cost within deadline and budget.

    Pure and deterministic. The program's own deadline and budget hold where none is given.

    Args:
        profile: what is known about the workflow's jobs; None or partial is filled up with
            the program's defaults.
        split: allow prefill and decode of a model on different, linked devices.
        strict: raise when nothing meets deadline and budget; else give the nearest plan.
        rate: jobs per second that share the fleet; 0 for one job at a time.
        observed: mean seconds that a simulation measured, which stand before modelled ones.
        calibration: corrections from runs of any workflow; the profile's own samples fill in.
        max_tp: devices one copy of a model may be spread over; 1 for what our engine runs.

    Raises:
        InfeasibleError: naming the binding stage and what would be feasible.
        ModelError: a stage names a model that `models` lacks.
    """
    deadline_s = program.deadline_s if deadline_s is None else deadline_s
    budget_usd = program.budget_usd if budget_usd is None else budget_usd
    situation = situation_of(
        program,
        profile,
        fleet,
        models,
        split and bool(fleet.links),
        rate=rate,
        observed=observed,
        calibration=calibration,
        max_tp=max_tp,
    )
    problem = situation.problem(math.inf if deadline_s is None else deadline_s)
    found = _solve(situation, problem, budget_usd, strict)
    return _plan(situation, found, deadline_s, budget_usd)


def placed(
    program: Program,
    profile: Profile | None,
    fleet: Fleet,
    models: Mapping[str, ModelSpec],
    choose: Callable[[StageClass], tuple[str, int]],
    *,
    rate: float = 0.0,
    calibration: Calibration | None = None,
) -> Plan:
    """Price a placement that somebody else has chosen; nothing is searched or checked to fit.

    Args:
        choose: gives the device group and the tp of a class (`tool:<name>`, `prefill:<model>`,
            `decode:<model>`).

    Raises:
        PlanError: the fleet has no such group, or it cannot be split that way.
    """
    situation = situation_of(
        program, profile, fleet, models, split=True, rate=rate, calibration=calibration
    )
    numbers = {(row.device.name, row.tp): at for at, row in enumerate(situation.options)}
    chosen = [choose(group) for group in situation.classes]
    for group, option in zip(situation.classes, chosen, strict=True):
        if option not in numbers:
            raise PlanError(
                f"Class {group.name!r} cannot be placed on {option[1]} of device {option[0]!r}",
                where=f"fleet {fleet.name}",
                next_step="Name a group of the fleet, and a tp that divides the model's heads.",
            )
    assignment = tuple(numbers[option] for option in chosen)
    usd = situation.problem(math.inf).cost(assignment)
    found = Solution(assignment, usd, situation.timeline(assignment).seconds, False)
    return _plan(situation, found, program.deadline_s, program.budget_usd)


def _solve(
    situation: Situation, problem: PlacementProblem, budget_usd: float | None, strict: bool
) -> Solution:
    found = cheapest(problem)
    if found is None:
        quickest = _quickest(situation, problem)
        if strict:
            raise too_slow(situation, problem, quickest)
        return quickest
    if strict and budget_usd is not None and found.usd > budget_usd:
        raise too_dear(situation, problem, found, budget_usd)
    return found


def _quickest(situation: Situation, problem: PlacementProblem) -> Solution:
    for group, row in zip(situation.classes, problem.usd, strict=True):
        if not any(math.isfinite(usd) for usd in row):
            raise cannot_run(situation, group)
    found = fastest(problem)
    if found is None:
        raise does_not_fit(situation)
    return found


def _plan(
    situation: Situation, found: Solution, deadline_s: float | None, budget_usd: float | None
) -> Plan:
    times = situation.timeline(found.assignment)
    rows = situation.rows(found.assignment)
    return Plan(
        workflow=situation.program.name,
        program_hash=situation.program.hash,
        fleet=situation.fleet.name,
        stages=rows,
        seconds=times.seconds,
        usd=found.usd,
        deadline_s=deadline_s,
        budget_usd=budget_usd,
        critical_path=times.path,
        joules=sum(row.joules * row.visits for row in rows),
    )
