"""Place a graph's nodes on device types: least dollars per job within the limits, with a proof.

A series-parallel graph without capacities is solved by frontiers (`frontier`) under the bounds of
the relaxation; anything else by the linear program's bound and prices, single moves, and branch
and bound where it is small. Every answer carries the bound it was proven against.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from gangline.ir.errors import InfeasibleError

from .frontier import Search, search
from .linear_program import LinearBound, branch_and_bound, linear_bound
from .problem import Array, GraphProblem, Index
from .quickest import Quickest, quickest
from .relaxation import Relaxation, relax
from .repair import improved, keeps_limits, repaired
from .series_parallel import Reduction, reduce_graph
from .timing import critical_path, dollars, timing

WIDENINGS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 10.0, 1e9)
"""How far over the bound, as a part of it, solutions are looked for; the first that finds stops."""

SHORT = 32
EFFORT = 8_000_000
"""Joined entries looked at to close the gap; each takes some 0.25 us."""

FREE_EFFORT = 200_000
"""What is always spent to prove the optimum, however small the gap is already."""

EXACT_CELLS = 2_000
"""Nodes x device types up to which branch and bound follows where the gap is too wide."""


FREE_CELLS = 200
"""Up to which branch and bound always follows: the optimum costs next to nothing."""


BRANCH_S = 10.0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each node runs, and how good that is known to be.

    Attributes:
        assignment: device type of each node, [n].
        usd: dollars per job.
        seconds: end-to-end seconds of a job.
        bound_usd: no placement within the limits costs less.
        usd_per_s: dollars per job that one more second of deadline would save (per millisecond:
            a thousandth), from the relaxation.
        capacity_price: dollars per job that one more device-second per job would save, [D].
        path: names of the nodes on the critical path, in order.
    """

    assignment: Index
    usd: float
    seconds: float
    bound_usd: float
    usd_per_s: float
    capacity_price: Array
    path: tuple[str, ...]

    @property
    def gap(self) -> float:
        """By what part of the dollars a better placement could be cheaper; 0 when proven best."""
        return max(0.0, self.usd - self.bound_usd) / self.usd if self.usd > 0.0 else 0.0


def place(problem: GraphProblem, gap: float = 1e-3) -> Placement:
    """Place all nodes at least cost within deadline and capacities.

    Deterministic; on series-parallel graphs the work is bounded by counts, not by a clock. Branch
    and bound, for small graphs of other forms, stops at BRANCH_S at the latest.

    Args:
        gap: proven relative gap that is good enough on problems too large to solve exactly.

    Raises:
        InfeasibleError: no placement keeps the limits; names the nearest deadline that one can
            keep and the nodes that bind it.
    """
    reduction = reduce_graph(problem.num_nodes, problem.edges)
    fastest = quickest(problem, reduction)
    if fastest.bound_s > problem.latest_s:
        raise too_late(problem, fastest)
    if reduction.num_detached == 0 and problem.capacity_s is None:
        return _by_frontiers(problem, reduction, gap)
    return _by_prices(problem, reduction, fastest, gap)


def too_late(problem: GraphProblem, fastest: Quickest) -> InfeasibleError:
    """Say what is the nearest deadline and which nodes decide it."""
    found = timing(problem, fastest.assignment)
    path = critical_path(problem, found)
    slowest = sorted(path, key=lambda node: -found.node_s[node])[:3]
    names = ", ".join(repr(problem.names[node]) for node in slowest)
    binding = problem.names[slowest[0]]
    return InfeasibleError(
        f"No placement meets the deadline of {problem.deadline_s:g} s: the fastest takes "
        f"{fastest.seconds:.6g} s, most of it in {names}",
        where=f"node {binding}",
        next_step=f"Ask for {fastest.seconds * (1 + 1e-6):.6g} s or more, or add a faster device "
        f"for {binding!r}.",
    )


def _placement(
    problem: GraphProblem, assignment: Index, bound: float, usd_per_s: float, capacity: Array
) -> Placement:
    found = timing(problem, assignment)
    usd = dollars(problem, assignment)
    names = tuple(problem.names[node] for node in critical_path(problem, found))
    return Placement(assignment, usd, found.seconds, min(bound, usd), usd_per_s, capacity, names)


def _by_frontiers(problem: GraphProblem, reduction: Reduction, gap: float) -> Placement:
    relaxation = relax(problem, reduction)
    best, bound = _widened(problem, reduction, relaxation)
    best, bound = _narrowed(problem, reduction, relaxation, best, bound, gap)
    assert best.assignment is not None
    nothing = np.zeros(problem.num_devices)
    return _placement(problem, best.assignment, bound, relaxation.usd_per_s, nothing)


def _widened(
    problem: GraphProblem, reduction: Reduction, relaxation: Relaxation
) -> tuple[Search, float]:
    """Look ever further above the bound until something is in time."""
    bound = relaxation.bound_usd
    unit = max(bound, 1e-9 * problem.prohibitive_usd)
    for width in WIDENINGS:
        limit = relaxation.bound_usd + width * unit
        found = search(problem, reduction, relaxation, limit, SHORT)
        if found.exact:
            bound = max(bound, min(limit, found.usd))
        if found.assignment is not None:
            return found, bound
    # Every list was thinned past what the deadline leaves: the fastest placement is one answer.
    fastest = quickest(problem, reduction).assignment
    return Search(fastest, dollars(problem, fastest), False, found.work), bound


def _narrowed(
    problem: GraphProblem,
    reduction: Reduction,
    relaxation: Relaxation,
    best: Search,
    bound: float,
    gap: float,
) -> tuple[Search, float]:
    """Search between bound and best until proven, good enough, or as long as is allowed."""
    length, reach, spent = 2 * SHORT, 1.0, best.work
    # Invariant: `best` is in time, and nothing costs less than `bound`.
    while best.usd > bound * (1.0 + 1e-12):
        left = (EFFORT if best.usd - bound > gap * best.usd else FREE_EFFORT) - spent
        if left <= 0:
            break
        limit = bound + reach * (best.usd - bound)
        found = search(problem, reduction, relaxation, limit, length, left)
        spent += found.work
        if found.exact:
            bound = max(bound, min(limit, found.usd))
            reach = min(1.0, 2.0 * reach)
        elif found.usd >= best.usd:
            # Longer lists see more; a lower limit may leave few enough entries to prove it.
            length, reach = 2 * length, max(0.25, 0.5 * reach)
        best = min(best, found, key=lambda search: search.usd)
    return best, bound


def _by_prices(
    problem: GraphProblem, reduction: Reduction, fastest: Quickest, gap: float
) -> Placement:
    """Round the linear program at its prices, repair, improve; then branch where it is small."""
    relaxed = linear_bound(problem)
    if relaxed is None:
        raise _over_capacity(problem, fastest)
    starts = [*_rounded(problem, relaxed), *_priced(problem, reduction, relaxed, gap)]
    starts.append(fastest.assignment)
    best = _best_of(problem, starts)
    bound = relaxed.bound_usd
    usd = np.inf if best is None else dollars(problem, best)
    wanted = gap if problem.num_nodes * problem.num_devices > FREE_CELLS else 1e-9
    if best is None or usd - bound > wanted * usd:
        best, bound = _branched(problem, best, bound)
    if best is None:
        raise _over_capacity(problem, fastest)
    return _placement(problem, best, bound, relaxed.usd_per_s, relaxed.capacity_price)


def _rounded(problem: GraphProblem, relaxed: LinearBound) -> Iterable[Index]:
    price = relaxed.node_price[:, None] + relaxed.capacity_price
    yield relaxed.share.argmax(axis=1)
    yield (problem.finite_usd + price * problem.finite_seconds).argmin(axis=1)


def _priced(
    problem: GraphProblem, reduction: Reduction, relaxed: LinearBound, gap: float
) -> Iterable[Index]:
    """Pay for capacity in the dollars, and solve the series-parallel problem that is left."""
    if reduction.num_detached or problem.capacity_s is None:
        return
    for factor in (1.0, 1.01, 1.05, 1.2):
        usd = problem.usd + factor * relaxed.capacity_price * problem.finite_seconds
        yield place(replace(problem, usd=usd, capacity_s=None), gap).assignment


def _best_of(problem: GraphProblem, starts: Iterable[Index]) -> Index | None:
    found = [repaired(problem, start) for start in starts]
    kept = [improved(problem, start) for start in found if start is not None]
    return min(kept, key=lambda assignment: dollars(problem, assignment), default=None)


def _branched(
    problem: GraphProblem, best: Index | None, bound: float
) -> tuple[Index | None, float]:
    if problem.num_nodes * problem.num_devices > EXACT_CELLS:
        return best, bound
    exact = branch_and_bound(problem, 1e-6, BRANCH_S)
    found = exact.assignment
    if found is None or not keeps_limits(problem, found):
        return best, max(bound, exact.bound_usd) if best is not None else bound
    if best is None or dollars(problem, found) < dollars(problem, best):
        best = found
    return best, max(bound, exact.bound_usd)


def _over_capacity(problem: GraphProblem, fastest: Quickest) -> InfeasibleError:
    if problem.capacity_s is None:
        return too_late(problem, fastest)
    load = np.zeros(problem.num_devices)
    rank = np.arange(problem.num_nodes)
    np.add.at(load, fastest.assignment, problem.seconds[rank, fastest.assignment])
    device = int((load - problem.capacity_s).argmax())
    return InfeasibleError(
        "No placement was found that keeps both the deadline of "
        f"{problem.deadline_s:g} s and the capacity of the devices; the fastest placement wants "
        f"{load[device]:.6g} device-seconds per job of type {device}, which has "
        f"{problem.capacity_s[device]:.6g}",
        where=f"device type {device}",
        next_step=f"Add devices of type {device}, or allow a later deadline.",
    )
