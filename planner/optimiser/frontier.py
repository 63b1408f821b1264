"""Time-cost frontiers merged over a reduced graph: the search for assignments.

Every component gets a list of (end sites, seconds, dollars) that no other entry beats. Entries whose
reduced cost at the relaxation's prices exceeds what is still worth looking at are dropped; if a list
is longer than allowed, it is thinned to the best entry per interval of time. Entries keep their
exact values, so no rounding adds up along a path. Without thinning the result is optimal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .problem import Array, GraphProblem, Index
from .relaxation import Relaxation, least_by_site
from .series_parallel import PARALLEL, SERIES, Merge, Reduction


@dataclass(frozen=True, slots=True)
class Search:
    """What a search over frontiers found.

    Attributes:
        assignment: the cheapest found in time, [n]; None where nothing was.
        usd: its dollars; infinite where there is none.
        exact: nothing was thinned, so nothing cheaper than both `usd` and the limit exists.
        work: entries that were looked at.
    """

    assignment: Index | None
    usd: float
    exact: bool
    work: int


@dataclass(slots=True)
class _Entries:
    """Entries of several lists, ordered by list, source site, target site and seconds."""

    owner: Index
    source: Index
    target: Index
    seconds: Array
    usd: Array
    left: Index
    right: Index

    def take(self, chosen: Index) -> _Entries:
        """Give some of the entries, in the order asked for."""
        return _Entries(
            self.owner[chosen],
            self.source[chosen],
            self.target[chosen],
            self.seconds[chosen],
            self.usd[chosen],
            self.left[chosen],
            self.right[chosen],
        )


def search(
    problem: GraphProblem,
    reduction: Reduction,
    relaxation: Relaxation,
    limit_usd: float,
    length: int,
    effort: int = 1 << 62,
) -> Search:
    """Find the cheapest assignment in time that costs at most `limit_usd`.

    Args:
        reduction: of a series-parallel graph (nothing detached).
        length: entries a component keeps at most, over all end sites.
        effort: entries to look at before giving up without an answer.
    """
    lists = _Growing(problem, reduction, relaxation, limit_usd, length)
    for merge in reduction.merges:
        if lists.work > effort:
            return Search(None, np.inf, False, lists.work)
        lists.merge(merge)
    return lists.best()


class _Growing:
    """The lists of one search, appended merge by merge.

    `start` and `count` find a list by owner and end sites; `left` and `right` say which two entries
    an entry was joined from (a node and its device for a node's own).
    """

    def __init__(
        self,
        problem: GraphProblem,
        reduction: Reduction,
        relaxation: Relaxation,
        limit_usd: float,
        length: int,
    ) -> None:
        self.problem, self.reduction, self.relaxation = problem, reduction, relaxation
        # Room for the rounding of sums, far below any gap that is reported.
        self.limit = limit_usd * (1.0 + 1e-9) + 1e-15 * problem.prohibitive_usd
        self.length = length
        self.thinned, self.work = False, 0
        sites, owners = problem.num_sites, reduction.num_components + problem.num_nodes
        # Owners are the components, then the nodes, as lists with one site at both ends.
        self.start = np.zeros((owners, sites, sites), dtype=np.intp)
        self.count = np.zeros((owners, sites, sites), dtype=np.intp)
        self.seconds, self.usd = np.empty(1 << 16), np.empty(1 << 16)
        self.target = np.empty(1 << 16, dtype=np.intp)
        self.left, self.right = (np.empty(1 << 16, dtype=np.intp) for _ in range(2))
        self.size = 0
        self._add_edges()
        self._add_nodes()

    def _add_edges(self) -> None:
        sites, ends = self.problem.num_sites, len(self.reduction.ends)
        shape = (ends, sites, sites)
        seconds, usd = np.zeros(shape), np.zeros(shape)
        seconds[: len(self.problem.edges)] = self.problem.transfer_s
        usd[: len(self.problem.edges)] = self.problem.transfer_usd
        owner, source, target = (axis.ravel() for axis in np.indices(shape))
        nothing = np.full(len(owner), -1, dtype=np.intp)
        self._store(_Entries(owner, source, target, seconds.ravel(), usd.ravel(), nothing, nothing))

    def _add_nodes(self) -> None:
        problem = self.problem
        node, device = np.nonzero(problem.allowed)
        site = problem.site_of[device]
        entries = _Entries(
            node + self.reduction.num_components,
            site,
            site,
            problem.seconds[node, device],
            problem.usd[node, device],
            node,
            device,
        )
        self.nodes_at = self.size
        self._store(self._pareto(entries))
        self.nodes_end = self.size

    def merge(self, merge: Merge) -> None:
        """Do the merges of one kind and level."""
        if merge.kind == PARALLEL:
            joined = self._joined_parallel(merge)
            self._store(self._pruned(joined, self.relaxation.grid, self.relaxation.outside))
        elif merge.kind == SERIES:
            self._merge_series(merge)
        else:
            raise ValueError("frontiers need a series-parallel graph")

    def _merge_series(self, merge: Merge) -> None:
        grid, outside = self.relaxation.grid, self.relaxation.outside
        # What is outside "first component and node" is what is outside the first less the node.
        node = least_by_site(self.problem, merge.node, grid[merge.result])
        beyond = outside[merge.first] - node[:, None]
        rank = np.arange(len(merge.node))
        half = self._joined(
            rank, *self._all_of(merge.first), merge.node + self.reduction.num_components
        )
        half = self._pruned(half, grid[merge.first], beyond)
        at = self._append(half)
        joined = self._joined(
            merge.result, half, np.arange(at, self.size), merge.second, half.owner
        )
        self._store(self._pruned(joined, grid, outside))

    def _all_of(self, components: Index) -> tuple[_Entries, Index]:
        """Give the entries of components, owned by their rank in `components`, and their places."""
        starts, counts = self.start[components], self.count[components]
        begin, length = starts[:, 0, 0], counts.sum(axis=(1, 2))
        rank = np.repeat(np.arange(len(components)), length)
        place = begin[rank] + np.arange(len(rank)) - (np.cumsum(length) - length)[rank]
        num_pairs = counts.shape[1] * counts.shape[2]
        pair = np.repeat(np.tile(np.arange(num_pairs), len(components)), counts.reshape(-1))
        source, target = np.divmod(pair, counts.shape[2])
        return (
            _Entries(
                rank,
                source,
                target,
                self.seconds[place],
                self.usd[place],
                self.left[place],
                self.right[place],
            ),
            place,
        )

    def _joined(
        self,
        results: Index,
        first: _Entries,
        place: Index,
        partners: Index,
        rank: Index | None = None,
    ) -> _Entries:
        """Join entries with those of `partners[rank]` that start in the site they end in."""
        rank = first.owner if rank is None else rank
        partner = partners[rank]
        begin = self.start[partner, first.target, 0]
        length = self.count[partner, first.target].sum(axis=1)
        which, other = _ranges(begin, length)
        return _Entries(
            results[rank[which]],
            first.source[which],
            self.target[other],
            first.seconds[which] + self.seconds[other],
            first.usd[which] + self.usd[other],
            place[which],
            other,
        )

    def _joined_parallel(self, merge: Merge) -> _Entries:
        first, place = self._all_of(merge.first)
        partner = merge.second[first.owner]
        ends = (partner, first.source, first.target)
        which, other = _ranges(self.start[ends], self.count[ends])
        return _Entries(
            merge.result[first.owner[which]],
            first.source[which],
            first.target[which],
            np.maximum(first.seconds[which], self.seconds[other]),
            first.usd[which] + self.usd[other],
            place[which],
            other,
        )

    def _pruned(self, entries: _Entries, grid: Array, outside: Array) -> _Entries:
        """Drop what cannot be part of anything cheap enough, what is beaten, and what is too much.

        `grid` and `outside` are by owner.
        """
        self.work += len(entries.owner)
        total = _completed(entries, grid, outside)
        kept = np.flatnonzero(total <= self.limit)
        entries, total = entries.take(kept), total[kept]
        order = _undominated(entries, self.problem.num_sites)
        entries, total = entries.take(order), total[order]
        return self._thinned(entries, total)

    def _pareto(self, entries: _Entries) -> _Entries:
        return entries.take(_undominated(entries, self.problem.num_sites))

    def _thinned(self, entries: _Entries, total: Array) -> _Entries:
        """Keep the entry of least reduced cost per interval of time where a list is too long."""
        owner = entries.owner
        if len(owner) == 0:
            return entries
        begins = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
        lengths = np.diff(np.r_[begins, len(owner)])
        # The last merges are few and decide most, so their lists may be longer.
        length = self.length * min(max(1, 16 // len(begins)), 8)
        if lengths.max() <= length:
            return entries
        self.thinned = True
        rank = np.repeat(np.arange(len(begins)), lengths)
        low = np.minimum.reduceat(entries.seconds, begins)[rank]
        high = np.maximum.reduceat(entries.seconds, begins)[rank]
        part = (entries.seconds - low) / np.maximum(high - low, 1e-300)
        interval = np.minimum(part * length, length - 1).astype(np.intp)
        # A list within its length keeps every entry: each is its own interval.
        short = lengths[rank] <= length
        interval[short] = np.arange(len(rank))[short]
        order = np.lexsort((total, interval, rank))
        fresh = (np.diff(rank[order], prepend=-1) != 0) | (
            np.diff(interval[order], prepend=-1) != 0
        )
        return entries.take(np.sort(order[fresh]))

    def _store(self, entries: _Entries) -> None:
        """Append entries, in order, and note where each list is."""
        at = self._append(entries)
        sites = self.problem.num_sites
        key = (entries.owner * sites + entries.source) * sites + entries.target
        count = np.bincount(key, minlength=self.count.size)
        start = np.cumsum(count) - count + at
        mine = np.unique(entries.owner)
        self.count[mine] = count.reshape(self.count.shape)[mine]
        self.start[mine] = start.reshape(self.start.shape)[mine]

    def _append(self, entries: _Entries) -> int:
        at, end = self.size, self.size + len(entries.owner)
        while end > len(self.seconds):
            for name in ("seconds", "usd", "target", "left", "right"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.empty_like(old)]))
        self.seconds[at:end], self.usd[at:end] = entries.seconds, entries.usd
        self.target[at:end] = entries.target
        self.left[at:end], self.right[at:end] = entries.left, entries.right
        self.size = end
        return at

    def best(self) -> Search:
        """Give the cheapest assignment in time."""
        root = self.reduction.root
        begin, length = self.start[root, 0, 0], self.count[root].sum()
        mine = np.arange(begin, begin + length)
        mine = mine[self.seconds[mine] <= self.problem.latest_s]
        if len(mine) == 0:
            return Search(None, np.inf, not self.thinned, self.work)
        chosen = mine[self.usd[mine].argmin()]
        return Search(
            self._assignment(int(chosen)), float(self.usd[chosen]), not self.thinned, self.work
        )

    def _assignment(self, entry: int) -> Index:
        """Follow an entry down to the nodes' devices."""
        found = np.full(self.problem.num_nodes, -1, dtype=np.intp)
        left, right = self.left.tolist(), self.right.tolist()
        stack = [entry]
        while stack:
            entry = stack.pop()
            if self.nodes_at <= entry < self.nodes_end:
                found[left[entry]] = right[entry]
            elif left[entry] >= 0:
                stack += (left[entry], right[entry])
        return found


def _completed(entries: _Entries, grid: Array, outside: Array) -> Array:
    """Give the least an assignment can cost that contains an entry: the best price's bound."""
    owner = entries.owner
    pair = (owner * outside.shape[1] + entries.source) * outside.shape[2] + entries.target
    best = np.full(len(owner), -np.inf)
    flat = outside.reshape(-1, outside.shape[3])
    # Every other price of the grid, the best one among them: any choice bounds.
    for number in range(1, grid.shape[1], 2):
        bound = flat[:, number][pair] + grid[:, number][owner] * entries.seconds
        np.maximum(best, bound, out=best)
    return best + entries.usd


def _ranges(begin: Index, length: Index) -> tuple[Index, Index]:
    """Give (which range, place) of every place in the ranges begin .. begin + length."""
    which = np.repeat(np.arange(len(begin)), length)
    offset = np.cumsum(length) - length
    return which, begin[which] + np.arange(len(which)) - offset[which]


def _undominated(entries: _Entries, sites: int) -> Index:
    """Give the entries that no other of the same list and end sites beats, in stored order."""
    key = (entries.owner * sites + entries.source) * sites + entries.target
    order = np.lexsort((entries.usd, entries.seconds, key))
    key, usd = key[order], entries.usd[order]
    if len(order) == 0:
        return order
    # Each list is lowered below all before it, so that one running minimum serves them all.
    rank = np.cumsum(np.r_[False, key[1:] != key[:-1]])
    lowered = usd - rank * (2.0 * usd.max() or 1.0)
    least = np.minimum.accumulate(lowered)
    kept: Index = order[np.r_[True, lowered[1:] < least[:-1]]]
    return kept
