"""A graph reduced to one edge: the order in which its nodes and parallel edges are merged.

A component stands between two nodes and owns what it swallowed. Two reductions take a
series-parallel graph to a single component: a node with one component in and one out joins them
(series), and two components between the same nodes become one (parallel); Valdes, Tarjan and
Lawler, SIAM J. Comput. 11 (1982). Where neither applies, a component is cut from the node it ends
in and tied to the sink (detached): fewer constraints, so bounds computed on the reduced graph stay
bounds. Merges of one kind and level do not depend on each other and are done in one array step.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .problem import Index

SERIES, PARALLEL, DETACH = range(3)


@dataclass(frozen=True, slots=True)
class Merge:
    """Reductions of one kind that can be done at once.

    Attributes:
        kind: SERIES, PARALLEL or DETACH.
        first, second: components merged, [k]; `second` is -1 where there is only one.
        node: the node between them in a series, [k]; else -1.
        result: the components that come of it, [k].
    """

    kind: int
    first: Index
    second: Index
    node: Index
    result: Index


@dataclass(frozen=True, slots=True)
class Reduction:
    """How a graph becomes one component.

    Attributes:
        merges: in the order they can be done.
        num_components: base edges first (in their own order), then results.
        ends: (source, target) of the base edges, the virtual ones included, [b, 2].
        root: the component that is left, from the virtual source to the virtual sink.
        num_detached: how many components were cut; 0 for a series-parallel graph.
    """

    merges: tuple[Merge, ...]
    num_components: int
    ends: Index
    root: int
    num_detached: int


@dataclass(slots=True)
class _Shrinking:
    """The graph while it is being reduced."""

    into: list[dict[int, list[int]]]
    out_of: list[dict[int, list[int]]]
    level: list[int]
    steps: dict[tuple[int, int], list[tuple[int, int, int, int]]] = field(default_factory=dict)

    def add(self, kind: int, first: int, second: int, node: int) -> int:
        """Record one reduction and give the number of its result."""
        result = len(self.level)
        below = max(self.level[first], self.level[second] if second >= 0 else 0)
        self.level.append(below + 1)
        self.steps.setdefault((below + 1, kind), []).append((first, second, node, result))
        return result

    def link(self, source: int, target: int, component: int) -> None:
        """Put a component between two nodes."""
        shared = self.out_of[source].setdefault(target, [])
        shared.append(component)
        self.into[target][source] = shared

    def merge_parallel(self, source: int, target: int) -> None:
        """Merge what is between two nodes into one, as a balanced tree."""
        shared = self.out_of[source][target]
        # Invariant: `shared` holds all there is between the two, fewest merges first.
        while len(shared) > 1:
            first, second = shared.pop(0), shared.pop(0)
            shared.append(self.add(PARALLEL, first, second, -1))

    def merge_series(self, node: int) -> tuple[int, int]:
        """Join the only component into a node with the only one out of it."""
        (source, before), (target, after) = self.into[node].popitem(), self.out_of[node].popitem()
        del self.out_of[source][node], self.into[target][node]
        self.link(source, target, self.add(SERIES, before[0], after[0], node))
        return source, target


def reduce_graph(num_nodes: int, pairs: npt.ArrayLike) -> Reduction:
    """Reduce an acyclic graph, given its nodes' number and edges [m, 2], in near-linear time.

    A virtual source (number n) and sink (n + 1) are tied to the nodes without sources and
    targets, after the given edges.
    """
    edges = [(source, target) for source, target in np.asarray(pairs).reshape(-1, 2).tolist()]
    has_source = {target for _, target in edges}
    has_target = {source for source, _ in edges}
    starts = [(num_nodes, node) for node in range(num_nodes) if node not in has_source]
    finals = [(node, num_nodes + 1) for node in range(num_nodes) if node not in has_target]
    ends = [*edges, *starts, *finals]
    graph = _Shrinking(
        [{} for _ in range(num_nodes + 2)], [{} for _ in range(num_nodes + 2)], [0] * len(ends)
    )
    for component, (source, target) in enumerate(ends):
        graph.link(source, target, component)
    for source, target in dict.fromkeys(ends):
        graph.merge_parallel(source, target)
    num_detached = _shrink(graph, num_nodes)
    merges = tuple(_merge(kind, rows) for (_, kind), rows in sorted(graph.steps.items()))
    root = graph.out_of[num_nodes][num_nodes + 1][0]
    return Reduction(merges, len(graph.level), np.array(ends, dtype=np.intp), root, num_detached)


def _merge(kind: int, rows: list[tuple[int, int, int, int]]) -> Merge:
    first, second, node, result = np.array(rows, dtype=np.intp).T
    return Merge(kind, first, second, node, result)


def _shrink(graph: _Shrinking, num_nodes: int) -> int:
    """Reduce until source and sink are all that is left; give the number of cuts."""
    left = set(range(num_nodes))
    num_detached = 0
    # Invariant: every node of `left` has at least one component in and one out.
    while left:
        ready = [node for node in sorted(left) if _is_inner(graph, node)]
        fresh: set[int] = set()
        touched: dict[tuple[int, int], None] = {}
        for node in ready:
            if node in fresh or not _is_inner(graph, node):
                continue  # a neighbour was merged in this round; waiting keeps the tree balanced
            source, target = graph.merge_series(node)
            fresh.update((source, target))
            touched[source, target] = None
            left.discard(node)
        for source, target in touched:
            if target in graph.out_of[source]:
                graph.merge_parallel(source, target)
        if not ready:
            _detach(graph, left, num_nodes)
            num_detached += 1
    return num_detached


def _is_inner(graph: _Shrinking, node: int) -> bool:
    into, out_of = graph.into[node], graph.out_of[node]
    if len(into) != 1 or len(out_of) != 1:
        return False
    return len(next(iter(into.values()))) == 1 == len(next(iter(out_of.values())))


def _detach(graph: _Shrinking, left: set[int], num_nodes: int) -> None:
    """Cut one component from a node that has others before it, and tie it to the sink."""
    sink = num_nodes + 1
    node = min(
        (node for node in left if len(graph.into[node]) > 1),
        key=lambda node: (len(graph.into[node]) + len(graph.out_of[node]), node),
    )
    # The component with the fewest merges behind it owns the least, so its cut costs the least.
    source = min(graph.into[node], key=lambda source: graph.level[graph.into[node][source][0]])
    (component,) = graph.into[node].pop(source)
    del graph.out_of[source][node]
    graph.link(source, sink, graph.add(DETACH, component, -1, -1))
    graph.merge_parallel(source, sink)
