"""Percentiles of a job's latency under a placement, from drawn jobs and analytic waits.

The sum of stage times along the longest path has no closed form where paths join, so it is
drawn: jobs from the profile (fixed seed), seconds of every step from the cost model at the
placement's load, waits exponential with the mean of the queueing approximation. What the
simulator measures later takes the place of the modelled means. `tco/estimate.py` answers the same
for a fleet that shares a class of calls between several kinds of replicas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gangline.ir.program import Stage

from .draws import DrawnStep, draw_jobs
from .load import Load, Loaded
from .profile import Sample
from .situation import HOST_HOP_S, Situation

if TYPE_CHECKING:
    from numpy.random import Generator

    from .placement import Assignment

NUM_DRAWS = 800
"""Jobs drawn: the 95th percentile of them is within about 5 % of the true one (one sigma)."""

Job = tuple[DrawnStep, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted latencies of jobs, sorted, and the busy share of each device group."""

    latencies_s: tuple[float, ...]
    utilisation: Mapping[str, float] = field(default_factory=dict)

    @property
    def mean_s(self) -> float:
        """Mean latency."""
        return math.fsum(self.latencies_s) / len(self.latencies_s)

    def percentile(self, percent: float) -> float:
        """Give the latency that so many percent of jobs stay within."""
        return percentile(self.latencies_s, percent)


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Give the smallest value that `percent` of the sorted values are at most; NaN of none."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(percent / 100.0 * len(ordered)) - 1)]


def predict_latencies(
    situation: Situation, assignment: Assignment, jobs: Sequence[Job] | None = None, seed: int = 0
) -> Prediction:
    """Predict the latencies of jobs under a placement; all infinite where it cannot keep up."""
    drawn = jobs or draw_jobs(situation.program, situation.profile, NUM_DRAWS, seed)
    load = situation.loaded(assignment)
    if any(math.isinf(seconds) for seconds in load.seconds.values()):
        return Prediction((math.inf,), load.utilisation)
    timers = _timers(situation, assignment, load, seed)
    device = {
        situation.program.stages[stage].name: situation.options[assignment[group]].device.name
        for stage, group in situation.class_of.items()
    }
    hops = _Hops(situation, device)
    latencies = sorted(_latency(job, timers, hops) for job in drawn)
    return Prediction(tuple(latencies), load.utilisation)


Timer = Callable[[DrawnStep], float]


def _timers(
    situation: Situation, assignment: Assignment, load: Loaded, seed: int
) -> dict[str, Timer]:
    import numpy as np

    rng = np.random.default_rng([seed, 2])
    waits = rng.exponential(size=4096).tolist()
    found: dict[str, Timer] = {}
    for stage_id, group in situation.class_of.items():
        stage, option = situation.program.stages[stage_id], assignment[group]
        estimate, mean = situation.estimate(stage, option), load.seconds[stage_id]
        own = estimate.seconds * estimate.waves
        timer = _own_timer(situation, stage, option)
        if (stage.name, *_group(situation, option)) in situation.observed or mean < own:
            # Measured, waits included: the draws keep their spread around the measured mean.
            found[stage.name] = _Timer(timer, mean / max(estimate.seconds, 1e-12), 0.0, waits)
        elif stage.op == "decode" and option in load.prompts:
            held = _held_up(load.prompts[option], situation.options[option].replicas)
            found[stage.name] = _HeldUp(timer, estimate.waves, *held, rng)
        else:
            found[stage.name] = _Timer(timer, estimate.waves, mean - own, waits)
    return found


def _group(situation: Situation, option: int) -> tuple[str, int]:
    found = situation.options[option]
    return found.device.name, found.tp


@dataclass(slots=True)
class _Timer:
    """Seconds of one step: its own, scaled, and a wait with the given mean."""

    own: Timer
    scale: float
    wait_s: float
    waits: Sequence[float]
    turn: int = 0

    def __call__(self, step: DrawnStep) -> float:
        self.turn = (self.turn + 1) % len(self.waits)
        return self.own(step) * self.scale + self.wait_s * self.waits[self.turn]


def _held_up(prompts: Load, replicas: int) -> tuple[float, float]:
    """Busy share of prompts on one replica, and rate times mean square of their seconds."""
    return prompts.busy / replicas, prompts.square / replicas


@dataclass(slots=True)
class _HeldUp:
    """Seconds of a decode that prompts interrupt.

    Work of D seconds that Poisson arrivals interrupt, whose own service lets further ones in, is
    over after a delay busy period: its mean is D / (1 - r), its variance q D / (1 - r)^3, with r
    the busy share and q the rate times mean square of the interruptions (Kleinrock, Queueing
    Systems I, section 5.8). The excess is drawn from the gamma with these two moments.
    """

    own: Timer
    scale: float
    busy: float
    square: float
    rng: Generator

    def __call__(self, step: DrawnStep) -> float:
        alone = self.own(step) * self.scale
        left = 1.0 - self.busy
        excess, variance = alone * self.busy / left, self.square * alone / left**3
        if excess <= 0.0 or variance <= 0.0:
            return alone + max(excess, 0.0)
        return alone + float(self.rng.gamma(excess * excess / variance)) * variance / excess


def _own_timer(situation: Situation, stage: Stage, option: int) -> Timer:
    """Give the seconds of a step without waits, by its tokens or its drawn seconds."""
    estimate, work = situation.estimate(stage, option), situation.profile.stages[stage.name]
    if stage.op == "decode":
        steps = max(work.output_tokens.mean - 1.0, 1e-9)
        each = estimate.seconds / steps
        return lambda step: each * (step.output - 1)
    if stage.op in ("prefill", "embed"):
        return _prefill_timer(situation, stage, option)
    fixed = max(estimate.seconds - (work.seconds.mean if work.seconds else 0.0), 0.0)
    return lambda step: step.seconds + fixed


def _prefill_timer(situation: Situation, stage: Stage, option: int) -> Timer:
    """Remember the seconds of prompts by size, rounded to an eighth of a power of two."""
    estimate, work = situation.estimate(stage, option), situation.profile.stages[stage.name]
    model, target = str(stage.attributes["model"]), situation.options[option]
    costs, known = situation.costs, dict[tuple[int, int], float]()
    mean = Sample("", 0.0, work.prompt_tokens.mean, work.cached_tokens.mean)
    correction = estimate.seconds / max(costs.modelled_s("prefill", model, target, mean), 1e-12)

    def seconds(step: DrawnStep) -> float:
        new = max(step.prompt - step.cached, 1)
        key = (round(8 * math.log2(new)), round(8 * math.log2(step.cached + 1)))
        if key not in known:
            cached = 2.0 ** (key[1] / 8) - 1.0
            shape = Sample("", 0.0, cached + 2.0 ** (key[0] / 8), cached)
            known[key] = correction * costs.modelled_s("prefill", model, target, shape)
        return known[key]

    return seconds


@dataclass(slots=True)
class _Hops:
    """Seconds between the devices of two steps."""

    situation: Situation
    device: Mapping[str, str]
    known: dict[tuple[str, str], float] = field(default_factory=dict)

    def seconds(self, source: DrawnStep, target: DrawnStep) -> float:
        """Give the seconds a result takes from one step to the other."""
        here, there = self.device[source.stage], self.device[target.stage]
        if here == there:
            return 0.0
        link = self.situation.fleet.link(here, there)
        if link is None:
            return HOST_HOP_S
        if (source.op, target.op) != ("prefill", "decode"):
            return link.latency_s
        each = self.situation.costs.model(target.model).kv_bytes_per_token()
        return link.latency_s + target.prompt * each / link.bytes_per_s


def _latency(job: Job, timers: Mapping[str, Timer], hops: _Hops) -> float:
    ends: list[float] = []
    # Invariant: `ends` holds when every step so far is done; parents come before children.
    for step in job:
        ready = 0.0
        for parent in step.parents:
            ready = max(ready, ends[parent] + hops.seconds(job[parent], step))
        ends.append(ready + timers[step.stage](step))
    return max(ends, default=0.0)
