"""The least time any assignment takes: the nearest deadline that can be met at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .problem import Array, GraphProblem, Index
from .relaxation import edge_tables
from .series_parallel import PARALLEL, SERIES, Merge, Reduction
from .timing import makespan


@dataclass(frozen=True, slots=True)
class Quickest:
    """The fastest assignment found.

    Attributes:
        assignment: device of each node, [n].
        seconds: its end-to-end time.
        bound_s: no assignment is faster; equal to `seconds` on a series-parallel graph.
    """

    assignment: Index
    seconds: float
    bound_s: float


def quickest(problem: GraphProblem, reduction: Reduction) -> Quickest:
    """Find the fastest assignment: a sum over series, the slower of parallel components."""
    node_s, device = _fastest_by_site(problem)
    least = np.empty((reduction.num_components, problem.num_sites, problem.num_sites))
    least[: len(reduction.ends)] = edge_tables(problem, reduction)[0]
    for merge in reduction.merges:
        if merge.kind == SERIES:
            through = least[merge.first] + node_s[merge.node][:, None]
            joined = through[..., None] + least[merge.second][:, None]
            least[merge.result] = joined.min(axis=2)
        elif merge.kind == PARALLEL:
            least[merge.result] = np.maximum(least[merge.first], least[merge.second])
        else:
            least[merge.result] = least[merge.first].min(axis=2, keepdims=True)
    site = _sites(problem, reduction, least, node_s)
    assignment = device[np.arange(problem.num_nodes), site]
    bound_s = float(least[reduction.root].min())
    return Quickest(assignment, makespan(problem, assignment), bound_s)


def _fastest_by_site(problem: GraphProblem) -> tuple[Array, Index]:
    """Give each node's least seconds by site and the device that takes them, [n, S] both."""
    seconds = np.where(problem.allowed, problem.seconds, np.inf)
    least = np.full((problem.num_nodes, problem.num_sites), np.inf)
    device = np.zeros(least.shape, dtype=np.intp)
    for number, site in enumerate(problem.site_of.tolist()):
        better = seconds[:, number] < least[:, site]
        least[better, site] = seconds[better, number]
        device[better, site] = number
    return least, device


def _sites(problem: GraphProblem, reduction: Reduction, least: Array, node_s: Array) -> Index:
    """Walk down from the root and give every node the site that attains the least time."""
    site = np.zeros(problem.num_nodes, dtype=np.intp)
    source, target = (np.zeros(reduction.num_components, dtype=np.intp) for _ in range(2))
    root = reduction.root
    source[root], target[root] = np.unravel_index(least[root].argmin(), least[root].shape)
    for merge in reversed(reduction.merges):
        _hand_down(merge, least, node_s, source, target, site)
    return site


def _hand_down(
    merge: Merge, least: Array, node_s: Array, source: Index, target: Index, site: Index
) -> None:
    first, second, result = merge.first, merge.second, merge.result
    rank = np.arange(len(result))
    source[first], target[first] = source[result], target[result]
    if merge.kind == SERIES:
        left = least[first][rank, source[result]] + node_s[merge.node]
        middle = (left + least[second][rank, :, target[result]]).argmin(axis=1)
        site[merge.node] = target[first] = source[second] = middle
        target[second] = target[result]
    elif merge.kind == PARALLEL:
        source[second], target[second] = source[result], target[result]
    else:
        target[first] = least[first][rank, source[result]].argmin(axis=1)


def least_through(problem: GraphProblem) -> Array:
    """Give the least seconds of a longest path through each node by its device type, [n, D].

    All other nodes are as fast as their own path allows, each path by itself: a bound for any
    acyclic graph. Infinite where a node cannot run.
    """
    fastest, _ = _fastest_by_site(problem)
    before, after = np.zeros_like(fastest), np.zeros_like(fastest)
    order = problem.topological or []
    # Invariant: what ends before (begins after) a node is final when the node's turn comes.
    for node in order:
        for target, edge in problem.successors[node]:
            ends = before[node] + fastest[node] + problem.transfer_s[edge].T
            before[target] = np.maximum(before[target], ends.min(axis=1))
    for node in reversed(order):
        for source, edge in problem.predecessors[node]:
            rest = after[node] + fastest[node] + problem.transfer_s[edge]
            after[source] = np.maximum(after[source], rest.min(axis=1))
    seconds = np.where(problem.allowed, problem.seconds, np.inf)
    through: Array = (before + after)[:, problem.site_of] + seconds
    return through
