"""Single moves of nodes between device types: into the limits, then to less cost within them.

For all moves at once: the longest path through a moved node is its latest arrival, its seconds and
what follows it, so a move keeps the deadline exactly when that sum does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .problem import Array, GraphProblem, Index
from .timing import makespan, timing


@dataclass(frozen=True, slots=True)
class Moves:
    """What moving each node to each device type would do.

    Attributes:
        usd: dollars it adds, [n, D]; infinite where a node cannot run.
        through_s: longest path through the node afterwards, [n, D].
        seconds: the job's time before any move.
        load_s: device-seconds per job on each device type before any move, [D].
    """

    usd: Array
    through_s: Array
    seconds: float
    load_s: Array


def moves(problem: GraphProblem, assignment: Index) -> Moves:
    """Weigh all single moves from an assignment."""
    now = timing(problem, assignment)
    n, sites, (source, target) = problem.num_nodes, problem.site_of[assignment], problem.edges.T
    head, tail, node_s = np.array(now.head), np.array(now.tail), np.array(now.node_s)
    edge = np.arange(len(source))
    before, after, usd = (np.zeros((n, problem.num_sites)) for _ in range(3))
    done = (head + node_s)[source, None] + problem.transfer_s[edge, sites[source]]
    np.maximum.at(before, target, done)
    rest = (tail + node_s)[target, None] + problem.transfer_s[edge, :, sites[target]]
    np.maximum.at(after, source, rest)
    np.add.at(usd, target, problem.transfer_usd[edge, sites[source]])
    np.add.at(usd, source, problem.transfer_usd[edge, :, sites[target]])
    total = problem.usd + usd[:, problem.site_of]
    rank = np.arange(n)
    load = np.zeros(problem.num_devices)
    np.add.at(load, assignment, node_s)
    return Moves(
        np.where(problem.allowed, total - total[rank, assignment][:, None], np.inf),
        before[:, problem.site_of] + problem.seconds + after[:, problem.site_of],
        now.seconds,
        load,
    )


def keeps_limits(problem: GraphProblem, assignment: Index) -> bool:
    """Tell whether an assignment keeps the deadline and the capacities."""
    return makespan(problem, assignment) <= problem.latest_s and _overload(problem, assignment) <= 0


def _overload(problem: GraphProblem, assignment: Index) -> float:
    """Give the most device-seconds by which a device type is over its capacity."""
    if problem.capacity_s is None:
        return 0.0
    load = np.zeros(problem.num_devices)
    rank = np.arange(problem.num_nodes)
    np.add.at(load, assignment, problem.seconds[rank, assignment])
    return float((load - problem.capacity_s * (1.0 + 1e-9)).max())


def _has_room(problem: GraphProblem, weighed: Moves) -> npt.NDArray[np.bool_]:
    """Tell which moves leave the device type moved to within its capacity, [n, D]."""
    if problem.capacity_s is None:
        return problem.allowed
    return weighed.load_s + problem.seconds <= problem.capacity_s * (1.0 + 1e-9)


def repaired(problem: GraphProblem, start: Index) -> Index | None:
    """Move nodes until capacities and deadline hold; None where single moves cannot get there.

    Each move is the one that costs least per second won, off an overloaded device type or on a
    critical path.
    """
    assignment = start.copy()
    # Invariant: every round lowers the overload, or, without one, the time of the paths through
    # one critical node; the bound on rounds stops chases between equal paths.
    for _ in range(4 * problem.num_nodes + 100):
        if keeps_limits(problem, assignment):
            return assignment
        weighed = moves(problem, assignment)
        rank = np.arange(problem.num_nodes)
        allowed = problem.allowed & _has_room(problem, weighed)
        if _overload(problem, assignment) > 0.0:
            gain = _relief(problem, weighed, assignment)
        else:
            critical = weighed.through_s[rank, assignment] >= weighed.seconds * (1.0 - 1e-9)
            gain = np.where(critical[:, None], weighed.seconds - weighed.through_s, 0.0)
        allowed &= gain > 1e-12 * max(weighed.seconds, 1e-12)
        if not allowed.any():
            return None
        node, device = _cheapest_per_gain(weighed, gain, allowed)
        assignment[node] = device
    return None


def _relief(problem: GraphProblem, weighed: Moves, assignment: Index) -> Array:
    """Give the overload each move takes away, [n, D]; late moves count for little."""
    assert problem.capacity_s is not None
    over = np.maximum(weighed.load_s - problem.capacity_s * (1.0 + 1e-9), 0.0)[assignment]
    own = problem.seconds[np.arange(problem.num_nodes), assignment]
    late = weighed.through_s > problem.latest_s
    gain: Array = np.minimum(over, own)[:, None] * np.where(late, 1e-3, 1.0)
    return np.broadcast_to(gain, weighed.usd.shape)


def _cheapest_per_gain(
    weighed: Moves, gain: Array, allowed: npt.NDArray[np.bool_]
) -> tuple[int, int]:
    # What costs nothing is taken first, the largest gain of those; then the least price per gain.
    price = np.where(allowed, weighed.usd / np.where(allowed, gain, 1.0), np.inf)
    free = allowed & (weighed.usd <= 0.0)
    score = np.where(free, -1.0 - gain, price) if free.any() else price
    node, device = np.unravel_index(int(score.argmin()), score.shape)
    return int(node), int(device)


def improved(problem: GraphProblem, start: Index) -> Index:
    """Give back what is not needed: moves that cost less and keep every limit, until none does."""
    assignment = start.copy()
    scale = float(problem.usd[np.arange(problem.num_nodes), start].sum())
    # Invariant: `assignment` keeps every limit, and each round costs less than the one before.
    while True:
        weighed = moves(problem, assignment)
        allowed = (weighed.usd < -1e-9 * scale) & (weighed.through_s <= problem.latest_s)
        allowed &= _has_room(problem, weighed)
        if not allowed.any():
            return assignment
        assignment = _most_moves(problem, assignment, np.where(allowed, weighed.usd, 0.0))


def _most_moves(problem: GraphProblem, assignment: Index, usd: Array) -> Index:
    """Make as many of the moves at once as keep the limits, the most valuable first."""
    order = np.argsort(usd.min(axis=1), kind="stable")
    nodes = _apart(problem, order[usd.min(axis=1)[order] < 0.0])
    count = len(nodes)
    # Invariant: the first move alone is known to keep the limits.
    while count > 1:
        tried = assignment.copy()
        tried[nodes[:count]] = usd[nodes[:count]].argmin(axis=1)
        if keeps_limits(problem, tried):
            return tried
        count //= 2
    tried = assignment.copy()
    tried[nodes[0]] = usd[nodes[0]].argmin()
    return tried


def _apart(problem: GraphProblem, nodes: Index) -> Index:
    """Leave out nodes next to an earlier one: their moves were weighed with it in place."""
    touched: set[int] = set()
    chosen = []
    for node in nodes.tolist():
        if node not in touched:
            chosen.append(node)
            touched.update(other for other, _ in problem.successors[node])
            touched.update(other for other, _ in problem.predecessors[node])
    return np.array(chosen, dtype=np.intp)


def upgraded(problem: GraphProblem) -> Index | None:
    """Place greedily: each node where it is cheapest, then upgrade the critical path, then trim."""
    cheapest = np.where(problem.allowed, problem.usd, np.inf).argmin(axis=1)
    in_time = repaired(problem, cheapest)
    return None if in_time is None else improved(problem, in_time)
