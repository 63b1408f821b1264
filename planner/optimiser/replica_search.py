"""Branch and bound over whole replicas and whole nodes, with its own answers from single moves.

The open part of the tree with the least bound is split first: at a number of replicas while one is
fractional, then at a node, into its faster and its slower device types. Solutions of the relaxation
are rounded, repaired and improved (`repair`, `replica_moves`); dives make the replicas whole, and
HiGHS places whole nodes on the first few such fleets. Rows that cut off solutions are added on the
way (`replica_cuts`). All is limited by counts, so that answers do not depend on a clock.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace

import numpy as np

from .problem import Array, Index
from .repair import improved, repaired
from .replica_cuts import cuts
from .replica_moves import fewer_replicas
from .replica_problem import ReplicaProblem
from .replica_program import (
    Relaxed,
    ReplicaProgram,
    extended,
    replica_program,
    solve,
    tightened,
    whole_nodes,
)

EFFORT = 3e6
"""Linear programs times columns to the power 1.5: about two seconds."""

EVERY, DIVE_EVERY = 10, 15
"""Linear programs solved per solution that is rounded, and per dive to whole replicas."""

FLEETS, PARTS = 3, 1
"""Fleets of dives that HiGHS places whole nodes on, and the parts of its tree for each."""

ROWS = 6
"""Rows per node that may be added in the tree."""

PATIENCE = 5.0
"""Times the effort that may be spent until there is any placement at all."""

WHOLE = 1e-6
"""Distance from a whole number within which a share or a count of replicas is taken as whole."""


@dataclass(frozen=True, slots=True)
class Branched:
    """The cheapest placement found, if any, and the bound proven for all."""

    assignment: Index | None
    bound_usd: float


@dataclass(frozen=True, slots=True, order=True)
class _Part:
    """A part of the tree: bounds of the columns and the relaxation's solution within them."""

    usd: float
    number: int
    least: Array = field(compare=False)
    most: Array = field(compare=False)
    relaxed: Relaxed = field(compare=False)


def branch(problem: ReplicaProblem, first: Index, gap: float, effort: float = EFFORT) -> Branched:
    """Find the cheapest placement on whole replicas, proven to `gap` or as far as effort goes."""
    tree = _Tree(problem, gap)
    tree.offer(first)
    tree.add(tree.program.least, tree.program.most)
    per_program = float(len(tree.program.cost)) ** 1.5
    # Invariant: all placements cheaper than the cutoff are within the open parts.
    while tree.open and tree.open[0].usd < tree.cutoff:
        limit = effort if tree.best is not None else PATIENCE * effort
        if tree.solved * per_program > limit:
            break
        part = heapq.heappop(tree.open)
        if tree.rounded * EVERY <= tree.solved:
            tree.round(part.relaxed)
        if tree.dived * DIVE_EVERY <= tree.solved:
            tree.dive(part)
        tree.cut(part.relaxed)
        for least, most in _halves(tree.program, problem, part):
            tree.add(least, most)
    return Branched(tree.best, tree.bound_usd)


class _Tree:
    """The open parts, the best placement, and the least bound of what was left aside."""

    def __init__(self, problem: ReplicaProblem, gap: float) -> None:
        self.problem, self.gap = problem, gap
        self.program = tightened(problem, replica_program(problem))
        self.open: list[_Part] = []
        self.best: Index | None = None
        self.usd, self.aside = np.inf, np.inf
        self.solved, self.rounded, self.dived, self.added, self.fleets = 0, 0, 0, 0, 0
        self.tried: set[bytes] = set()

    @property
    def cutoff(self) -> float:
        """Dollars from which on a part need not be looked at."""
        return self.usd * (1.0 - self.gap)

    @property
    def bound_usd(self) -> float:
        """No placement costs less: not in the open parts, and not in those left aside."""
        least = min((part.usd for part in self.open), default=np.inf)
        return min(least, self.aside, self.usd)

    def add(self, least: Array, most: Array) -> None:
        """Solve a part's relaxation and keep it open if something cheap enough may be in it."""
        relaxed = solve(self.program, least, most)
        self.solved += 1
        if relaxed is None:
            return
        if relaxed.usd >= self.cutoff:
            self.aside = min(self.aside, relaxed.usd)
            return
        heapq.heappush(self.open, _Part(relaxed.usd, self.solved, least, most, relaxed))

    def offer(self, assignment: Index, fleet: Array | None = None) -> None:
        """Take a placement, improved, if it keeps the limits and is the cheapest so far.

        With a fleet it is first improved towards making do with it.
        """
        if assignment.tobytes() in self.tried or not self.problem.keeps_limits(assignment):
            return
        self.tried.add(assignment.tobytes())
        if fleet is not None:
            assignment = fewer_replicas(self.problem, assignment, fleet)
        assignment = fewer_replicas(self.problem, assignment)
        usd = self.problem.usd(assignment)
        if usd < self.usd:
            self.best, self.usd = assignment, usd

    def cut(self, relaxed: Relaxed) -> None:
        """Add rows that cut off a part's solution; they hold everywhere."""
        graph = self.problem.graph
        if self.added >= ROWS * graph.num_nodes:
            return
        work = graph.finite_seconds / self.problem.seconds_per_replica
        found = cuts(work, relaxed.share, relaxed.replicas)
        if found:
            self.program = extended(self.program, found)
            self.added += len(found)

    def dive(self, part: _Part) -> None:
        """Make replicas whole one device type after the other, the nearest first, and round."""
        self.dived += 1
        relaxed, least, most = part.relaxed, part.least, part.most
        # Invariant: each step makes one more count whole or moves its bounds by one.
        for _ in range(2 * self.program.shape[1]):
            above = relaxed.replicas - np.floor(relaxed.replicas + WHOLE)
            if above.max() <= WHOLE:
                break
            least, most = _nearest(self.program, relaxed, above, least, most)
            found = solve(self.program, least, most)
            self.solved += 1
            if found is None or found.usd >= self.usd:
                return
            relaxed = found
        self.round(relaxed)
        if self.dived > 1 and self.fleets < FLEETS and relaxed.usd < self.cutoff:
            self.place_on(np.round(relaxed.replicas), least, most)

    def place_on(self, fleet: Array, least: Array, most: Array) -> None:
        """Place whole nodes on the fleet of a dive, which rounding did not do well."""
        self.fleets += 1
        devices = self.program.shape[1]
        least, most = least.copy(), most.copy()
        least[-devices:], most[-devices:] = fleet, fleet
        found = whole_nodes(self.program, least, most, self.gap / 3.0, PARTS)
        if found is not None:
            self.offer(found)

    def round(self, relaxed: Relaxed) -> None:
        """Round a solution: each node where most of it is, on the replicas it has there."""
        self.rounded += 1
        start = relaxed.share.argmax(axis=1)
        replicas = np.ceil(relaxed.replicas - WHOLE)
        graph = self.problem.graph
        for count in (replicas, self.problem.most_replicas):
            capacity = self.problem.seconds_per_replica * count
            limited = replace(graph, capacity_s=capacity)
            found = repaired(limited, start)
            if found is not None:
                self.offer(improved(limited, found), replicas)
                return


def _halves(
    program: ReplicaProgram, problem: ReplicaProblem, part: _Part
) -> tuple[tuple[Array, Array], ...]:
    """Split a part in two, neither of which holds its solution; nothing where it is one point."""
    replicas = part.relaxed.replicas
    broken = np.minimum(replicas - np.floor(replicas), np.ceil(replicas) - replicas)
    if broken.max() > WHOLE:
        device = int((broken * problem.usd_per_replica).argmax())
        return _at_replicas(program, part.relaxed, device, part.least, part.most)
    return _by_node(program, problem, part)


def _nearest(
    program: ReplicaProgram, relaxed: Relaxed, above: Array, least: Array, most: Array
) -> tuple[Array, Array]:
    """Bound the count that is nearest to a whole number from the side it is on."""
    off = np.where(above > WHOLE, np.minimum(above, 1.0 - above), np.inf)
    device = int(off.argmin())
    fewer, more = _at_replicas(program, relaxed, device, least, most)
    return fewer if above[device] < 0.5 else more


def _at_replicas(
    program: ReplicaProgram, relaxed: Relaxed, device: int, least: Array, most: Array
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Split at the number of replicas of a device type."""
    n, devices = program.shape
    column = len(program.cost) - devices + device
    fewer, more = most.copy(), least.copy()
    fewer[column] = np.floor(relaxed.replicas[device])
    more[column] = fewer[column] + 1.0
    if fewer[column] == 0.0:
        fewer[device : n * devices : devices] = 0.0
    return (least, fewer), (more, most)


def _by_node(
    program: ReplicaProgram, problem: ReplicaProblem, part: _Part
) -> tuple[tuple[Array, Array], ...]:
    """Split a node's device types at its mean seconds, the node whose seconds vary most."""
    n, devices = program.shape
    share, seconds = part.relaxed.share, problem.graph.finite_seconds
    open_to = part.most[: n * devices].reshape(n, devices) > 0.0
    off = np.abs(seconds - (share * seconds).sum(axis=1)[:, None])
    spread = np.where(open_to.sum(axis=1) > 1, (share * off).sum(axis=1), -1.0)
    node = int(spread.argmax())
    if spread[node] < 0.0:
        return ()
    first = seconds[node] <= float(share[node] @ seconds[node])
    if (
        share[node].max() > 1.0 - WHOLE
        or not 0 < (first & open_to[node]).sum() < open_to[node].sum()
    ):
        # A whole node of a solution that is not whole, or late by rounding: this one or another.
        first = np.arange(devices) == share[node].argmax()
    halves = []
    for kept in (first, ~first):
        most = part.most.copy()
        most[node * devices : (node + 1) * devices] *= kept
        halves.append((part.least, most))
    return tuple(halves)
