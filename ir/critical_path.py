"""When each stage of a job starts and ends, and which chain of stages decides when it is done.

Regions compose recursively: stages of one region run as soon as their operands are there; a map
takes as long as its body (waiting turns are in the stages' seconds already), a loop its expected
trips, a branch the mean of its sides. Time and memory are linear in stages and operands.

Of the longest path through a stage (L seconds, visits counted) the stage itself takes w seconds:
w / L is its share of the job's deadline. A path P through stages s is no longer than any of their
L, so its shares sum to at most |P| / |P| = 1, and on the critical path, where every L is the
job's time, to 1. Between a stage's L and the deadline lies its slack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from .program import Program, Stage
from .visits import region_factors

Hop = Callable[[Stage, Stage], float]
"""Seconds it takes a value to get from the stage that made it to the stage that reads it."""

UNTIMED_OPS = frozenset({"constant", "compute"})
"""Ops that the dispatcher evaluates itself, in no time that counts."""


def is_timed(stage: Stage) -> bool:
    """Tell whether a stage takes time of its own; control flow takes only what is inside it."""
    return stage.op not in UNTIMED_OPS and (not stage.regions or stage.op == "expand")


@dataclass(slots=True, eq=False)
class Node:
    """One stage on the timeline of its region.

    Attributes:
        start_s, seconds: from the region's start; of a control stage, all its visits together.
        own_s: of these, what the stage itself takes before its regions begin.
        before: what it waited for longest; None where it started with its region.
        last: the last timed stage on the chain that ends here.
        inner: its regions, and how often each counts on a path.
    """

    stage: Stage
    start_s: float
    seconds: float
    before: Node | None
    last: Stage | None
    inner: tuple[tuple[RegionTimes, float], ...] = ()
    own_s: float = 0.0

    @property
    def end_s(self) -> float:
        """When its results exist, from the region's start."""
        return self.start_s + self.seconds


@dataclass(slots=True, eq=False)
class RegionTimes:
    """One visit of a region: its nodes in order, and the one that ends last."""

    offset_s: float
    nodes: list[Node] = field(default_factory=list)
    latest: Node | None = None

    @property
    def seconds(self) -> float:
        """What one visit takes."""
        return self.latest.end_s if self.latest else 0.0


@dataclass(frozen=True, slots=True)
class StageTimes:
    """What the whole job says about one timed stage.

    Attributes:
        seconds: expected seconds on the path through it: of one visit, times trips and
            probability (items of a map run side by side and count once).
        longest_s: expected seconds of the longest path of the job through it.
        critical: whether it lies on the critical path.
    """

    seconds: float
    longest_s: float
    critical: bool

    @property
    def deadline_share(self) -> float:
        """Part of the job's deadline it may take, of 1."""
        return self.seconds / self.longest_s if self.longest_s > 0.0 else 0.0


@dataclass(slots=True)
class Paths:
    """The expected times of one job; build it with `paths`."""

    program: Program
    root: RegionTimes
    reads: Mapping[int, tuple[int, ...]]
    hop: Hop | None

    @property
    def seconds(self) -> float:
        """End of the last stage."""
        return self.root.seconds

    def critical(self) -> list[Stage]:
        """Give the timed stages on the critical path, in order."""
        return list(_path(self.root))

    def spans(self) -> dict[str, tuple[float, float]]:
        """Give (start, end) seconds of the first visit of each timed stage, by name."""
        found: dict[str, tuple[float, float]] = {}
        for offset_s, node in _walk(self.root):
            if is_timed(node.stage):
                start_s = offset_s + node.start_s
                found.setdefault(node.stage.name, (start_s, start_s + node.own_s))
        return found

    def stages(self) -> dict[int, StageTimes]:
        """Give the times of every timed stage, by stage id."""
        found: dict[int, StageTimes] = {}
        critical = {stage.id for stage in self.critical()}
        self._weigh(self.root, 1.0, self.seconds, critical, found)
        return found

    def _weigh(
        self,
        region: RegionTimes,
        times: float,
        around_s: float,
        critical: set[int],
        found: dict[int, StageTimes],
    ) -> None:
        """Weigh one region that counts `times` times on a path of `around_s` seconds."""
        tails = self._tails(region)
        for node in region.nodes:
            spared_s = region.seconds - (node.end_s + tails[node.stage.id])
            longest_s = around_s - times * spared_s
            for inner, share in node.inner:
                self._weigh(inner, times * share, longest_s, critical, found)
            if is_timed(node.stage):
                found[node.stage.id] = StageTimes(
                    times * node.own_s, longest_s, node.stage.id in critical
                )

    def _tails(self, region: RegionTimes) -> dict[int, float]:
        """Give the seconds that follow the end of each node in its region, by stage id."""
        made = {value: node for node in region.nodes for value in node.stage.results}
        tails = {node.stage.id: 0.0 for node in region.nodes}
        # Invariant: every reader of a node's results comes later, so its tail is final.
        for node in reversed(region.nodes):
            needed_s = node.seconds + tails[node.stage.id]
            for value in self.reads[node.stage.id]:
                producer = made.get(value)
                if producer is not None:
                    after_s = needed_s + _hop_s(self.hop, producer, node.stage)
                    tails[producer.stage.id] = max(tails[producer.stage.id], after_s)
        return tails


def paths(
    program: Program,
    seconds: Mapping[int, float],
    factors: Mapping[str, float],
    hop: Hop | None = None,
) -> Paths:
    """Compute a job's expected times.

    Args:
        seconds: by stage id, what one visit adds to the job's time; for every timed stage.
        factors: of control stages, as `region_factors` takes them.
        hop: seconds between stages on different devices; none where transfers are stages.
    """
    reads: dict[int, tuple[int, ...]] = {}
    _reads_of(program, 0, reads)
    return Paths(program, _Walk(program, seconds, factors, hop, reads).region(0, 0.0), reads, hop)


@dataclass(slots=True)
class _Walk:
    program: Program
    seconds: Mapping[int, float]
    factors: Mapping[str, float]
    hop: Hop | None
    reads: Mapping[int, tuple[int, ...]]

    def region(self, index: int, offset_s: float) -> RegionTimes:
        """Lay one region out; values of regions around it exist when it starts."""
        times = RegionTimes(offset_s)
        made: dict[int, Node] = {}
        latest_s = 0.0
        # Invariant: `made` holds every value made so far in this region.
        for number in self.program.regions[index].stages:
            stage = self.program.stages[number]
            node = self._node(stage, made, offset_s)
            times.nodes.append(node)
            for value in stage.results:
                made[value] = node
            if node.end_s > latest_s:
                latest_s, times.latest = node.end_s, node
        return times

    def _node(self, stage: Stage, made: Mapping[int, Node], offset_s: float) -> Node:
        start_s, before = -1.0, None
        for value in self.reads[stage.id]:
            producer = made.get(value)
            arrival_s = 0.0
            if producer is not None:
                arrival_s = producer.end_s + _hop_s(self.hop, producer, stage)
            if arrival_s > start_s:
                start_s, before = arrival_s, producer
        start_s = max(start_s, 0.0)
        last = before.last if before else None
        if stage.regions:
            return self._control(stage, start_s, before, offset_s)
        if stage.op in UNTIMED_OPS:
            return Node(stage, start_s, 0.0, before, last)
        seconds = self.seconds[stage.id]
        return Node(stage, start_s, seconds, before, stage, own_s=seconds)

    def _control(self, stage: Stage, start_s: float, before: Node | None, offset_s: float) -> Node:
        shares = region_factors(stage, self.factors)
        if stage.op == "map":
            shares = (1.0,)  # items run side by side; an empty map still has a path
        own_s, inner = 0.0, []
        last = before.last if before else None
        if is_timed(stage):
            own_s, last = self.seconds[stage.id], stage
        spent_s = own_s
        for region, share in zip(stage.regions, shares, strict=False):
            times = self.region(region, offset_s + start_s + spent_s)
            share = max(share, 0.0)
            spent_s += share * times.seconds
            inner.append((times, share))
            if share > 0.0 and times.latest is not None:
                last = times.latest.last or last
        return Node(stage, start_s, spent_s, before, last, tuple(inner), own_s)


def _hop_s(hop: Hop | None, producer: Node, reader: Stage) -> float:
    if hop is None or producer.last is None or reader.regions or reader.op in UNTIMED_OPS:
        return 0.0
    return hop(producer.last, reader)


def _reads_of(program: Program, index: int, reads: dict[int, tuple[int, ...]]) -> set[int]:
    """Note what each stage of a region waits for; give what the region reads from around it.

    A control stage waits for what its regions read.
    """
    region = program.regions[index]
    made, wanted = set(region.arguments), set(region.yields)
    for number in region.stages:
        stage = program.stages[number]
        own = stage.operands
        if stage.regions:
            inner = set[int]()
            for nested in stage.regions:
                inner |= _reads_of(program, nested, reads)
            own = (*own, *sorted(inner))
        reads[stage.id] = own
        wanted.update(own)
        made.update(stage.results)
    return wanted - made


def _path(region: RegionTimes) -> Iterator[Stage]:
    chain: list[Node] = []
    node = region.latest
    while node is not None:
        chain.append(node)
        node = node.before
    for node in reversed(chain):
        if is_timed(node.stage):
            yield node.stage
        for inner, share in node.inner:
            if share > 0.0:
                yield from _path(inner)


def _walk(region: RegionTimes) -> Iterator[tuple[float, Node]]:
    for node in region.nodes:
        yield region.offset_s, node
        for inner, _ in node.inner:
            yield from _walk(inner)
