"""One program on one fleet: everything a search over placements asks about."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from gangline.ir.program import STEP_OPS, Program, Stage
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import StagePlan

from .calibration import Calibration, Key, calibrate
from .critical_path import Timeline, timeline
from .placement import Assignment, PlacementProblem
from .profile import Profile
from .stage_cost import MAX_BATCH, Estimate, StageCosts
from .workload import complete, visits

MEMORY_SHARE = 0.9
"""Part of a device's memory that weights and KV blocks may take; the rest is for activations."""

HOST_HOP_S = 1e-3
"""Seconds for text or tokens between two devices that no link joins: through the dispatcher."""


@dataclass(frozen=True, slots=True)
class StageClass:
    """Stages that are placed together: one model's calls (or halves of them), or one tool."""

    name: str
    stages: tuple[Stage, ...]
    models: tuple[str, ...] = ()


@dataclass(slots=True)
class Situation:
    """Everything the search asks about one program on one fleet."""

    program: Program
    profile: Profile
    fleet: Fleet
    costs: StageCosts
    classes: tuple[StageClass, ...]
    class_of: Mapping[int, int]
    visits: Mapping[int, tuple[float, float]]
    estimates: dict[tuple[int, int], Estimate] = field(default_factory=dict)

    def estimate(self, stage: Stage, device: int) -> Estimate:
        """Price one visit of a stage on a device; computed once."""
        key = (stage.id, device)
        if key not in self.estimates:
            width = self.visits[stage.id][1]
            work = self.profile.stages[stage.name]
            self.estimates[key] = self.costs.price(stage, work, self.fleet.devices[device], width)
        return self.estimates[key]

    def can_run(self, group: StageClass, device: FleetDevice) -> bool:
        """Tell whether a device can run these stages, each model alone."""
        if not group.models:
            return device.spec.cores > 0
        return device.spec.kind == "api" or _holds(self, device, group.models)

    def usd(self, group: StageClass, device: int) -> float:
        """Give the dollars these stages cost a job on a device; inf where they cannot run."""
        if not self.can_run(group, self.fleet.devices[device]):
            return math.inf
        return sum(
            self.estimate(stage, device).usd * self.profile.stages[stage.name].visits
            for stage in group.stages
        )

    def timeline(self, assignment: Assignment) -> Timeline:
        """Lay an assignment out in time, with the hops between devices."""
        seconds: dict[int, float] = {}
        for stage_id, group in self.class_of.items():
            estimate = self.estimate(self.program.stages[stage_id], assignment[group])
            seconds[stage_id] = estimate.seconds * estimate.waves
        return timeline(
            self.program,
            seconds,
            self.profile.factors,
            lambda source, target: self._hop_s(source, target, assignment),
        )

    def _hop_s(self, source: Stage, target: Stage, assignment: Assignment) -> float:
        here, there = (assignment[self.class_of[stage.id]] for stage in (source, target))
        if here == there:
            return 0.0
        devices = self.fleet.devices
        link = self.fleet.link(devices[here].name, devices[there].name)
        if link is None:
            return HOST_HOP_S
        moved = self._kv_bytes(target) if (source.op, target.op) == ("prefill", "decode") else 0.0
        return link.latency_s + moved / link.bytes_per_s

    def _kv_bytes(self, decode: Stage) -> float:
        model = self.costs.model(str(decode.attributes["model"]))
        return self.profile.stages[decode.name].prompt_tokens.mean * model.kv_bytes_per_token()

    def rows(self, assignment: Assignment) -> tuple[StagePlan, ...]:
        """Give the plan's row of every step stage, in program order."""
        steps = (stage for stage in self.program.walk() if stage.id in self.class_of)
        return tuple(self._row(stage, assignment[self.class_of[stage.id]]) for stage in steps)

    def _row(self, stage: Stage, device: int) -> StagePlan:
        estimate = self.estimate(stage, device)
        work = self.profile.stages[stage.name]
        return StagePlan(
            stage=stage.name,
            op=stage.op,
            device=self.fleet.devices[device].name,
            seconds=estimate.seconds,
            usd=estimate.usd,
            visits=work.visits,
            low_s=estimate.low_s,
            high_s=estimate.high_s,
            source=estimate.source,
            prompt_tokens=work.prompt_tokens.mean,
            output_tokens=work.output_tokens.mean,
        )

    def fits(self, assignment: Assignment) -> bool:
        """Tell whether devices hold all models placed on them, and what must be linked is."""
        return self._linked(assignment) and all(
            _holds(self, device, tuple(sorted(models)))
            for device, models in self._residents(assignment)
        )

    def _residents(self, assignment: Assignment) -> Iterator[tuple[FleetDevice, set[str]]]:
        for index, device in enumerate(self.fleet.devices):
            placed = (self.classes[group] for group, at in enumerate(assignment) if at == index)
            models = {model for group in placed for model in group.models}
            if models and device.spec.kind != "api":
                yield device, models

    def _linked(self, assignment: Assignment) -> bool:
        """Hold if every prefill whose decode runs elsewhere has a link to send its KV over."""
        at = {
            group.name: self.fleet.devices[device]
            for group, device in zip(self.classes, assignment, strict=True)
        }
        for name, source in at.items():
            target = at.get(name.replace("prefill:", "decode:", 1), source)
            if source is target or not name.startswith("prefill:"):
                continue
            remote = "api" in (source.spec.kind, target.spec.kind)
            if remote or self.fleet.link(source.name, target.name) is None:
                return False
        return True


def _holds(situation: Situation, device: FleetDevice, models: tuple[str, ...]) -> bool:
    lines = {name: situation.costs.roofline(device, name) for name in models}
    weights = sum(line.resident_bytes for line in lines.values())
    kv = max(
        (
            _longest(situation, name) * line.kv_bytes_per_token * _sequences(situation, name)
            for name, line in lines.items()
        ),
        default=0.0,
    )
    return weights + kv <= MEMORY_SHARE * device.spec.memory_bytes


def _decodes(situation: Situation, model: str) -> Iterator[Stage]:
    for stage in situation.program.stages:
        if stage.op == "decode" and stage.attributes["model"] == model:
            yield stage


def _longest(situation: Situation, model: str) -> float:
    rows = (situation.profile.stages[stage.name] for stage in _decodes(situation, model))
    return max((row.prompt_tokens.mean + row.output_tokens.mean for row in rows), default=0.0)


def _sequences(situation: Situation, model: str) -> float:
    widths = (situation.visits[stage.id][1] for stage in _decodes(situation, model))
    wanted = max(widths, default=1.0) * situation.profile.jobs_in_flight
    return min(max(wanted, 1.0), MAX_BATCH)


def stage_classes(program: Program, split: bool) -> tuple[StageClass, ...]:
    """Group a program's step stages; with `split` prefill and decode are classes of their own."""
    groups: dict[str, list[Stage]] = {}
    for stage in program.walk():
        if stage.op in STEP_OPS:
            groups.setdefault(_class_name(stage, split), []).append(stage)
    return tuple(
        StageClass(name, tuple(stages), () if name.startswith("tool:") else (_model(name),))
        for name, stages in groups.items()
    )


def _model(class_name: str) -> str:
    return class_name.split(":", 1)[1]


def _class_name(stage: Stage, split: bool) -> str:
    if stage.op == "tool":
        return f"tool:{stage.attributes.get('tool', stage.name)}"
    half = "prefill" if stage.op in ("tokenize", "prefill") else "decode"
    return f"{half if split else 'llm'}:{stage.attributes['model']}"


def situation_of(
    program: Program,
    profile: Profile | None,
    fleet: Fleet,
    models: Mapping[str, ModelSpec],
    split: bool,
) -> Situation:
    """Gather what is known: the completed profile, the classes and the calibrated costs."""
    full = complete(program, profile)
    classes = stage_classes(program, split)
    class_of = {stage.id: index for index, group in enumerate(classes) for stage in group.stages}
    expected = {
        visit.stage.id: (visit.visits, max(visit.width, 1.0))
        for visit in visits(program, full.factors)
    }
    costs = StageCosts(models, jobs_in_flight=full.jobs_in_flight)
    costs.calibration = _calibration(program, full, fleet, costs, expected)
    return Situation(program, full, fleet, costs, classes, class_of, expected)


def _calibration(
    program: Program,
    profile: Profile,
    fleet: Fleet,
    costs: StageCosts,
    expected: Mapping[int, tuple[float, float]],
) -> Calibration:
    return calibrate(
        measured
        for stage in program.stages
        if stage.op in ("prefill", "decode")
        for measured in _measured(stage, profile, fleet, costs, expected[stage.id][1])
    )


def _measured(
    stage: Stage, profile: Profile, fleet: Fleet, costs: StageCosts, width: float
) -> Iterator[tuple[Key, float, float]]:
    names = {device.name for device in fleet.devices}
    model = str(stage.attributes["model"])
    for sample in profile.stages[stage.name].samples:
        if sample.device in names:
            device = fleet.device(sample.device)
            batch = costs.batch(stage.op, device, width)
            modelled = costs.modelled_s(stage.op, model, device, sample, batch)
            yield (device.name, stage.op, model), sample.seconds, modelled


def placement_problem(situation: Situation, deadline_s: float) -> PlacementProblem:
    """State the search: dollars per class and device, time and memory per assignment."""
    devices = range(len(situation.fleet.devices))
    usd = [[situation.usd(group, device) for device in devices] for group in situation.classes]
    return PlacementProblem(
        usd=usd,
        seconds=lambda assignment: situation.timeline(assignment).seconds,
        fits=situation.fits,
        deadline_s=deadline_s,
    )
