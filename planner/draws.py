"""Draw jobs from a profile: which stages a job visits, in what order, with how much work each.

A drawn job has no control flow left: loops, maps and branches were decided, so what remains is
a graph of steps. The analytic percentiles and the simulator read the same draws, so that they
differ by their queues only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from gangline.ir.program import STEP_OPS, Program, Stage

from .profile import NORMAL_95, Amount, Profile, Sample, StageProfile
from .workload import complete

if TYPE_CHECKING:
    from numpy.random import Generator

MAX_WIDTH = 256
"""Items of one map a drawn job runs at most; a profile that asks for more is a mistake."""


@dataclass(frozen=True, slots=True)
class DrawnStep:
    """One visit of a stage.

    Attributes:
        stage: name of the stage in the program (several steps may share it).
        parents: indices of the steps whose results it reads; of a decode the first is its
            prefill, of a prefill its tokenize.
        prompt, cached, output: tokens; the cached ones are the first of the prompt.
        seconds: of a tool or a text stage; 0 where the cost model computes it.
    """

    stage: str
    op: str
    model: str
    parents: tuple[int, ...]
    prompt: int = 0
    cached: int = 0
    output: int = 0
    seconds: float = 0.0


def draw_job(program: Program, profile: Profile, rng: Generator) -> tuple[DrawnStep, ...]:
    """Draw one job; `profile` must have a row for every step stage (`workload.complete`)."""
    walk = _Walk(program, profile, rng)
    walk.region(0, dict.fromkeys(program.regions[0].arguments, ()), ())
    return tuple(walk.steps)


def draw_jobs(
    program: Program, profile: Profile | None, num_jobs: int, seed: int
) -> list[tuple[DrawnStep, ...]]:
    """Draw jobs independently of each other; the same seed gives the same jobs."""
    import numpy as np

    full = complete(program, profile)
    rng = np.random.default_rng(seed)
    return [draw_job(program, full, rng) for _ in range(num_jobs)]


Deps = tuple[int, ...]


def _union(*parts: Deps) -> Deps:
    return tuple(dict.fromkeys(step for part in parts for step in part))


@dataclass(slots=True)
class _Walk:
    program: Program
    profile: Profile
    rng: Generator
    steps: list[DrawnStep] = field(default_factory=list)
    drawn: dict[int, Sample] = field(default_factory=dict)

    def region(self, index: int, values: dict[int, Deps], control: Deps) -> Deps:
        """Run a region once; give the steps its result rests on."""
        region = self.program.regions[index]
        # Invariant: `values` holds, for every value made so far, the steps it rests on.
        for number in region.stages:
            stage = self.program.stages[number]
            reads = _union(*(values.get(operand, ()) for operand in stage.operands))
            if stage.op in STEP_OPS:
                done: Deps = (self._step(stage, _union(reads, control)),)
                for agent in stage.regions:  # which a plan is taken to ask one after the other
                    done = self._inner(agent, values, done, done)
            elif stage.regions:
                done = self._control(stage, reads, values, control)
            else:
                done = reads
            values.update(dict.fromkeys(stage.results, done))
        return _union(*(values.get(value, ()) for value in region.yields), control)

    def _inner(self, index: int, values: dict[int, Deps], argument: Deps, control: Deps) -> Deps:
        inner = dict(values)
        inner.update(dict.fromkeys(self.program.regions[index].arguments, argument))
        return self.region(index, inner, control)

    def _control(self, stage: Stage, reads: Deps, values: dict[int, Deps], control: Deps) -> Deps:
        factor = self.profile.factors.get(stage.name, 1.0)
        decided = _union(reads, control)
        if stage.op == "map":
            body, width = stage.regions[0], self._width(factor)
            items = [self._inner(body, values, decided, control) for _ in range(width)]
            return _union(decided, *items) if not items else _union(*items)
        if stage.op == "branch":
            side = 0 if self.rng.random() < factor else 1
            return _union(decided, self._inner(stage.regions[side], values, (), decided))
        if stage.op == "loop":
            return self._loop(stage, factor, decided, values)
        return self._inner(stage.regions[0], values, decided, control)

    def _loop(self, stage: Stage, factor: float, value: Deps, values: dict[int, Deps]) -> Deps:
        until, body = stage.regions
        most = int(stage.attributes.get("max_trips", 1))
        trips = self._trips(factor, most)
        # Invariant: `value` rests on the body's runs so far; `until` is tested before each and,
        # if trips are left, once more to leave.
        for _ in range(trips):
            tested = self._inner(until, values, value, ())
            value = self._inner(body, values, value, tested)
        return value if trips == most else _union(value, self._inner(until, values, value, ()))

    def _width(self, factor: float) -> int:
        whole = math.floor(factor)
        return min(whole + int(self.rng.random() < factor - whole), MAX_WIDTH)

    def _trips(self, factor: float, most: int) -> int:
        again = continuation(round(factor, 6), most)
        trips = 0
        while trips < most and self.rng.random() < again:
            trips += 1
        return trips

    def _step(self, stage: Stage, parents: Deps) -> int:
        work = self.profile.stages[stage.name]
        index = len(self.steps)
        if stage.op in ("tokenize", "prefill", "decode", "detokenize", "embed"):
            step = self._model_step(stage, work, parents, index)
        else:
            step = DrawnStep(stage.name, stage.op, "", parents, seconds=draw_s(work, self.rng))
        self.steps.append(step)
        return index

    def _model_step(self, stage: Stage, work: StageProfile, parents: Deps, index: int) -> DrawnStep:
        """One draw of tokens serves the prefill and the decode of a call."""
        shape = draw_tokens(work, self.rng)
        known = self.drawn.get(parents[0]) if parents else None
        if stage.op == "decode" and known is not None:
            shape = Sample("", 0.0, known.prompt_tokens, known.cached_tokens, shape.output_tokens)
        self.drawn[index] = shape
        text = stage.op in ("tokenize", "detokenize")
        return DrawnStep(
            stage=stage.name,
            op=stage.op,
            model=str(stage.attributes.get("model", "")),
            parents=parents,
            prompt=max(1, round(shape.prompt_tokens)),
            cached=max(0, min(round(shape.cached_tokens), round(shape.prompt_tokens) - 1)),
            output=max(1, round(shape.output_tokens)),
            seconds=draw_s(work, self.rng) if text else 0.0,
        )


@lru_cache(maxsize=1024)
def continuation(mean_trips: float, most: int) -> float:
    """Give the probability of another trip at which a loop of at most `most` has that mean.

    Trips are geometric, cut off at `most`: the mean is p + p^2 + ... + p^most, which grows
    with p, so bisection finds it.
    """
    if mean_trips <= 0.0 or most <= 0:
        return 0.0
    if mean_trips >= most:
        return 1.0
    low, high = 0.0, 1.0
    # Invariant: the mean at `low` is at most the one wanted, at `high` at least that.
    for _ in range(50):
        middle = 0.5 * (low + high)
        mean = sum(middle**trip for trip in range(1, most + 1))
        low, high = (middle, high) if mean < mean_trips else (low, middle)
    return 0.5 * (low + high)


def draw_tokens(work: StageProfile, rng: Generator) -> Sample:
    """Draw prompt, cached and output tokens of one visit together.

    Measured samples are drawn as they are, so that long prompts keep their long answers. Without
    samples each amount is log-normal (see `draw_amount`), and the cached share stays.
    """
    known = [row for row in work.samples if row.prompt_tokens or row.output_tokens]
    if known:
        return known[int(rng.integers(len(known)))]
    prompt = draw_amount(work.prompt_tokens, rng)
    cached = work.cached_tokens.mean * prompt / max(work.prompt_tokens.mean, 1.0)
    return Sample("", 0.0, prompt, cached, draw_amount(work.output_tokens, rng))


def draw_s(work: StageProfile, rng: Generator) -> float:
    """Draw the seconds of a tool or a text stage: heavy-tailed, never a constant.

    Measured seconds are drawn with log-normal noise of Silverman's bandwidth (1.06 s n^-1/5 of
    the logarithms), so that a few dozen samples do not bound the tail.
    """
    known = [row.seconds for row in work.samples if row.seconds > 0.0]
    if not known:
        return 0.0 if work.seconds is None else draw_amount(work.seconds, rng)
    return known[int(rng.integers(len(known)))] * math.exp(_bandwidth(tuple(known)) * rng.normal())


@lru_cache(maxsize=4096)
def _bandwidth(seconds: tuple[float, ...]) -> float:
    logs = [math.log(value) for value in seconds]
    mean = sum(logs) / len(logs)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in logs) / len(logs))
    return 1.06 * deviation * math.pow(len(logs), -0.2)


def draw_amount(amount: Amount, rng: Generator) -> float:
    """Draw from the log-normal with an amount's mean and the width of its 90 % interval."""
    sigma = log_sigma(amount)
    if sigma <= 0.0:
        return amount.mean
    return amount.mean * math.exp(sigma * rng.normal() - 0.5 * sigma * sigma)


def log_sigma(amount: Amount) -> float:
    """Standard deviation of the logarithm that an amount's 90 % interval stands for."""
    if amount.low <= 0.0 or amount.high <= amount.low:
        return 0.0
    return math.log(amount.high / amount.low) / (2.0 * NORMAL_95)


def by_stage(steps: tuple[DrawnStep, ...]) -> Mapping[str, list[int]]:
    """Give the indices of a job's steps by stage name."""
    found: dict[str, list[int]] = {}
    for index, step in enumerate(steps):
        found.setdefault(step.stage, []).append(index)
    return found


def walk_models(program: Program) -> Iterator[str]:
    """Yield the models a program names, each once."""
    yield from dict.fromkeys(
        str(stage.attributes["model"]) for stage in program.walk() if "model" in stage.attributes
    )
