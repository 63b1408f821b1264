"""How often each stage of a program is expected to run in one job.

A map multiplies visits by its width, a loop by its expected trips, a branch by the probability of
the side taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .program import Program, Stage


def region_factors(stage: Stage, factors: Mapping[str, float]) -> tuple[float, ...]:
    """Give how often each region of a control stage runs per visit of that stage.

    `factors` are by stage name: width of a map, expected trips of a loop, probability of the
    `then` side of a branch.
    """
    factor = factors.get(stage.name, 1.0)
    if stage.op == "branch":
        return (factor, 1.0 - factor)
    if stage.op == "loop":
        # `until` is tested before every trip and once more to leave.
        return (factor + 1.0, factor)
    # A call runs once; a plan is taken to ask each agent it may name once, one after the other.
    return (factor,) if stage.op == "map" else (1.0,) * len(stage.regions)


@dataclass(frozen=True, slots=True)
class Visit:
    """A stage with its expected executions per job and the width of the maps around it."""

    stage: Stage
    visits: float
    width: float


def visits(
    program: Program,
    factors: Mapping[str, float],
    region: int = 0,
    times: float = 1.0,
    width: float = 1.0,
) -> Iterator[Visit]:
    """Yield every stage of a region and of the regions inside it, in program order."""
    for index in program.regions[region].stages:
        stage = program.stages[index]
        yield Visit(stage, times, width)
        wider = width * factors.get(stage.name, 1.0) if stage.op == "map" else width
        for inner, factor in zip(stage.regions, region_factors(stage, factors), strict=False):
            yield from visits(program, factors, inner, times * factor, wider)
