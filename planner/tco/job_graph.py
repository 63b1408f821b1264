"""The shape of one job for latency: which parts follow which, how often, side by side or not.

A part is a phase of a demand class (a prefill, a decode, a CPU step), named by its number. A
region is a list of nodes in an order in which everything a node waits for comes before it; it
is over when its last node is. The graph is read in two ways: `mean_seconds` rows for a linear
program (`latency_rows`), and draws of whole jobs (`sample`), thousands at once as columns;
`planner/draws.py` draws single jobs step by step, which the simulator runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from gangline.ir.program import STEP_OPS, Program, Stage
from gangline.ir.visits import region_factors
from gangline.planner.draws import continuation
from gangline.planner.optimiser.fleet_sizing import PathRows

Array = npt.NDArray[np.float64]
Draw = Callable[[int, int, np.random.Generator], Array]
"""(part, how many, generator) -> seconds of that many executions."""

MAX_DRAWN_WIDTH = 32
"""Items of a map that are drawn one by one; wider maps are drawn as if they had this many."""


@dataclass(frozen=True, slots=True)
class Node:
    """One thing a region does.

    Attributes:
        kind: `part`, `map`, `repeat` or `choice`.
        after: numbers of earlier nodes of the same region it waits for.
        part: number of the part, for kind `part`.
        regions: bodies of the other kinds; a `choice` has one per alternative.
        shares: how often each region runs: items of a map, mean trips of a repeat,
            probabilities of a choice.
        most: trips a repeat makes at most.
    """

    kind: str
    after: tuple[int, ...] = ()
    part: int = -1
    regions: tuple[Region, ...] = ()
    shares: tuple[float, ...] = ()
    most: int = 1


@dataclass(frozen=True, slots=True)
class Region:
    """Nodes in an order that respects what they wait for."""

    nodes: tuple[Node, ...] = ()


def choice(regions: list[Region], shares: list[float]) -> Region:
    """Run exactly one of several regions, each with its probability."""
    total = sum(shares)
    return Region(
        (Node("choice", regions=tuple(regions), shares=tuple(share / total for share in shares)),)
    )


def job_graph(
    program: Program, factors: Mapping[str, float], part_of: Callable[[Stage], int]
) -> Region:
    """Read a program as a job graph; `part_of` gives the part of a step stage, -1 for none."""
    return _Reader(program, factors, part_of).region(0, {})


@dataclass(slots=True)
class _Reader:
    program: Program
    factors: Mapping[str, float]
    part_of: Callable[[Stage], int]

    def region(self, index: int, outer: Mapping[int, frozenset[int]]) -> Region:
        """Read one region; values of outer regions are there when it starts."""
        nodes: list[Node] = []
        made: dict[int, frozenset[int]] = dict.fromkeys(outer, frozenset())
        # Invariant: `made` holds, for each value so far, the nodes of this region it waits for.
        for number in self.program.regions[index].stages:
            stage = self.program.stages[number]
            waits = frozenset[int]().union(*(made.get(v, frozenset()) for v in self._reads(stage)))
            node = self._node(stage, waits, made)
            if node is not None:
                nodes.append(node)
                waits = frozenset((len(nodes) - 1,))
            for inner in stage.regions if stage.op in STEP_OPS else ():
                # Agents that a plan may call; it is taken to ask one after the other.
                agent = self.region(inner, made)
                nodes.append(Node("map", tuple(sorted(waits)), -1, (agent,), (1.0,)))
                waits = frozenset((len(nodes) - 1,))
            made.update(dict.fromkeys(stage.results, waits))
        return Region(tuple(nodes))

    def _node(
        self, stage: Stage, waits: frozenset[int], made: Mapping[int, frozenset[int]]
    ) -> Node | None:
        after = tuple(sorted(waits))
        if stage.op in STEP_OPS:
            part = self.part_of(stage)
            return None if part < 0 else Node("part", after, part)
        if not stage.regions:
            return None
        regions = tuple(self.region(inner, made) for inner in stage.regions)
        shares = region_factors(stage, self.factors)
        if stage.op == "loop":
            # `until` is cheap next to the body and runs once more: count it with every trip.
            body = Region((Node("map", (), -1, regions[:1], (1.0,)), *_shifted(regions[1])))
            most = int(stage.attributes.get("max_trips", max(1, round(shares[1] * 4))))
            return Node("repeat", after, -1, (body,), (shares[1],), max(most, 1))
        kind = {"map": "map", "branch": "choice"}.get(stage.op, "map")
        return Node(kind, after, -1, regions, shares if stage.op != "call" else (1.0,))

    def _reads(self, stage: Stage) -> Iterator[int]:
        """Values a stage waits for; a control stage waits for what its regions read."""
        yield from stage.operands
        for region in stage.regions:
            yield from self.program.regions[region].yields
            for index in self.program.regions[region].stages:
                yield from self._reads(self.program.stages[index])


def _shifted(body: Region) -> Iterator[Node]:
    """Put a body behind a node 0 that all of it waits for."""
    for node in body.nodes:
        after = (0, *(index + 1 for index in node.after))
        yield replace(node, after=after)


@dataclass(slots=True)
class LatencyRows:
    """Rows a @ [part seconds, start and end variables] <= 0 that hold on every path.

    Attributes:
        num_parts: the first columns.
        num_times: variables that follow them.
        rows: each as {column: coefficient}.
        end: column whose value is the mean time of a job.
    """

    num_parts: int
    num_times: int = 0
    rows: list[dict[int, float]] = field(default_factory=list)
    end: int = -1

    def paths(self, deadline_s: float = math.inf) -> PathRows:
        """Give the rows as the sizing program and its checks read them."""
        return PathRows(self.rows, self.num_parts, self.num_times, self.end, deadline_s)

    def new(self) -> int:
        """Add a time variable and give its column."""
        self.num_times += 1
        return self.num_parts + self.num_times - 1

    def at_least(self, column: int, terms: Mapping[int, float]) -> None:
        """Require column >= sum of terms."""
        row = dict(terms)
        row[column] = row.get(column, 0.0) - 1.0
        self.rows.append(row)


def latency_rows(graph: Region, num_parts: int) -> LatencyRows:
    """State the mean time of a job as linear rows with a start-time variable per node."""
    rows = LatencyRows(num_parts)
    rows.end = _region_rows(graph, rows)
    return rows


def _region_rows(region: Region, rows: LatencyRows) -> int:
    end = rows.new()
    ends: list[int] = []
    for node in region.nodes:
        duration = _duration(node, rows)
        done = rows.new()
        for before in node.after:
            rows.at_least(done, {**duration, ends[before]: 1.0})
        if not node.after:
            rows.at_least(done, duration)
        rows.at_least(end, {done: 1.0})
        ends.append(done)
    return end


def _duration(node: Node, rows: LatencyRows) -> dict[int, float]:
    if node.kind == "part":
        return {node.part: 1.0}
    ends = [_region_rows(region, rows) for region in node.regions]
    shares = (1.0,) * len(ends) if node.kind == "map" else node.shares
    return {end: max(share, 0.0) for end, share in zip(ends, shares, strict=False)}


def sample(graph: Region, draw: Draw, count: int, rng: np.random.Generator) -> Array:
    """Draw the seconds of `count` whole jobs."""
    ends: list[Array] = []
    for node in graph.nodes:
        start = np.zeros(count)
        for before in node.after:
            start = np.maximum(start, ends[before])
        ends.append(start + _drawn(node, draw, count, rng))
    total = np.zeros(count)
    for end in ends:
        total = np.maximum(total, end)
    return total


def _drawn(node: Node, draw: Draw, count: int, rng: np.random.Generator) -> Array:
    if node.kind == "part":
        return draw(node.part, count, rng)
    if node.kind == "map":
        return _drawn_map(node, draw, count, rng)
    if node.kind == "choice":
        bounds = np.cumsum(node.shares)
        picked = np.searchsorted(bounds, rng.random(count) * bounds[-1], side="right")
        return _drawn_choice(node, np.minimum(picked, len(node.regions) - 1), draw, rng)
    return _drawn_repeat(node, draw, count, rng)


def _drawn_choice(
    node: Node, picked: npt.NDArray[np.int64], draw: Draw, rng: np.random.Generator
) -> Array:
    """Draw each alternative for the jobs that take it only: there may be many of them."""
    seconds = np.zeros(len(picked))
    for side, region in enumerate(node.regions):
        jobs = np.flatnonzero(picked == side)
        if jobs.size:
            seconds[jobs] = sample(region, draw, len(jobs), rng)
    return seconds


def _drawn_map(node: Node, draw: Draw, count: int, rng: np.random.Generator) -> Array:
    longest = np.zeros(count)
    for region, share in zip(node.regions, node.shares, strict=False):
        for _ in range(min(max(round(share), 1), MAX_DRAWN_WIDTH)):
            longest = np.maximum(longest, sample(region, draw, count, rng))
    return longest


def _drawn_repeat(node: Node, draw: Draw, count: int, rng: np.random.Generator) -> Array:
    again = continuation(node.shares[0], node.most)
    total, running = np.zeros(count), np.ones(count)
    for _ in range(node.most):
        running = running * (rng.random(count) < again)
        if not running.any():
            break
        total = total + running * sample(node.regions[0], draw, count, rng)
    return total
