"""The Lagrangian relaxation of the deadline: a lower bound on cost and the price of time.

A unit of flow from source to sink, times the price of the deadline, prices every node's and
edge's seconds. For any such flow the cheapest assignment at these prices, less the deadline's
worth, is a lower bound on the cost of every assignment in time; the best flow gives the bound of
the linear program with start times, and more, because transfers are handled by their end sites
exactly. On the reduced graph (`series_parallel`) the value of a component as a function of its
price is concave: a sum over a series, and over parallel components the best split of the price.
Functions are kept on a grid of prices, linear in between, which never overstates a concave
function; so every figure stays a bound, and the grid is then refined around the best price.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .problem import Array, GraphProblem, Index
from .series_parallel import PARALLEL, SERIES, Merge, Reduction

BELOW = (0.0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.75, 0.82, 0.88, 0.92, 0.95, 0.97, 0.985)
ABOVE = (1.015, 1.03, 1.05, 1.08, 1.12, 1.18, 1.25, 1.35, 1.5, 1.75, 2.2, 3.0, 5.0, 10.0, 30.0)
FACTORS = np.array([*BELOW, 1.0, *ABOVE, 200.0])
"""A refined grid around a price: dense beside it, and wide, for other sites want other prices."""


LEAST_SHARE = 1e-3
"""Part of a price that the less critical of two parallel components keeps at least."""


@dataclass(frozen=True, slots=True)
class Relaxation:
    """The best prices found, and what they prove.

    Attributes:
        bound_usd: no assignment within the deadline costs less.
        usd_per_s: dollars one more second of deadline would save.
        price: dollars per second of each component's duration, [components].
        grid: prices at which the functions below are known, [components, G].
        value: least dollars inside each component, its seconds priced, by end sites and price,
            [components, S, S, G].
        outside: least dollars of all else, less the deadline's worth, likewise: an assignment
            whose component takes t seconds and c dollars costs at least c + price t + outside,
            at every price of the grid.
    """

    bound_usd: float
    usd_per_s: float
    price: Array
    grid: Array
    value: Array
    outside: Array


def relax(problem: GraphProblem, reduction: Reduction, rounds: int = 2) -> Relaxation:
    """Search for the best prices: one coarse pass over all scales, then `rounds` finer ones."""
    model = _Model.of(problem, reduction)
    coarse = np.broadcast_to(_price_grid(problem), (reduction.num_components, len(FACTORS)))
    best = _pass(model, coarse)
    latest = best
    for _ in range(rounds):
        latest = _pass(model, latest.price[:, None] * FACTORS)
        best = max(best, latest, key=lambda found: found.bound_usd)
    outside = _outside(model, best.grid, best.value, model.nodes(best.grid))
    return Relaxation(best.bound_usd, best.usd_per_s, best.price, best.grid, best.value, outside)


@dataclass(frozen=True, slots=True)
class _Model:
    """Node options by site and edge tables, ready for array steps."""

    problem: GraphProblem
    reduction: Reduction
    edge_s: Array
    edge_usd: Array
    joined_by: Index
    """The component that joins what is before and behind each node, [n]."""

    @classmethod
    def of(cls, problem: GraphProblem, reduction: Reduction) -> _Model:
        joined_by = np.zeros(problem.num_nodes, dtype=np.intp)
        for merge in reduction.merges:
            if merge.kind == SERIES:
                joined_by[merge.node] = merge.result
        return cls(problem, reduction, *edge_tables(problem, reduction), joined_by)

    def nodes(self, grid: Array) -> Array:
        """Give the least Lagrangian cost of all nodes at their components' prices, [n, S, G]."""
        every = np.arange(self.problem.num_nodes)
        return least_by_site(self.problem, every, grid[self.joined_by])


def edge_tables(problem: GraphProblem, reduction: Reduction) -> tuple[Array, Array]:
    """Give seconds and dollars of all base edges, [b, S, S] both; virtual ones are free."""
    num_virtual = len(reduction.ends) - len(problem.edges)
    nothing = np.zeros((num_virtual, problem.num_sites, problem.num_sites))
    seconds = np.concatenate([problem.transfer_s, nothing])
    return seconds, np.concatenate([problem.transfer_usd, nothing])


def least_by_site(problem: GraphProblem, node: Index, price: Array) -> Array:
    """Give the least Lagrangian cost of nodes by site, [k, S, G]; price is [k, G]."""
    found = np.full((len(node), problem.num_sites, price.shape[1]), problem.prohibitive_usd)
    order = np.argsort(problem.site_of, kind="stable")
    sites, starts = np.unique(problem.site_of[order], return_index=True)
    devices = (node[:, None], order)
    cost = price[:, None] * problem.finite_seconds[devices][..., None]
    cost += problem.finite_usd[devices][..., None]
    found[:, sites] = np.minimum.reduceat(cost, starts, axis=1)
    return found


def _price_grid(problem: GraphProblem) -> Array:
    """Give prices from nothing to more than any deadline is worth, [G]."""
    usd = np.where(problem.allowed, problem.usd, np.nan)
    seconds = np.where(problem.allowed, problem.seconds, np.nan)
    saved_s = np.nanmax(seconds, axis=1).sum() - np.nanmin(seconds, axis=1).sum()
    paid = (np.nanmax(usd, axis=1).sum() - np.nanmin(usd, axis=1).sum()) or 1.0
    typical = paid / max(saved_s, 1e-12)
    return np.concatenate([[0.0], np.geomspace(typical * 1e-3, typical * 1e3, len(FACTORS) - 1)])


def _upward(model: _Model, grid: Array, nodes: Array) -> Array:
    """Give the value of every component by end sites and price, [components, S, S, G]."""
    sites = model.problem.num_sites
    num_base = len(model.reduction.ends)
    value = np.empty((model.reduction.num_components, sites, sites, grid.shape[1]))
    value[:num_base] = (
        model.edge_usd[..., None] + model.edge_s[..., None] * grid[:num_base, None, None]
    )
    for merge in model.reduction.merges:
        if merge.kind == SERIES:
            value[merge.result] = _series(merge, value, nodes)
        elif merge.kind == PARALLEL:
            value[merge.result] = _parallel(merge, value, grid)
        else:
            value[merge.result] = value[merge.first].min(axis=2, keepdims=True)
    return value


def _series(merge: Merge, value: Array, nodes: Array) -> Array:
    first = value[merge.first] + nodes[merge.node][:, None]
    second = value[merge.second]
    best = first[:, :, 0, None] + second[:, None, 0]
    for middle in range(1, first.shape[2]):
        np.minimum(best, first[:, :, middle, None] + second[:, None, middle], out=best)
    return best


def _parallel(merge: Merge, value: Array, grid: Array) -> Array:
    """Split each price in the best way: merge the pieces of both functions, steepest first."""
    first, second = value[merge.first], value[merge.second]
    widths = np.concatenate([np.diff(grid[merge.first]), np.diff(grid[merge.second])], axis=1)
    rises = np.concatenate([np.diff(first), np.diff(second)], axis=-1)
    low = grid[merge.first, :1] + grid[merge.second, :1]
    return _merged(low, first[..., :1] + second[..., :1], widths, rises, grid[merge.result])


def _interpolate(at: Array, values: Array, wanted: Array) -> Array:
    """Interpolate along the last axis: rows of increasing `at` at the points `wanted`."""
    length = at.shape[-1]
    if length == 1:
        return np.broadcast_to(values, wanted.shape)
    row = np.arange(at.size // length).reshape(at.shape[:-1])[..., None] * length
    flat_at, flat = np.ascontiguousarray(at).ravel(), np.ascontiguousarray(values).ravel()
    left = np.zeros(wanted.shape, dtype=np.intp)
    step = 1 << (length - 1).bit_length()
    # Invariant: the point at `left` is not above what is wanted, or is the first.
    while step > 1:
        step //= 2
        probe = np.minimum(left + step, length - 2)
        left = np.where(flat_at.take(row + probe) <= wanted, probe, left)
    place = row + left
    x0, y0 = flat_at.take(place), flat.take(place)
    width = flat_at.take(place + 1) - x0
    share = np.clip((wanted - x0) / np.maximum(width, 1e-300), 0.0, 1.0)
    found: Array = y0 + share * (flat.take(place + 1) - y0)
    return found


@dataclass(frozen=True, slots=True)
class _Pass:
    """One grid's bound, the prices of all components that attain it, and the values."""

    bound_usd: float
    usd_per_s: float
    price: Array
    grid: Array
    value: Array


def _pass(model: _Model, grid: Array) -> _Pass:
    nodes = model.nodes(grid)
    value = _upward(model, grid, nodes)
    root = model.reduction.root
    whole = value[root].min(axis=(0, 1)) - deadline_worth(model.problem, grid[root])
    best = int(whole.argmax())
    price = _downward(model, grid, value, max(float(grid[root, best]), LEAST_SHARE * grid[root, 1]))
    return _Pass(float(whole[best]), float(grid[root, best]), price, grid, value)


def deadline_worth(problem: GraphProblem, price: Array) -> Array:
    """Give price x deadline; a deadline that no assignment misses stands for none."""
    longest = problem.finite_seconds.max(axis=1).sum() + problem.transfer_s.sum()
    worth: Array = price * min(problem.deadline_s, 2.0 * float(longest) + 1.0)
    return worth


def _downward(model: _Model, grid: Array, value: Array, root_price: float) -> Array:
    """Hand the root's price down to every component, split where components are parallel."""
    reduction = model.reduction
    price = np.zeros(reduction.num_components)
    source, target = (np.zeros(reduction.num_components, dtype=np.intp) for _ in range(2))
    price[reduction.root] = root_price
    at_root = _value_at(value, grid, np.array([reduction.root]), np.array([root_price]))[0]
    source[reduction.root], target[reduction.root] = np.unravel_index(
        at_root.argmin(), at_root.shape
    )
    for merge in reversed(reduction.merges):
        first, second, result = merge.first, merge.second, merge.result
        here = price[result]
        source[first], target[first] = source[result], target[result]
        price[first] = here
        if merge.kind == SERIES:
            k = np.arange(len(result))
            middle = (
                _value_at(value, grid, first, here)[k, source[result]]
                + least_by_site(model.problem, merge.node, here[:, None])[..., 0]
                + _value_at(value, grid, second, here)[k, :, target[result]]
            ).argmin(axis=1)
            target[first], source[second], target[second] = middle, middle, target[result]
            price[second] = here
        elif merge.kind == PARALLEL:
            source[second], target[second] = source[result], target[result]
            split = _best_split(merge, value, grid, here, source[result], target[result])
            # Grids grow from these prices, so none may be nothing.
            price[first] = np.clip(split, LEAST_SHARE * here, (1.0 - LEAST_SHARE) * here)
            price[second] = here - price[first]
        else:
            ends = _value_at(value, grid, first, here)[np.arange(len(first)), source[result]]
            target[first] = ends.argmin(axis=1)
    return price


def _value_at(value: Array, grid: Array, component: Index, price: Array) -> Array:
    """Give the value of components at one price each, [k, S, S]."""
    rows = value[component]
    at = np.broadcast_to(grid[component][:, None, None], rows.shape)
    return _interpolate(
        at, rows, np.broadcast_to(price[:, None, None, None], (*rows.shape[:3], 1))
    )[..., 0]


def _best_split(
    merge: Merge, value: Array, grid: Array, price: Array, source: Index, target: Index
) -> Array:
    """Give the first component's part of each price, [k]."""
    k = np.arange(len(price))
    ends = (k, source, target)
    first, second = value[merge.first][ends], value[merge.second][ends]
    first_at, second_at = grid[merge.first], grid[merge.second]
    tried = np.concatenate([first_at, price[:, None] - second_at], axis=1)
    tried = np.clip(tried, 0.0, price[:, None])
    worth = _interpolate(first_at, first, tried) + _interpolate(
        second_at, second, price[:, None] - tried
    )
    best: Array = tried[k, worth.argmax(axis=1)]
    return best


def _outside(model: _Model, grid: Array, value: Array, nodes: Array) -> Array:
    """Give what is outside every component, from the root down, [components, S, S, G]."""
    reduction = model.reduction
    outside = np.full_like(value, -np.inf)
    outside[reduction.root] = -deadline_worth(model.problem, grid[reduction.root])
    for merge in reversed(reduction.merges):
        first, second, around = merge.first, merge.second, outside[merge.result]
        if merge.kind == SERIES:
            node = nodes[merge.node]
            after = _least_over(around[:, :, None], value[second][:, None], 3)
            before = _least_over(around[:, :, None], value[first][..., None, :], 1)
            outside[first] = after + node[:, None]
            outside[second] = before + node[:, :, None]
        elif merge.kind == PARALLEL:
            outside[first] = _remainder(grid, first, second, merge.result, value, around)
            outside[second] = _remainder(grid, second, first, merge.result, value, around)
        else:
            # Only the source end is tied; whatever the target end, the rest is the same.
            outside[first] = np.broadcast_to(around.min(axis=2, keepdims=True), around.shape)
    return outside


def _least_over(around: Array, other: Array, axis: int) -> Array:
    """Give the least sum over one of the axes [k, S, S, S, G]."""
    found: Array = (around + other).min(axis=axis)
    return found


def _remainder(
    grid: Array, mine: Index, other: Index, result: Index, value: Array, around: Array
) -> Array:
    """Give what is outside one of two parallel components: the best price for the other one.

    The supremum over y of around(x + y) + value(y) is again a merge of pieces, steepest first,
    with the pieces of `value` run through backwards.
    """
    pieces_at = np.concatenate([np.diff(grid[result]), np.diff(grid[other])[:, ::-1]], axis=1)
    rises = np.concatenate([np.diff(around), -np.diff(value[other])[..., ::-1]], axis=-1)
    base = around[..., :1] + value[other][..., -1:]
    low = grid[result, :1] - grid[other, -1:]
    return _merged(low, base, pieces_at, rises, grid[mine])


def _merged(low: Array, base: Array, widths: Array, rises: Array, wanted: Array) -> Array:
    """Join the pieces of concave functions, steepest first, and read the result at `wanted`.

    Shapes: low [k, 1], base [k, S, S, 1], widths [k, P], rises [k, S, S, P], wanted [k, G].
    """
    wide = np.broadcast_to(widths[:, None, None], rises.shape)
    order = np.argsort(-rises / np.maximum(wide, 1e-300), axis=-1, kind="stable")
    start = np.broadcast_to(low[:, None, None], base.shape)
    at = start + np.cumsum(np.take_along_axis(wide, order, -1), axis=-1)
    reached = base + np.cumsum(np.take_along_axis(rises, order, -1), axis=-1)
    at = np.concatenate([start, at], axis=-1)
    reached = np.concatenate([base, reached], axis=-1)
    points = np.broadcast_to(wanted[:, None, None], (*base.shape[:3], wanted.shape[1]))
    return _interpolate(at, reached, points)
