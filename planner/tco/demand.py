"""What a workflow asks of a fleet: classes of like calls, how often each comes, in which shape.

Node classes, not nodes: stages with the same model and like lengths (within a factor of two,
in prompt and in output) are one class, and the CPU steps of one tool are one class. A class has
parts: an LLM call has a prefill and a decode, a CPU step has itself. The job graph says how
parts follow each other, so that a deadline holds for the whole job.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gangline.ir.errors import ConfigError
from gangline.ir.program import Program, Stage
from gangline.planner.profile import Amount, Profile, StageProfile
from gangline.planner.workload import complete

from .distribution import Distribution
from .job_graph import Node, Region, choice, job_graph

PHASES = {"llm": ("prefill", "decode"), "cpu": ("cpu",)}
TEXT_OPS = frozenset({"tokenize", "detokenize"})
NOTHING = Distribution((0.0,))
"""No tokens, or no time."""


@dataclass(frozen=True, slots=True)
class DemandClass:
    """Calls that cost alike.

    Attributes:
        kind: `llm` or `cpu`.
        model: of an LLM class, as its shape is called.
        calls_per_job: executions in one job, expected.
        prompt_tokens, output_tokens: per call.
        cached_tokens: of the prompt, found in the prefix cache; a mean.
        seconds: of a CPU class on one core.
        stages: names of the stages it stands for.
    """

    name: str
    kind: str
    model: str = ""
    calls_per_job: float = 1.0
    prompt_tokens: Distribution = NOTHING
    output_tokens: Distribution = NOTHING
    cached_tokens: float = 0.0
    seconds: Distribution = NOTHING
    stages: tuple[str, ...] = ()

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of its parts."""
        return PHASES[self.kind]


@dataclass(frozen=True, slots=True)
class Demand:
    """Everything a fleet is sized for.

    Attributes:
        jobs_per_s: arrival rate of jobs.
        graph: how the parts of a job follow each other, by their numbers in `parts`.
    """

    name: str
    classes: tuple[DemandClass, ...]
    graph: Region
    jobs_per_s: float

    @property
    def parts(self) -> tuple[tuple[int, str], ...]:
        """(class number, phase) of every part, in the order of the graph's part numbers."""
        return tuple(
            (index, phase) for index, group in enumerate(self.classes) for phase in group.phases
        )

    def calls_per_s(self, index: int) -> float:
        """Arrival rate of the calls of a class."""
        return self.jobs_per_s * self.classes[index].calls_per_job

    @property
    def tokens_per_job(self) -> float:
        """Prompt and output tokens of one job, cached ones counted."""
        return math.fsum(
            group.calls_per_job * (group.prompt_tokens.mean + group.output_tokens.mean)
            for group in self.classes
        )

    @property
    def output_tokens_per_job(self) -> float:
        """Output tokens of one job."""
        return math.fsum(group.calls_per_job * group.output_tokens.mean for group in self.classes)


def check_rate(jobs_per_s: float) -> None:
    """Refuse a rate that is no rate."""
    if not math.isfinite(jobs_per_s) or jobs_per_s <= 0.0:
        raise ConfigError(
            f"The rate is {jobs_per_s:g} jobs a second", next_step="Give a number above 0."
        )


def demand_of(
    program: Program,
    profile: Profile | None,
    jobs_per_s: float,
    model: str | None = None,
) -> Demand:
    """Derive the demand of a workflow; stages without a measurement keep their declared row.

    Args:
        model: puts every LLM call on this model instead of its own.
    """
    check_rate(jobs_per_s)
    full = complete(program, profile)
    steps = [stage for stage in program.walk() if stage.name in full.stages]
    rows = {stage.name: full.stages[stage.name] for stage in steps}
    calls = _calls(rows, {stage.name: _model(stage, model) for stage in steps})
    builder = _Classes()
    for call in calls:
        builder.add(call)
    classes = builder.classes()
    part_of = _part_numbers(classes)
    graph = job_graph(program, full.factors, lambda stage: part_of.get(stage.name, -1))
    return Demand(program.name, classes, graph, jobs_per_s)


@dataclass(frozen=True, slots=True)
class Call:
    """One LLM call or CPU step of a workflow, before like ones are merged."""

    stage: str
    names: Mapping[str, str]
    visits: float
    row: StageProfile
    model: str = ""


def _model(stage: Stage, instead: str | None) -> str:
    return str(instead or stage.attributes.get("model", ""))


def _calls(rows: Mapping[str, StageProfile], models: Mapping[str, str]) -> list[Call]:
    """Join the prefill and the decode of one call; a decode knows prompt and output."""
    found: list[Call] = []
    for name, row in rows.items():
        if row.op == "decode":
            prefill = name.removesuffix(".decode") + ".prefill"
            names = {"decode": name, "prefill": prefill if prefill in rows else name}
            found.append(
                Call(name, names, row.visits, _joined(row, rows.get(prefill)), models[name])
            )
        elif row.op == "embed" or _is_alone(name, row, rows):
            # A prompt after which the first token ends the request.
            prompt = replace(row, output_tokens=Amount.exactly(1.0))
            found.append(Call(name, {"prefill": name}, row.visits, prompt, models[name]))
        elif row.op != "prefill":
            found.append(Call(name, {"cpu": name}, row.visits, row))
    return found


def _is_alone(name: str, row: StageProfile, rows: Mapping[str, StageProfile]) -> bool:
    """Tell whether a prefill has no decode of its own: it begins prompts that come later."""
    base, mark, number = name.partition("#")
    decode = f"{base.removesuffix('.prefill')}.decode"
    return row.op == "prefill" and decode not in rows and f"{decode}{mark}{number}" not in rows


def _joined(decode: StageProfile, prefill: StageProfile | None) -> StageProfile:
    if prefill is None:
        return decode
    prompt = prefill if prefill.prompt_tokens.mean > 0.0 else decode
    return StageProfile(
        op="decode",
        visits=decode.visits,
        prompt_tokens=prompt.prompt_tokens,
        cached_tokens=prefill.cached_tokens,
        output_tokens=decode.output_tokens,
        source=decode.source,
        samples=decode.samples,
    )


def _bucket(tokens: float, doublings: int = 1) -> int:
    """Lengths within a factor of 2^doublings share a bucket."""
    return math.floor((math.log2(max(tokens, 1.0)) + 0.5) / doublings)


class _Classes:
    """Merges calls into classes, in the order their first call came."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, ...], list[Call]] = {}

    def add(self, call: Call) -> None:
        row = call.row
        if call.model:
            lengths = (_bucket(row.prompt_tokens.mean), _bucket(row.output_tokens.mean))
            key: tuple[Any, ...] = (call.model, *lengths)
        else:
            key = ("text",) if row.op in TEXT_OPS else ("tool", call.stage)
        self._groups.setdefault(key, []).append(call)

    def classes(self) -> tuple[DemandClass, ...]:
        return tuple(_class(calls) for calls in self._groups.values())


def _class(calls: Sequence[Call]) -> DemandClass:
    visits = math.fsum(call.visits for call in calls)
    first = calls[0]
    stages = tuple(name for call in calls for name in dict.fromkeys(call.names.values()))
    if not first.model:
        name = "text" if first.row.op in TEXT_OPS else first.stage
        seconds = Distribution.mix([(call.visits, _seconds(call.row)) for call in calls])
        return DemandClass(name, "cpu", calls_per_job=visits, seconds=seconds, stages=stages)
    share = [call.visits / visits if visits > 0.0 else 1.0 / len(calls) for call in calls]
    return DemandClass(
        name=first.stage.removesuffix(".decode"),
        kind="llm",
        model=first.model,
        calls_per_job=visits,
        prompt_tokens=Distribution.mix(
            [(w, _tokens(call.row, "prompt_tokens")) for w, call in zip(share, calls, strict=True)]
        ),
        output_tokens=Distribution.mix(
            [(w, _tokens(call.row, "output_tokens")) for w, call in zip(share, calls, strict=True)]
        ),
        cached_tokens=math.fsum(
            w * call.row.cached_tokens.mean for w, call in zip(share, calls, strict=True)
        ),
        stages=stages,
    )


def _tokens(row: StageProfile, which: str) -> Distribution:
    measured = [getattr(sample, which) for sample in row.samples]
    if any(value > 0.0 for value in measured):
        return Distribution.of(measured)
    return Distribution.of_amount(getattr(row, which))


def _seconds(row: StageProfile) -> Distribution:
    if row.samples:
        return Distribution.of(sample.seconds for sample in row.samples)
    return Distribution.of_amount(row.seconds) if row.seconds else Distribution.constant(0.0)


def is_prompt(stage: str) -> bool:
    """Tell by its name whether a stage reads a prompt: a prefill or an embedding."""
    return stage.partition("#")[0].endswith((".prefill", ".embed"))


def _part_numbers(classes: Iterable[DemandClass]) -> dict[str, int]:
    """Map stage names to part numbers; prefill and decode names tell the phase."""
    numbers: dict[str, int] = {}
    part = 0
    for group in classes:
        for stage in group.stages:
            second = group.kind == "llm" and not is_prompt(stage)
            numbers[stage] = part + (1 if second else 0)
        part += len(group.phases)
    return numbers


MAX_TRACE_CLASSES = 16
"""Classes a trace is cut into at most; what varies within one is kept as its distribution."""


def _buckets(rows: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Group requests of like lengths, shortest prompts first."""
    for doublings in range(1, 64):
        found: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for prompt, output in rows:
            key = (_bucket(prompt, doublings), _bucket(output, doublings))
            found.setdefault(key, []).append((prompt, output))
        if len(found) <= MAX_TRACE_CLASSES:
            break
    return [found[key] for key in sorted(found)]


def demand_of_trace(
    rows: Sequence[tuple[float, float]], jobs_per_s: float, model: str, name: str = "trace"
) -> Demand:
    """Derive a demand from (prompt, output) tokens of requests; a job is one request.

    Requests within a factor of two in both lengths are one class, or within a larger factor
    where that would make more than `MAX_TRACE_CLASSES`.
    """
    check_rate(jobs_per_s)
    if not rows:
        raise ConfigError("The trace has no rows", next_step="Give one with token counts.")
    classes, regions = [], []
    for index, found in enumerate(_buckets(rows)):
        prompts, outputs = zip(*found, strict=True)
        mean = (math.fsum(prompts) / len(found), math.fsum(outputs) / len(found))
        classes.append(
            DemandClass(
                name=f"{mean[0]:.0f}/{mean[1]:.0f}",
                kind="llm",
                model=model,
                calls_per_job=len(found) / len(rows),
                prompt_tokens=Distribution.of(prompts),
                output_tokens=Distribution.of(outputs),
            )
        )
        regions.append(Region((Node("part", (), 2 * index), Node("part", (0,), 2 * index + 1))))
    graph = choice(regions, [group.calls_per_job for group in classes])
    return Demand(name, tuple(classes), graph, jobs_per_s)
