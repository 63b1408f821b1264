"""When each stage of a job starts and ends, and which chain of stages decides when it is done.

Regions compose recursively: stages of one region run as soon as their operands are there; a map
takes as long as its body (waiting turns are in the stages' seconds already), a loop its expected
trips, a branch the mean of its sides. Time complexity is linear in stages and operands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gangline.ir.program import STEP_OPS, Program, Stage

from .workload import region_factors

Hop = Callable[[Stage, Stage], float]
"""Seconds it takes a value to get from the stage that made it to the stage that reads it."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Expected times of one job.

    Attributes:
        seconds: end of the last stage.
        path: names of the step stages on the critical path, in order.
        spans: (start, end) seconds of the first visit of each step stage, by name.
    """

    seconds: float
    path: tuple[str, ...]
    spans: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Done:
    """When a value exists, and the chain of step stages that led to it."""

    at_s: float = 0.0
    path: tuple[Stage, ...] = ()


_START = _Done()


@dataclass(slots=True)
class _Walk:
    program: Program
    seconds: Mapping[int, float]
    factors: Mapping[str, float]
    hop: Hop
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    def region(self, index: int, offset_s: float, outer: Mapping[int, _Done]) -> _Done:
        """Give when the last stage of a region is done, relative to its start."""
        ready: dict[int, _Done] = dict(outer)
        ready.update(dict.fromkeys(self.program.regions[index].arguments, _START))
        last = _START
        # Invariant: `ready` holds every value made so far in this region, and outer values at 0.
        for number in self.program.regions[index].stages:
            stage = self.program.stages[number]
            done = self._stage(stage, ready, offset_s)
            ready.update(dict.fromkeys(stage.results, done))
            last = max(last, done, key=_at)
        return last

    def _stage(self, stage: Stage, ready: Mapping[int, _Done], offset_s: float) -> _Done:
        before = max((self._arrival(stage, ready[value]) for value in self._reads(stage)), key=_at)
        if stage.regions:
            return self._control(stage, before, ready, offset_s)
        if stage.op not in STEP_OPS:
            return before
        end_s = before.at_s + self.seconds[stage.id]
        self.spans.setdefault(stage.name, (offset_s + before.at_s, offset_s + end_s))
        return _Done(end_s, (*before.path, stage))

    def _arrival(self, stage: Stage, done: _Done) -> _Done:
        if not done.path or stage.op not in STEP_OPS:
            return done
        return _Done(done.at_s + self.hop(done.path[-1], stage), done.path)

    def _reads(self, stage: Stage) -> tuple[int, ...]:
        """Give the values a stage waits for; a control stage waits for what its regions read."""
        if not stage.regions:
            return stage.operands or (_NOTHING,)
        made = {value for inner in self._inside(stage) for value in inner.results}
        inner_reads = {value for inner in self._inside(stage) for value in inner.operands}
        for region in self._regions(stage):
            made.update(self.program.regions[region].arguments)
            inner_reads.update(self.program.regions[region].yields)
        return (*stage.operands, *sorted(inner_reads - made), _NOTHING)

    def _inside(self, stage: Stage) -> list[Stage]:
        return [inner for region in stage.regions for inner in self.program.walk(region)]

    def _regions(self, stage: Stage) -> list[int]:
        nested = [region for inner in self._inside(stage) for region in inner.regions]
        return [*stage.regions, *nested]

    def _control(
        self, stage: Stage, before: _Done, ready: Mapping[int, _Done], offset_s: float
    ) -> _Done:
        outer = dict.fromkeys(ready, _START)
        shares = region_factors(stage, self.factors)
        if stage.op == "map":
            shares = (1.0,)  # items run side by side; an empty map still has a path
        spent = 0.0
        path = before.path
        for region, share in zip(stage.regions, shares, strict=False):
            done = self.region(region, offset_s + before.at_s + spent, outer)
            spent += max(share, 0.0) * done.at_s
            path = (*path, *(done.path if share > 0.0 else ()))
        return _Done(before.at_s + spent, path)


_NOTHING = -1
"""A value number that is always ready: stages without operands start with their region."""


def _at(done: _Done) -> float:
    return done.at_s


def timeline(
    program: Program, seconds: Mapping[int, float], factors: Mapping[str, float], hop: Hop
) -> Timeline:
    """Compute a job's expected times.

    Args:
        seconds: by stage id, what one visit adds to the job's time.
        factors: of control stages, as in `Profile.factors`.
    """
    walk = _Walk(program, seconds, factors, hop)
    done = walk.region(0, 0.0, {_NOTHING: _START})
    names = dict.fromkeys(stage.name for stage in done.path)
    return Timeline(done.at_s, tuple(names), walk.spans)
