"""Moves of nodes that save whole replicas: a tabu search over placements that keep the limits.

Moving one node seldom empties a replica, so dollars alone give no direction. A replica's price is
therefore partly charged by how full it is: moves that empty a replica step by step look cheaper.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .problem import Array, Index
from .repair import Moves, moves
from .replica_problem import ReplicaProblem

BY_FILL = 0.3
"""Part of a replica's price charged by its load while searching; the rest by whole replicas."""

BEYOND = 3.0
"""Times a replica's price charged for work beyond a given fleet."""

ROUNDS = 120
"""Moves that may be made without finding anything cheaper."""


def fewer_replicas(problem: ReplicaProblem, start: Index, fleet: Array | None = None) -> Index:
    """Improve a placement that keeps the limits: the best of all moves each round, seldom back.

    Args:
        fleet: replicas to make do with, [D]: work beyond them is then what is charged by load.
    """
    assignment, best = start.copy(), start
    least = problem.usd(start)
    rank = np.arange(problem.graph.num_nodes)
    tenure = 5 + problem.graph.num_nodes // 8
    barred_until = np.zeros(problem.graph.seconds.shape, dtype=np.intp)
    found_at, now = 0, 0
    # Invariant: `assignment` keeps deadline and stock; `best` is the cheapest one seen so far.
    while now - found_at < ROUNDS:
        now += 1
        paid, felt = _changes(problem, moves(problem.graph, assignment), assignment, fleet)
        usd = problem.usd(assignment)
        # Even a barred move is made when it leads to the cheapest placement yet.
        open_to = (barred_until < now) | (usd + paid < least * (1.0 - 1e-9))
        felt = np.where(open_to, felt, np.inf)
        felt[rank, assignment] = np.inf
        node, device = np.unravel_index(int(felt.argmin()), felt.shape)
        if not np.isfinite(felt[node, device]):
            break
        barred_until[node, assignment[node]] = now + tenure
        assignment[node] = device
        if usd + paid[node, device] < least * (1.0 - 1e-9):
            best, least, found_at = assignment.copy(), usd + float(paid[node, device]), now
    return best


def _changes(
    problem: ReplicaProblem, weighed: Moves, assignment: Index, fleet: Array | None
) -> tuple[Array, Array]:
    """Give the dollars each move adds, and as the search feels them, [n, D] both.

    What would be late or out of stock feels infinite.
    """
    graph, per_replica = problem.graph, problem.usd_per_replica
    full = weighed.load_s / problem.seconds_per_replica
    count = np.bincount(assignment, minlength=graph.num_devices)
    work = graph.finite_seconds / problem.seconds_per_replica
    own = work[np.arange(graph.num_nodes), assignment]
    without = full[assignment] - own
    whole, with_it = _whole(full, count > 0), _whole(full + work, True)
    saved = whole[assignment] - _whole(without, count[assignment] > 1)
    by_replica = per_replica * (with_it - whole) - (per_replica[assignment] * saved)[:, None]
    if fleet is None:
        by_fill = per_replica * work - (per_replica[assignment] * own)[:, None]
        felt = (1.0 - BY_FILL) * by_replica + BY_FILL * by_fill
    else:
        over = np.maximum(full - fleet, 0.0)
        more = np.maximum(full + work - fleet, 0.0) - over
        less = over[assignment] - np.maximum(without - fleet[assignment], 0.0)
        felt = BEYOND * (per_replica * more - (per_replica[assignment] * less)[:, None])
    late = weighed.through_s > graph.latest_s
    short = with_it > np.inf if problem.stock is None else with_it > problem.stock
    felt = np.where(late | short | ~graph.allowed, np.inf, weighed.usd + felt)
    return weighed.usd + by_replica, felt


def _whole(full: Array, used: npt.ArrayLike) -> Array:
    # Work of no length still needs a device that is there.
    replicas: Array = np.maximum(np.ceil(full - 1e-9), used)
    return replicas
