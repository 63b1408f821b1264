"""What a job of a workflow is expected to do: tokens, visits and tool seconds per stage.

A profile starts from the program alone (`default_profile`) and improves with measured history
(`observe`, `Profile.merge`): it keeps the last samples of every stage, and every expectation
is derived from them, so merging profiles of many jobs loses nothing but the oldest samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from gangline.ir.specs.event import StepRecord

MAX_SAMPLES = 64
"""Samples kept per stage: enough for a 90 % interval, few enough to store with every plan."""

PRIOR_JOBS = 0.5
"""Weight of a declared number of visits against observed jobs: one job is soon believed, but a
stage it did not reach stays possible."""

FAILED_STATUSES = frozenset({"failed", "cancelled", "expired", "retrying", "queued", "running"})


NORMAL_95 = 1.6449
"""95 % point of the standard normal distribution: 90 % lie within so many deviations."""


@dataclass(frozen=True, slots=True)
class Amount:
    """An expected quantity with a 90 % interval: low <= mean <= high."""

    mean: float
    low: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Amount:
        """Give an amount that is known."""
        return cls(value, value, value)

    @classmethod
    def of(cls, values: Iterable[float], prior_spread: float = 1.5) -> Amount:
        """Summarise samples; with few of them the interval widens towards x/÷ `prior_spread`."""
        data = np.fromiter(values, dtype=float)
        mean = float(data.mean())
        widen = 1.0 + (prior_spread - 1.0) / float(np.sqrt(len(data)))
        low, high = (float(bound) for bound in np.quantile(data, (0.05, 0.95)))
        return cls(mean, min(low, mean / widen), max(high, mean * widen))


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured execution of a stage, on the device group `device`."""

    device: str
    seconds: float
    prompt_tokens: float = 0.0
    cached_tokens: float = 0.0
    output_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class StageProfile:
    """What one stage is expected to do.

    Attributes:
        visits: executions in one job, all of them counted.
        prompt_tokens, cached_tokens, output_tokens: per visit; the cached ones are part of
            the prompt and need no computation.
        seconds: of a tool or a text stage per visit, on any CPU; None where the cost model
            computes it.
        source: `declared` (from the program), `observed` (our own runs on this machine) or
            `measured` (somebody's runs on any machine: a profile file or a trace).
        samples: the newest measured executions, oldest first.
    """

    op: str
    visits: float = 1.0
    prompt_tokens: Amount = Amount(0.0, 0.0, 0.0)
    cached_tokens: Amount = Amount(0.0, 0.0, 0.0)
    output_tokens: Amount = Amount(0.0, 0.0, 0.0)
    seconds: Amount | None = None
    source: str = "declared"
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """Expectations per stage of one workflow, by stage name.

    Attributes:
        factors: by name of a control stage: width of a `map`, expected trips of a `loop`,
            probability of the `then` side of a `branch`.
        num_jobs: jobs the observed part rests on; 0 for a default profile.
        jobs_in_flight: jobs expected to share the devices, which makes decode batches larger.
    """

    stages: Mapping[str, StageProfile] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    num_jobs: int = 0
    jobs_in_flight: float = 1.0

    def merge(self, newer: Profile) -> Profile:
        """Add newer observations: visits are averaged over jobs, samples are concatenated."""
        total = self.num_jobs + newer.num_jobs
        prior = float(self.num_jobs) or PRIOR_JOBS
        share = newer.num_jobs / (prior + newer.num_jobs)
        names = dict.fromkeys((*self.stages, *newer.stages))
        stages = {
            name: _merge_stage(
                self.stages.get(name),
                newer.stages.get(name),
                share,
                new_share=share if self.num_jobs else 1.0,
            )
            for name in names
        }
        factors = {**self.factors, **newer.factors}
        return Profile(stages, factors, total, max(self.jobs_in_flight, newer.jobs_in_flight))

    def to_json(self) -> dict[str, Any]:
        """Give the profile as plain JSON; `from_json` rebuilds an equal one."""
        return {
            "stages": {name: asdict(stage) for name, stage in self.stages.items()},
            "factors": dict(self.factors),
            "num_jobs": self.num_jobs,
            "jobs_in_flight": self.jobs_in_flight,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        """Rebuild a profile from `to_json`."""
        stages = {str(name): _stage_from_json(row) for name, row in data["stages"].items()}
        return cls(stages, dict(data["factors"]), data["num_jobs"], data["jobs_in_flight"])


def _merge_stage(
    older: StageProfile | None, newer: StageProfile | None, share: float, new_share: float
) -> StageProfile:
    if newer is None:
        assert older is not None
        # A job that did not reach the stage counts as zero visits.
        return replace(older, visits=older.visits * (1.0 - share))
    if older is None:
        # Earlier jobs did not reach the stage: they count as zero visits too.
        return replace(newer, visits=newer.visits * new_share)
    visits = older.visits * (1.0 - share) + newer.visits * share
    samples = (older.samples + newer.samples)[-MAX_SAMPLES:]
    return _summarise(newer.op, visits, samples) if samples else replace(newer, visits=visits)


def _stage_from_json(row: Mapping[str, Any]) -> StageProfile:
    tokens = ("prompt_tokens", "cached_tokens", "output_tokens")
    amounts: dict[str, Any] = {name: Amount(**row[name]) for name in tokens}
    seconds = row["seconds"]
    return StageProfile(
        op=row["op"],
        visits=row["visits"],
        seconds=None if seconds is None else Amount(**seconds),
        source=row["source"],
        samples=tuple(Sample(**sample) for sample in row["samples"]),
        **amounts,
    )


ENGINE_OPS = frozenset({"prefill", "decode", "embed"})
"""Ops whose seconds follow from their tokens and the device; an embedding costs as a prefill."""


def observe(steps: Iterable[StepRecord], num_jobs: int = 1) -> Profile:
    """Make a profile from the finished steps of `num_jobs` jobs of one workflow.

    Steps that failed, or have no measured time, are left out. So are questions: how long a person
    thinks says nothing about devices.
    """
    by_stage: dict[str, list[StepRecord]] = {}
    for step in steps:
        if step.op == "ask":
            continue
        if step.status not in FAILED_STATUSES and _seconds(step) is not None:
            by_stage.setdefault(step.stage, []).append(step)
    stages = {
        name: _summarise(
            found[0].op,
            len(found) / num_jobs,
            tuple(_sample(step) for step in found[-MAX_SAMPLES:]),
        )
        for name, found in by_stage.items()
    }
    return Profile(stages, num_jobs=num_jobs)


def _seconds(step: StepRecord) -> float | None:
    if step.actual_s is not None:
        return step.actual_s
    if step.start_s is None or step.end_s is None:
        return None
    return step.end_s - step.start_s


def _sample(step: StepRecord) -> Sample:
    return Sample(
        device=step.device.split("/", 1)[0],
        seconds=max(_seconds(step) or 0.0, 0.0),
        prompt_tokens=float(step.prompt_tokens or 0),
        cached_tokens=float(step.cached_tokens or 0),
        output_tokens=float(step.output_tokens or 0),
    )


def _summarise(op: str, visits: float, samples: tuple[Sample, ...]) -> StageProfile:
    computed = op in ENGINE_OPS
    return StageProfile(
        op=op,
        visits=visits,
        prompt_tokens=Amount.of(sample.prompt_tokens for sample in samples),
        cached_tokens=Amount.of(sample.cached_tokens for sample in samples),
        output_tokens=Amount.of(sample.output_tokens for sample in samples),
        seconds=None if computed else Amount.of(sample.seconds for sample in samples),
        source="observed",
        samples=samples,
    )
