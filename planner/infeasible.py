"""Say why no placement is good enough, and what would be."""

from __future__ import annotations

import math
from dataclasses import replace

from gangline.ir.errors import InfeasibleError
from gangline.ir.specs.plan import Plan

from .placement import Assignment, PlacementProblem, Solution, cheapest, fastest_within
from .situation import Situation, StageClass, assignment_of


def does_not_fit(situation: Situation) -> InfeasibleError:
    """Each model alone would fit some device, but no placement holds them all."""
    return InfeasibleError(
        f"The models {', '.join(_models(situation))} do not fit the fleet's memory together",
        where=f"fleet {situation.fleet.name}",
        next_step="Add a device, or links between devices so that they can share the work.",
    )


def _models(situation: Situation) -> list[str]:
    return sorted({model for group in situation.classes for model in group.models})


def cannot_run(situation: Situation, group: StageClass) -> InfeasibleError:
    """No device of the fleet can run a class, whatever the deadline."""
    stage = group.stages[0].name
    if not group.models:
        detail = f"Stage {stage!r} is a tool, and no device of the fleet has CPU cores"
        step = 'Add a [[device]] with type = "cpu" and its price.'
    else:
        biggest = max((o.device.spec.memory_bytes * o.tp for o in situation.options), default=0)
        detail = (
            f"Stage {stage!r} needs model {group.models[0]!r}, which with its KV cache fits no "
            f"device of the fleet (the largest has {biggest / 1e9:.1f} GB)"
        )
        step = "Add a device with more memory, or choose a smaller model."
    return InfeasibleError(detail, where=f"fleet {situation.fleet.name}", next_step=step)


def _binding(situation: Situation, found: Assignment) -> str:
    """Name the stage on the critical path that takes most of a job's time."""
    load = situation.loaded(found).seconds
    path = situation.timeline(found).path
    numbers = {stage.name: stage.id for stage in situation.program.walk()}

    def spent_s(name: str) -> float:
        return load[numbers[name]] * max(situation.profile.stages[name].visits, 1e-9)

    return max(path, key=spent_s)


def too_slow(
    situation: Situation, problem: PlacementProblem, quickest: Solution
) -> InfeasibleError:
    """Even the fastest placement misses the deadline."""
    if math.isinf(quickest.seconds):
        return overloaded(situation, quickest.assignment)
    stage = _binding(situation, quickest.assignment)
    device = _device_of(situation, quickest.assignment, stage)
    nearest = math.ceil(quickest.seconds * 1000) / 1000
    price = usd_per_ms(problem, quickest)
    return InfeasibleError(
        f"No placement on fleet {situation.fleet.name!r} meets the deadline of "
        f"{problem.deadline_s:g} s: the fastest takes {quickest.seconds:.3f} s "
        f"(${quickest.usd:.6f}), and stage {stage!r} on {device!r} takes most of it",
        where=f"stage {stage}",
        next_step=f"Ask for {nearest:g} s or more{_saving(price)}, add a faster device for "
        f"{stage!r}, or make it do less (fewer output tokens, a smaller model).",
        advice={
            "binding_stage": stage,
            "device": device,
            "nearest_slo_s": nearest,
            "usd_per_ms": price,
        },
    )


def _saving(price: float) -> str:
    if price <= 0.0:
        return " (more time than that makes no job cheaper)"
    return f" (each millisecond more makes a job ${price:.2g} cheaper)"


def usd_per_ms(problem: PlacementProblem, quickest: Solution) -> float:
    """Dollars a job saves per millisecond between the fastest placement and the next cheaper one.

    A finite difference of the cost of the two nearest deadlines that differ in cost; 0 where no
    placement is cheaper, however late.
    """
    for factor in LOOSER:
        loose = replace(problem, deadline_s=quickest.seconds * factor)
        found = cheapest(loose)
        if found is not None and found.usd < quickest.usd * (1.0 - 1e-6):
            return (quickest.usd - found.usd) / max((found.seconds - quickest.seconds) * 1e3, 1e-3)
    return 0.0


LOOSER = (1.02, 1.1, 1.25, 1.6, 2.5, 6.0, 40.0)
"""Factors on the fastest time at which a cheaper placement is looked for."""


def overloaded(situation: Situation, found: Assignment) -> InfeasibleError:
    """Not even the fastest placement keeps up with the rate."""
    demand = situation.loaded(found).demand
    device = max(demand, key=lambda name: demand[name])
    sustained = situation.rate / demand[device]
    stages = {row.stage: row for row in situation.rows(found) if row.device == device}
    stage = max(stages, key=lambda name: stages[name].seconds * stages[name].visits)
    return InfeasibleError(
        f"Fleet {situation.fleet.name!r} cannot keep up with {situation.rate:g} jobs per second: "
        f"device {device!r} is asked for {demand[device]:.1f} times what it can do, most "
        f"of it by stage {stage!r}",
        where=f"stage {stage}",
        next_step=f"Ask for about {sustained:.2g} jobs per second, or raise the count of "
        f"{device!r} to {_needed(situation, device, demand[device])}.",
        advice={
            "binding_stage": stage,
            "device": device,
            "nearest_slo_s": None,
            "usd_per_ms": 0.0,
            "sustained_rate": sustained,
        },
    )


def _needed(situation: Situation, device: str, load: float) -> int:
    return math.ceil(situation.fleet.device(device).count * load * 1.2)


def misses_objective(
    situation: Situation, plan: Plan, percent: float, wanted_s: float, reached_s: float
) -> InfeasibleError:
    """The fastest placement was simulated, and a percentile of it misses the objective."""
    assignment = assignment_of(situation, plan)
    stage = _binding(situation, assignment)
    device = _device_of(situation, assignment, stage)
    nearest = math.ceil(reached_s * 1000) / 1000
    problem = situation.problem(math.inf)
    quickest = Solution(assignment, plan.usd, situation.timeline(assignment).seconds, False)
    price = usd_per_ms(problem, quickest)
    rate = f" at {situation.rate:g} jobs per second" if situation.rate else ""
    return InfeasibleError(
        f"No placement on fleet {situation.fleet.name!r} keeps p{percent:g}={wanted_s:g}s{rate}: "
        f"the fastest has p{percent:g} = {reached_s:.3f} s in simulation (${plan.usd:.6f} a job), "
        f"and stage {stage!r} on {device!r} takes most of it",
        where=f"stage {stage}",
        next_step=f"Ask for p{percent:g}={nearest:g}s or more{_saving(price)}, add a faster "
        f"device for {stage!r}, or make it do less (fewer output tokens, a smaller model).",
        advice={
            "binding_stage": stage,
            "device": device,
            "nearest_slo_s": nearest,
            "percent": percent,
            "usd_per_ms": price,
        },
    )


def _device_of(situation: Situation, found: Assignment, stage: str) -> str:
    return next(row.device for row in situation.rows(found) if row.stage == stage)


def too_dear(
    situation: Situation, problem: PlacementProblem, found: Solution, budget_usd: float
) -> InfeasibleError:
    """Even the cheapest placement within the deadline is over the budget."""
    rows = situation.rows(found.assignment)
    dearest = max(rows, key=lambda row: row.usd * row.visits)
    affordable = fastest_within(replace(problem, deadline_s=math.inf), budget_usd)
    instead = (
        f"; within the budget the fastest takes {affordable.seconds:.3f} s"
        if affordable is not None
        else ""
    )
    return InfeasibleError(
        f"The cheapest placement on fleet {situation.fleet.name!r} that is in time costs "
        f"${found.usd:.6f} a job, over the budget of ${budget_usd:g}{instead}; "
        f"stage {dearest.stage!r} on {dearest.device!r} costs most",
        where=f"stage {dearest.stage}",
        next_step=f"Allow ${_round_up(found.usd):g} or more, give a later deadline, "
        f"or add a cheaper device for {dearest.stage!r}.",
    )


def _round_up(usd: float) -> float:
    """Round up to three significant digits."""
    unit = 10.0 ** (math.floor(math.log10(usd)) - 2)
    return math.ceil(usd / unit) * unit
