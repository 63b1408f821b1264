"""The placement as a linear program: shares of nodes, start times and transfers by pair of sites.

Minimise the dollars of x[i, d] (node i on device type d) and y[e, s, r] (edge e from site s to r)
subject to: the shares of a node sum to one; y's margins are the shares of the edge's ends by site;
start[j] >= start[i] + seconds of i and of the edge; every end is within the deadline. With x
relaxed this is a bound for any acyclic graph and its marginals are prices; with x integer it is the
whole problem. Solved by HiGHS through scipy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gangline.ir.errors import PlanError

from .problem import Array, GraphProblem, Index
from .solver_output import solver_output_to_stderr


@dataclass(frozen=True, slots=True)
class LinearBound:
    """What the linear program proves.

    Attributes:
        bound_usd: no assignment within the limits costs less.
        usd_per_s: dollars one more second of deadline would save.
        node_price: dollars per second of each node's duration, [n].
        edge_price: dollars per second of each edge's transfer, [m].
        capacity_price: dollars per device-second per job of each device type, [D].
        share: x, the relaxed assignment, [n, D].
    """

    bound_usd: float
    usd_per_s: float
    node_price: Array
    edge_price: Array
    capacity_price: Array
    share: Array


@dataclass(frozen=True, slots=True)
class Exact:
    """What branch and bound found: an assignment, if any, and the bound it proved."""

    assignment: Index | None
    bound_usd: float


@dataclass(slots=True)
class _Rows:
    """Rows of a sparse matrix being gathered."""

    row: list[Index]
    column: list[Index]
    value: list[Array]

    def add(self, row: Index, column: Index, value: Any) -> None:
        """Add entries; `value` may be one number for all."""
        row, column, value = np.broadcast_arrays(row, column, np.asarray(value, dtype=float))
        self.row.append(row.ravel())
        self.column.append(column.ravel())
        self.value.append(value.ravel())

    def matrix(self, height: int, width: int) -> Any:
        """Make the matrix, compressed by rows."""
        from scipy.sparse import coo_array  # deferred: scipy is slow to import

        where = (np.concatenate(self.row), np.concatenate(self.column))
        return coo_array((np.concatenate(self.value), where), shape=(height, width)).tocsr()


@dataclass(frozen=True, slots=True)
class Program:
    """The arrays of the linear program.

    Columns are x (n D), y (m S S, or m S), starts (n), then whatever a caller appends. Rows of
    `upper` are edges (m), ends (one per node), sites left (m S, if y is by site), and last the
    capacities (D, if limited).
    """

    problem: GraphProblem
    cost: Array
    equal: Any
    equal_to: Array
    upper: Any
    upper_to: Array
    most: Array
    unit_usd: float

    @property
    def num_shares(self) -> int:
        """How many columns x has."""
        return self.problem.num_nodes * self.problem.num_devices


def linear_program(problem: GraphProblem) -> Program:
    """State the linear program; dollars are scaled so that tolerances mean the same everywhere."""
    n = problem.num_nodes
    usd, seconds = np.where(problem.allowed, problem.usd, 0.0), problem.finite_seconds
    hop_s, hop_usd = _hops(problem)
    width = usd.size + hop_s.size + n
    horizon = min(problem.deadline_s, float(seconds.max(axis=1).sum() + problem.transfer_s.sum()))
    cost = np.concatenate([usd.ravel(), hop_usd.ravel(), np.zeros(n)])
    unit = float(cost.max()) or 1.0
    shares = problem.allowed.ravel().astype(float)
    most = np.concatenate([shares, np.ones(hop_s.size), np.full(n, horizon)])
    equal, equal_to = _equalities(problem, hop_s, width)
    upper, upper_to = _inequalities(problem, hop_s, width, horizon)
    return Program(problem, cost / unit, equal, equal_to, upper, upper_to, most, unit)


def _hops(problem: GraphProblem) -> tuple[Array, Array]:
    """Give seconds and dollars of y: by pair of sites, [m, S, S], or by the site left, [m, S].

    Where all pairs of different sites cost an edge the same, what leaves each site is enough, which
    needs a third of the columns.
    """
    apart = 1.0 - np.eye(problem.num_sites)
    if problem.num_sites < 2:
        return problem.transfer_s, problem.transfer_usd
    most = [table.max(axis=(1, 2)) for table in (problem.transfer_s, problem.transfer_usd)]
    tables = zip(most, (problem.transfer_s, problem.transfer_usd), strict=True)
    if all(np.array_equal(value[:, None, None] * apart, table) for value, table in tables):
        by_site = np.ones(problem.num_sites)
        return most[0][:, None] * by_site, most[1][:, None] * by_site
    return problem.transfer_s, problem.transfer_usd


def _equalities(problem: GraphProblem, hop_s: Array, width: int) -> tuple[Any, Array]:
    """Every node runs once; y by pair of sites has the edge's ends as margins."""
    n, devices = problem.seconds.shape
    rows = _Rows([], [], [])
    rows.add(np.arange(n)[:, None], np.arange(n * devices).reshape(n, devices), 1.0)
    if hop_s.ndim == 2:
        return rows.matrix(n, width), np.ones(n)
    m, sites = hop_s.shape[:2]
    y = n * devices + np.arange(hop_s.size).reshape(hop_s.shape)
    margin = n + np.arange(2 * m * sites).reshape(2, m, sites)
    rows.add(margin[0][:, :, None], y, 1.0)
    rows.add(margin[1][:, None, :], y, 1.0)
    for end in (0, 1):
        x = problem.edges[:, end, None] * devices + np.arange(devices)
        rows.add(margin[end][:, problem.site_of], x, -1.0)
    height = n + 2 * m * sites
    return rows.matrix(height, width), np.r_[np.ones(n), np.zeros(2 * m * sites)]


def _inequalities(
    problem: GraphProblem, hop_s: Array, width: int, horizon: float
) -> tuple[Any, Array]:
    """Edges, ends, then what leaves a site, and last the capacities."""
    (n, devices), m = problem.seconds.shape, len(problem.edges)
    source, target = problem.edges.T
    seconds = problem.finite_seconds
    x = np.arange(n * devices).reshape(n, devices)
    y = n * devices + np.arange(hop_s.size).reshape(hop_s.shape)
    start = n * devices + hop_s.size + np.arange(n)
    rows = _Rows([], [], [])
    edge, node = np.arange(m), m + np.arange(n)
    rows.add(edge[:, None], x[source], seconds[source])
    rows.add(edge.reshape(-1, *[1] * (hop_s.ndim - 1)), y, hop_s)
    rows.add(edge, start[source], 1.0)
    rows.add(edge, start[target], -1.0)
    rows.add(node[:, None], x, seconds)
    rows.add(node, start, 1.0)
    height, limits = m + n, [np.zeros(m), np.full(n, horizon)]
    if hop_s.ndim == 2:
        left = height + np.arange(hop_s.size).reshape(hop_s.shape)
        rows.add(left, y, -1.0)
        rows.add(left[:, problem.site_of], x[source], 1.0)
        rows.add(left[:, problem.site_of], x[target], -1.0)
        height += hop_s.size
        limits.append(np.zeros(hop_s.size))
    if problem.capacity_s is not None:
        rows.add(np.broadcast_to(height + np.arange(devices), x.shape), x, seconds)
        height += devices
        limits.append(problem.capacity_s)
    return rows.matrix(height, width), np.concatenate(limits)


def linear_bound(problem: GraphProblem) -> LinearBound | None:
    """Solve the relaxation; None when not even a fractional placement keeps the limits."""
    from scipy.optimize import linprog

    program = linear_program(problem)
    solved = linprog(
        program.cost,
        program.upper,
        program.upper_to,
        program.equal,
        program.equal_to,
        np.stack([np.zeros_like(program.most), program.most], axis=1),
        method="highs",
    )
    if solved.status == 2:
        return None
    if solved.status != 0:
        raise PlanError(f"The linear program was not solved: {solved.message}")
    n, m = problem.num_nodes, len(problem.edges)
    price = -solved.ineqlin.marginals * program.unit_usd
    node_price = price[m : m + n].copy()
    np.add.at(node_price, problem.edges[:, 0], price[:m])
    devices = problem.num_devices
    capacity = np.zeros(devices) if problem.capacity_s is None else price[-devices:]
    return LinearBound(
        float(solved.fun) * program.unit_usd,
        float(price[m : m + n].sum()),
        node_price,
        price[:m],
        capacity,
        solved.x[: program.num_shares].reshape(n, problem.num_devices),
    )


def branch_and_bound(problem: GraphProblem, gap: float, limit_s: float = 60.0) -> Exact:
    """Solve the problem with integer x up to a relative gap; Exact(None, inf) if infeasible."""
    from scipy.optimize import Bounds, LinearConstraint, milp

    program = linear_program(problem)
    integral = np.zeros(len(program.cost))
    integral[: program.num_shares] = 1
    with solver_output_to_stderr():
        solved = milp(
            program.cost,
            constraints=[
                LinearConstraint(program.equal, program.equal_to, program.equal_to),
                LinearConstraint(program.upper, -np.inf, program.upper_to),
            ],
            bounds=Bounds(0.0, program.most),
            integrality=integral,
            options={"mip_rel_gap": gap, "time_limit": limit_s},
        )
    if solved.status == 2:
        return Exact(None, np.inf)
    bound = float(solved.mip_dual_bound or 0.0) * program.unit_usd
    if solved.x is None:
        return Exact(None, bound)
    shares = solved.x[: program.num_shares].reshape(problem.num_nodes, problem.num_devices)
    return Exact(shares.argmax(axis=1), bound)
