"""One program on one fleet: everything a search over placements asks about."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from gangline.ir.program import HOST_STEPS, STEP_OPS, Program, Stage
from gangline.ir.specs.event import StepRecord
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.ir.visits import visits

from .calibration import Calibration, Key
from .costs.shape import ModelShape
from .critical_path import Timeline, timeline
from .engine_times import MEMORY_SHARE, is_fitted
from .load import Loaded, loaded
from .placement import Assignment, PlacementProblem
from .profile import ENGINE_OPS, Profile, observe
from .stage_cost import Option, StageCosts, StageEstimate, engine_op
from .workload import complete

HOST_HOP_S = 1e-3
"""Seconds for text or tokens between two devices that no link joins: through the dispatcher."""

MAX_TP = 8
"""Devices one layer is split over at most: those of one node."""

ANY_TIME_S = 1e9
"""An expected time that every placement keeps which keeps up with the rate."""

Observed = Mapping[tuple[str, str, int], float]
"""Measured mean seconds, waits included, by (stage, device group, tp)."""


def link_s(fleet: Fleet, source: str, target: str, moved_bytes: float) -> float:
    """Seconds that so many bytes take from one device group to another."""
    link = fleet.link(source, target)
    return HOST_HOP_S if link is None else link.latency_s + moved_bytes / link.bytes_per_s


@dataclass(frozen=True, slots=True)
class StageClass:
    """Stages that are placed together: one model's calls (or halves of them), or one tool."""

    name: str
    stages: tuple[Stage, ...]
    models: tuple[str, ...] = ()


@dataclass(slots=True)
class Situation:
    """Everything the search asks about one program on one fleet.

    Attributes:
        options: what a class may be placed on; device numbers of an assignment count these.
        rate: jobs per second; 0 for one job at a time.
        observed: what a simulation measured; it stands before what is modelled.
    """

    program: Program
    profile: Profile
    fleet: Fleet
    costs: StageCosts
    classes: tuple[StageClass, ...]
    class_of: Mapping[int, int]
    visits: Mapping[int, tuple[float, float]]
    options: tuple[Option, ...]
    rate: float = 0.0
    observed: Observed = field(default_factory=dict)
    estimates: dict[tuple[int, int], StageEstimate] = field(default_factory=dict)
    held: dict[tuple[str, int, tuple[str, ...]], bool] = field(default_factory=dict)

    def estimate(self, stage: Stage, option: int) -> StageEstimate:
        """Price one visit of a stage on an option; computed once."""
        key = (stage.id, option)
        if key not in self.estimates:
            width = self.visits[stage.id][1]
            work = self.profile.stages[stage.name]
            self.estimates[key] = self.costs.price(stage, work, self.options[option], width)
        return self.estimates[key]

    def can_run(self, group: StageClass, option: Option) -> bool:
        """Tell whether an option can run these stages, each model alone."""
        if not group.models:
            return option.device.spec.cores > 0 and option.tp == 1
        return option.device.spec.kind == "api" or _holds(self, option, group.models)

    def usd(self, group: StageClass, option: int) -> float:
        """Give the dollars these stages cost a job on an option; inf where they cannot run."""
        if not self.can_run(group, self.options[option]):
            return math.inf
        return sum(
            self.estimate(stage, option).usd * self.profile.stages[stage.name].visits
            for stage in group.stages
        )

    def loaded(self, assignment: Assignment) -> Loaded:
        """Give what each stage takes with its waits, and how busy devices are."""
        return loaded(self, assignment)

    def stage_seconds(self, assignment: Assignment) -> dict[str, float]:
        """Give what each stage adds to a job's time, waits included, by stage name."""
        found = self.loaded(assignment).seconds
        return {self.program.stages[number].name: seconds for number, seconds in found.items()}

    def timeline(self, assignment: Assignment) -> Timeline:
        """Lay an assignment out in time, with waits and the hops between devices."""
        return timeline(
            self.program,
            self.loaded(assignment).seconds,
            self.profile.factors,
            lambda source, target: self._hop_s(source, target, assignment),
        )

    def _hop_s(self, source: Stage, target: Stage, assignment: Assignment) -> float:
        here, there = (
            self.options[assignment[self.class_of[stage.id]]].device for stage in (source, target)
        )
        if here is there:
            return 0.0
        moved = self._kv_bytes(target) if (source.op, target.op) == ("prefill", "decode") else 0.0
        return link_s(self.fleet, here.name, there.name, moved)

    def _kv_bytes(self, decode: Stage) -> float:
        model = self.costs.model(str(decode.attributes["model"]))
        return self.profile.stages[decode.name].prompt_tokens.mean * model.kv_bytes_per_token()

    def rows(self, assignment: Assignment) -> tuple[StagePlan, ...]:
        """Give the plan's row of every step stage, in program order."""
        steps = (stage for stage in self.program.walk() if stage.id in self.class_of)
        return tuple(self._row(stage, assignment[self.class_of[stage.id]]) for stage in steps)

    def _row(self, stage: Stage, option: int) -> StagePlan:
        estimate = self.estimate(stage, option)
        work = self.profile.stages[stage.name]
        return StagePlan(
            stage=stage.name,
            op=stage.op,
            device=self.options[option].device.name,
            seconds=estimate.seconds,
            usd=estimate.usd,
            visits=work.visits,
            low_s=estimate.low_s,
            high_s=estimate.high_s,
            source=estimate.source,
            prompt_tokens=work.prompt_tokens.mean,
            output_tokens=work.output_tokens.mean,
            low_usd=estimate.usd_at(estimate.low_s),
            high_usd=estimate.usd_at(estimate.high_s),
            joules=estimate.joules,
            low_joules=estimate.low_joules,
            high_joules=estimate.high_joules,
            memory_bytes=estimate.memory_bytes,
            low_memory_bytes=estimate.low_memory_bytes,
            high_memory_bytes=estimate.high_memory_bytes,
            tp=self.options[option].tp,
            dtype=estimate.dtype,
        )

    def fits(self, assignment: Assignment) -> bool:
        """Tell whether devices hold all models placed on them, and what must be linked is."""
        return self._linked(assignment) and all(
            _holds(self, option, tuple(sorted(models)))
            for option, models in self._residents(assignment)
        )

    def problem(self, deadline_s: float) -> PlacementProblem:
        """State the search: dollars per class and option, time and memory per assignment.

        At a rate, a placement that does not keep up is none, however late a job may be.
        """
        options = range(len(self.options))
        return PlacementProblem(
            usd=[[self.usd(group, option) for option in options] for group in self.classes],
            seconds=lambda assignment: self.timeline(assignment).seconds,
            fits=self.fits,
            deadline_s=min(deadline_s, ANY_TIME_S) if self.rate > 0.0 else deadline_s,
        )

    def _residents(self, assignment: Assignment) -> Iterator[tuple[Option, set[str]]]:
        """Give what is resident on each device group; several tp of one group take the widest."""
        found: dict[str, tuple[Option, set[str]]] = {}
        for group, at in zip(self.classes, assignment, strict=True):
            option = self.options[at]
            if group.models and option.device.spec.kind != "api":
                known = found.get(option.device.name, (option, set()))
                narrow = min(known[0], option, key=lambda row: row.tp)
                found[option.device.name] = (narrow, known[1] | set(group.models))
        yield from found.values()

    def _linked(self, assignment: Assignment) -> bool:
        """Hold if every prefill whose decode runs elsewhere has a link to send its KV over."""
        at = {
            group.name: self.options[option]
            for group, option in zip(self.classes, assignment, strict=True)
        }
        for name, source in at.items():
            target = at.get(name.replace("prefill:", "decode:", 1), source)
            if source is target or not name.startswith("prefill:"):
                continue
            if source.device is target.device:
                return False  # one group, split two ways: prompts and tokens share a copy
            remote = "api" in (source.device.spec.kind, target.device.spec.kind)
            if remote or self.fleet.link(source.device.name, target.device.name) is None:
                return False
        return True


def _holds(situation: Situation, option: Option, models: tuple[str, ...]) -> bool:
    key = (option.device.name, option.tp, models)
    if key not in situation.held:
        situation.held[key] = _has_room(situation, option, models)
    return situation.held[key]


def _has_room(situation: Situation, option: Option, models: tuple[str, ...]) -> bool:
    times = {name: situation.costs.times(option, name) for name in models}
    weights = sum(line.weight_bytes for line in times.values())
    kv = max(
        (
            _kv_tokens(situation, option, name) * line.kv_bytes_per_token
            for name, line in times.items()
        ),
        default=0.0,
    )
    return weights + kv <= MEMORY_SHARE * option.device.spec.memory_bytes * option.tp


def _decodes(situation: Situation, model: str) -> Iterator[Stage]:
    for stage in situation.program.stages:
        if stage.op == "decode" and stage.attributes["model"] == model:
            yield stage


def _kv_tokens(situation: Situation, option: Option, model: str) -> float:
    """Tokens of a model whose KV blocks one replica holds at once, as a plan assumes."""
    found = 0.0
    for stage in _decodes(situation, model):
        work, width = situation.profile.stages[stage.name], situation.visits[stage.id][1]
        batch = situation.costs.batch("decode", option, width, model, work)
        found = max(found, batch * (work.prompt_tokens.mean + work.output_tokens.mean))
    return found


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
    if stage.op in HOST_STEPS:
        return f"tool:{stage.attributes.get('tool', stage.name)}"
    half = "prefill" if stage.op in ("tokenize", "prefill", "embed") else "decode"
    return f"{half if split else 'llm'}:{stage.attributes['model']}"


def options_of(
    fleet: Fleet, costs: StageCosts, names: Iterable[str], max_tp: int = MAX_TP
) -> tuple[Option, ...]:
    """Give what classes may be placed on: every group, and groups of its devices as one."""
    heads = [_num_heads(costs.model(name)) for name in names]
    found = []
    for device in fleet.devices:
        tp = 1
        while tp <= min(device.count, max_tp):
            if tp == 1 or (is_fitted(device.spec) and all(count % tp == 0 for count in heads)):
                found.append(Option(device, tp))
            tp *= 2
    return tuple(found)


def _num_heads(model: ModelSpec | ModelShape) -> int:
    return model.num_heads if isinstance(model, ModelSpec) else model.heads


def situation_of(
    program: Program,
    profile: Profile | None,
    fleet: Fleet,
    models: Mapping[str, ModelSpec],
    split: bool,
    *,
    rate: float = 0.0,
    observed: Observed | None = None,
    calibration: Calibration | None = None,
    max_tp: int = MAX_TP,
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
    named = dict.fromkeys(name for group in classes for name in group.models)
    options = options_of(fleet, costs, named, max_tp)
    own = Calibration.of(
        row
        for stage in program.stages
        if stage.op in ENGINE_OPS
        for row in _measured(stage, full, fleet, costs, expected[stage.id][1])
    )
    costs.calibration = (calibration or Calibration()).joined(own)
    costs.tokens_per_s = _tokens_per_s(program, full, rate)
    return Situation(
        program,
        full,
        fleet,
        costs,
        classes,
        class_of,
        expected,
        options,
        rate=rate,
        observed=observed or {},
    )


def _tokens_per_s(program: Program, profile: Profile, rate: float) -> dict[str, float]:
    found: dict[str, float] = {}
    for stage in program.walk():
        if stage.op == "decode" and rate > 0.0:
            work, model = profile.stages[stage.name], str(stage.attributes["model"])
            wanted = rate * work.visits * work.output_tokens.mean
            found[model] = found.get(model, 0.0) + wanted
    return found


def _measured(
    stage: Stage, profile: Profile, fleet: Fleet, costs: StageCosts, width: float
) -> Iterator[tuple[Key, float, float]]:
    names = {device.name for device in fleet.devices}
    model, work = str(stage.attributes["model"]), profile.stages[stage.name]
    op = engine_op(stage)
    for sample in work.samples:
        if sample.device in names:
            option = Option(fleet.device(sample.device))
            batch = costs.batch(op, option, width, model, work)
            modelled = costs.modelled_s(op, model, option, sample, batch)
            yield costs.key(option, op, model, sample, batch), sample.seconds, modelled


def modelled_steps(
    program: Program,
    steps: Iterable[StepRecord],
    fleet: Fleet,
    models: Mapping[str, ModelSpec],
) -> list[tuple[Key, float, float]]:
    """Set measured steps of a job beside what the uncorrected model says of them.

    Returns:
        (bucket, actual seconds, modelled seconds) of every prefill and decode that ended.
    """
    seen = observe(steps)
    costs = StageCosts(models)
    factors = complete(program, seen).factors
    widths = {visit.stage.name: max(visit.width, 1.0) for visit in visits(program, factors)}
    found: list[tuple[Key, float, float]] = []
    for stage in program.stages:
        if stage.op in ENGINE_OPS and stage.name in seen.stages:
            known = Profile({stage.name: seen.stages[stage.name]})
            found += _measured(stage, known, fleet, costs, widths.get(stage.name, 1.0))
    return found


def assignment_of(situation: Situation, plan: Plan) -> Assignment:
    """Give the assignment that a plan of this situation came from."""
    rows = {row.stage: row for row in plan.stages}
    numbers = {
        (option.device.name, option.tp): index for index, option in enumerate(situation.options)
    }
    chosen = []
    for group in situation.classes:
        row = rows[group.stages[0].name]
        chosen.append(numbers[(row.device, row.tp)])
    return tuple(chosen)
