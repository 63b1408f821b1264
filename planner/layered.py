"""Layered drawing of a small acyclic graph: boxes in columns, edges from left to right.

The steps are those of Sugiyama, Tagawa and Toda (1981): columns by longest path, points where a
long edge crosses a column, orders by barycentres, then heights as near to the neighbours as the
order allows. Equal input gives an equal drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .isotonic import spread

Point = tuple[float, float]

COLUMN_GAP, ROW_GAP = 44.0, 16.0
SWEEPS = 6
"""Rounds of reordering; more change little after the fourth on graphs of a few hundred nodes."""

BENDS_PER_NODE = 4
"""Points that edges may have in all, per node; the longest edges beyond it are drawn straight."""

STRAIGHTNESS = 6.0
"""How much more than an edge of two nodes a stretch between two bends wants to be level."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Upper left corners by node, a polyline by edge, and the size of it all in pixels."""

    corners: tuple[Point, ...]
    routes: dict[tuple[int, int], tuple[Point, ...]]
    width: float
    height: float


def layered(sizes: Sequence[Point], edges: Iterable[tuple[int, int]]) -> Drawing:
    """Draw nodes of the given (width, height) and the edges between them.

    Edges are pairs of indices into `sizes`, without cycles (ValueError); doubles count once.
    """
    unique = sorted(set(edges))
    return _Layered(sizes, unique, _ranks(len(sizes), unique)).draw()


def turned(drawing: Drawing) -> Drawing:
    """Give a drawing with its columns as rows, made of nodes whose sizes were swapped before."""
    return Drawing(
        tuple((y, x) for x, y in drawing.corners),
        {edge: tuple((y, x) for x, y in points) for edge, points in drawing.routes.items()},
        drawing.height,
        drawing.width,
    )


def _ranks(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Give each node its column: as far left as its sources allow, sources next to their use."""
    after: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for source, target in edges:
        after[source].append(target)
        missing[target] += 1
    has_source = [number > 0 for number in missing]
    ranks, order = [0] * count, [node for node in range(count) if not missing[node]]
    # Invariant: all sources of a node in `order` are before it, so its rank is final.
    for node in order:
        for target in after[node]:
            ranks[target] = max(ranks[target], ranks[node] + 1)
            missing[target] -= 1
            if not missing[target]:
                order.append(target)
    if len(order) < count:
        raise ValueError("the graph has a cycle")
    for node in reversed(order):
        if after[node] and not has_source[node]:
            ranks[node] = min(ranks[target] for target in after[node]) - 1
    return ranks


class _Layered:
    """The drawing in the making. Points numbered past the nodes are bends of long edges."""

    def __init__(
        self, sizes: Sequence[Point], edges: Sequence[tuple[int, int]], ranks: list[int]
    ) -> None:
        self.edges, self.count = edges, len(sizes)
        self.rank = list(ranks)
        self.heights = [height for _, height in sizes]
        self.widths = [width for width, _ in sizes]
        self.before: list[list[int]] = [[] for _ in sizes]
        self.after: list[list[int]] = [[] for _ in sizes]
        self.bends: dict[int, dict[int, int]] = {}
        self._add_bends()
        self.columns: list[list[int]] = [[] for _ in range(max(self.rank, default=-1) + 1)]
        for node, rank in enumerate(self.rank):
            self.columns[rank].append(node)
        self.middle = [0.0] * len(self.rank)

    def draw(self) -> Drawing:
        self._order()
        self._place()
        top = min((self.middle[n] - self.heights[n] / 2 for n in range(len(self.rank))), default=0)
        lefts, width = self._column_lefts()
        corners = tuple(
            (
                lefts[self.rank[node]] + (self._width(self.rank[node]) - self.widths[node]) / 2,
                self.middle[node] - self.heights[node] / 2 - top,
            )
            for node in range(self.count)
        )
        low = max((self.middle[n] + self.heights[n] / 2 for n in range(len(self.rank))), default=0)
        routes = {edge: tuple(self._route(edge, corners, lefts, top)) for edge in self.edges}
        return Drawing(corners, routes, width, low - top)

    def _add_bends(self) -> None:
        """Put a point into each column that edges of a source cross; all its edges share them."""
        reach: dict[int, int] = {}
        for source, target in self.edges:
            reach[source] = max(reach.get(source, 0), self.rank[target])
        room = BENDS_PER_NODE * self.count
        for source in sorted(reach, key=lambda node: reach[node] - self.rank[node]):
            room -= reach[source] - self.rank[source] - 1
            if room < 0:
                break
            self.bends[source] = self._chain(source, reach[source])
        for source, target in self.edges:
            last = self.bends.get(source, {}).get(self.rank[target] - 1, source)
            if self.rank[target] - self.rank[last] == 1:
                self._link(last, target)

    def _chain(self, source: int, reach: int) -> dict[int, int]:
        chain: dict[int, int] = {}
        last = source
        for rank in range(self.rank[source] + 1, reach):
            bend = len(self.rank)
            self.rank.append(rank)
            self.heights.append(2.0)
            self.widths.append(0.0)
            self.before.append([])
            self.after.append([])
            self._link(last, bend)
            chain[rank] = last = bend
        return chain

    def _link(self, source: int, target: int) -> None:
        self.after[source].append(target)
        self.before[target].append(source)

    def _order(self) -> None:
        """Reorder the columns until edges cross no less, and keep the best order seen."""
        best, fewest = [list(column) for column in self.columns], self._crossings()
        for sweep in range(SWEEPS):
            if not fewest:
                break
            forward = sweep % 2 == 0
            near = self.before if forward else self.after
            for column in self.columns if forward else reversed(self.columns):
                self._sort(column, near)
            crossings = self._crossings()
            if crossings < fewest:
                best, fewest = [list(column) for column in self.columns], crossings
        self.columns = best

    def _sort(self, column: list[int], near: list[list[int]]) -> None:
        place = self._places(neighbour for node in column for neighbour in near[node])
        keys = {}
        for index, node in enumerate(column):
            found = [place[neighbour] for neighbour in near[node]]
            # A node without neighbours there keeps its place among the others.
            keys[node] = sum(found) / len(found) if found else float(index)
        column.sort(key=keys.__getitem__)

    def _places(self, nodes: Iterable[int]) -> dict[int, int]:
        ranks = {self.rank[node] for node in nodes}
        return {node: index for rank in ranks for index, node in enumerate(self.columns[rank])}

    def _crossings(self) -> int:
        total = 0
        for left, right in zip(self.columns, self.columns[1:], strict=False):
            place = {node: index for index, node in enumerate(right)}
            ends = [end for node in left for end in sorted(place[to] for to in self.after[node])]
            total += _inversions(ends, len(right))
        return total

    def _place(self) -> None:
        """Move every column to where its neighbours are, in both directions by turns."""
        for column in self.columns:
            self._settle(column, [0.0] * len(column), [1.0] * len(column))
        both = [[*a, *b] for a, b in zip(self.before, self.after, strict=True)]
        for near in (self.before, self.after, self.before, self.after, both):
            backward = near is self.after
            for column in reversed(self.columns) if backward else self.columns:
                wanted, weights = [], []
                for node in column:
                    middle, weight = self._pull(node, near[node])
                    wanted.append(middle)
                    weights.append(weight)
                self._settle(column, wanted, weights)

    def _pull(self, node: int, near: Sequence[int]) -> tuple[float, float]:
        if not near:
            return self.middle[node], 0.1
        is_bend = node >= self.count
        weights = [STRAIGHTNESS if is_bend and other >= self.count else 1.0 for other in near]
        total = sum(weights)
        found = sum(w * self.middle[other] for w, other in zip(weights, near, strict=True))
        return found / total, total

    def _settle(self, column: list[int], wanted: list[float], weights: list[float]) -> None:
        heights = [self.heights[node] for node in column]
        for node, middle in zip(column, spread(wanted, weights, heights, ROW_GAP), strict=True):
            self.middle[node] = middle

    def _width(self, rank: int) -> float:
        return max(self.widths[node] for node in self.columns[rank])

    def _column_lefts(self) -> tuple[list[float], float]:
        lefts, right = [], 0.0
        for rank in range(len(self.columns)):
            lefts.append(right)
            right += self._width(rank) + COLUMN_GAP
        return lefts, max(0.0, right - COLUMN_GAP)

    def _route(
        self, edge: tuple[int, int], corners: Sequence[Point], lefts: list[float], top: float
    ) -> Iterator[Point]:
        source, target = edge
        x, y = corners[source]
        yield (x + self.widths[source], y + self.heights[source] / 2)
        bends = self.bends.get(source, {})
        for rank in range(self.rank[source] + 1, self.rank[target]):
            if rank in bends:
                level = self.middle[bends[rank]] - top
                yield (lefts[rank], level)
                yield (lefts[rank] + self._width(rank), level)
        x, y = corners[target]
        yield (x, y + self.heights[target] / 2)


def _inversions(ends: Sequence[int], size: int) -> int:
    """Count pairs out of order, which is how many edges cross (Fenwick tree, O(n log n))."""
    tree, total = [0] * (size + 1), 0
    # Invariant: the tree holds how often each end was seen among `ends` so far.
    for seen, end in enumerate(ends):
        index, below = end + 1, 0
        while index:
            below += tree[index]
            index &= index - 1
        total += seen - below
        index = end + 1
        while index <= size:
            tree[index] += 1
            index += index & -index
    return total
