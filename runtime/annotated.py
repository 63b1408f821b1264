"""A workflow's stages as MLIR with what a plan says of them: devices, transfers, needs, times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import Plan
from gangline.planner.calibration import Calibration
from gangline.planner.profile import Profile
from gangline.planner.proposal import propose
from gangline.planner.resources import resources
from gangline.planner.situation import assignment_of, link_s, situation_of

if TYPE_CHECKING:
    from gangline.ir.module import Module
    from gangline.ir.program import Program


def annotated_module(
    module: Module,
    program: Program,
    fleet: Fleet,
    models: Mapping[str, ModelSpec],
    *,
    profile: Profile | None = None,
    plan: Plan | None = None,
    calibration: Calibration | None = None,
    annotate: bool = True,
) -> Module:
    """Give a copy of a stage-level module with devices and transfers written in.

    Args:
        program: what the module was decoded to, maybe with another model.
        plan: a plan of this program on this fleet; the cheapest one by default.
        annotate: write needs, times and the critical path too.

    Raises:
        InfeasibleError: nothing of the fleet can run the program.
    """
    from gangline.ir.passes import AnnotateResources, CriticalPath, InsertTransfers, Pass, run

    if plan is None:
        plan = propose(program, profile, fleet, models, strict=False, calibration=calibration)
    passes: list[Pass] = [InsertTransfers(plan.placement())]
    if annotate:
        # Read the plan the way it was made: prefill and decode apart where links allow it.
        apart = bool(fleet.links)
        situation = situation_of(program, profile, fleet, models, apart, calibration=calibration)
        factors = situation.profile.factors
        needs = resources(program, situation.profile, situation.costs.model)
        seconds = situation.stage_seconds(assignment_of(situation, plan))
        link = _Link(fleet)
        passes += [AnnotateResources(needs, factors), CriticalPath(seconds, factors, link)]
    return run(module.copy(), passes)


class _Link:
    """Seconds between the groups of two device ids."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def __call__(self, source: str, target: str, moved_bytes: float) -> float:
        here, there = (device.partition("/")[0] for device in (source, target))
        return link_s(self._fleet, here, there, moved_bytes)
