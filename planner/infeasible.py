"""Say why no placement is good enough, and what would be."""

from __future__ import annotations

import math
from dataclasses import replace

from gangline.ir.errors import InfeasibleError

from .placement import PlacementProblem, Solution, fastest_within
from .situation import Situation, StageClass


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


def _binding(situation: Situation, found: Solution) -> str:
    """Name the stage on the critical path that takes most of a job's time."""
    path = situation.timeline(found.assignment).path
    rows = {row.stage: row for row in situation.rows(found.assignment)}
    return max(path, key=lambda name: rows[name].seconds * rows[name].visits)


def too_slow(
    situation: Situation, problem: PlacementProblem, quickest: Solution
) -> InfeasibleError:
    """Even the fastest placement misses the deadline."""
    stage = _binding(situation, quickest)
    device = _device_of(situation, quickest, stage)
    nearest = math.ceil(quickest.seconds * 1000) / 1000
    return InfeasibleError(
        f"No placement on fleet {situation.fleet.name!r} meets the deadline of "
        f"{problem.deadline_s:g} s: the fastest takes {quickest.seconds:.3f} s "
        f"(${quickest.usd:.6f}), and stage {stage!r} on {device!r} takes most of it",
        where=f"stage {stage}",
        next_step=f"Ask for {nearest:g} s or more, add a faster device for {stage!r}, "
        "or make it do less (fewer output tokens, a smaller model).",
    )


def _device_of(situation: Situation, found: Solution, stage: str) -> str:
    return next(row.device for row in situation.rows(found.assignment) if row.stage == stage)


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
