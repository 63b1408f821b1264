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

    Columns are x (n D), y (m S S), starts (n), then whatever a caller appends. Rows of `upper` are
    edges (m), ends (one per node), capacities (D, if limited).
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
    n, m, sites = problem.num_nodes, len(problem.edges), problem.num_sites
    width = n * problem.num_devices + m * sites * sites + n
    usd, seconds = np.where(problem.allowed, problem.usd, 0.0), problem.finite_seconds
    horizon = min(problem.deadline_s, float(seconds.max(axis=1).sum() + problem.transfer_s.sum()))
    cost = np.concatenate([usd.ravel(), problem.transfer_usd.ravel(), np.zeros(n)])
    unit = float(cost.max()) or 1.0
    ones = np.ones(m * sites * sites)
    most = np.concatenate([problem.allowed.ravel().astype(float), ones, np.full(n, horizon)])
    equal, equal_to = _equalities(problem, width)
    upper, upper_to = _inequalities(problem, width, seconds, horizon)
    return Program(problem, cost / unit, equal, equal_to, upper, upper_to, most, unit)


def _equalities(problem: GraphProblem, width: int) -> tuple[Any, Array]:
    n, m, sites, devices = (
        problem.num_nodes,
        len(problem.edges),
        problem.num_sites,
        problem.num_devices,
    )
    rows = _Rows([], [], [])
    rows.add(np.arange(n)[:, None], np.arange(n * devices).reshape(n, devices), 1.0)
    first_y = n * devices
    y = first_y + np.arange(m * sites * sites).reshape(m, sites, sites)
    margin = n + np.arange(2 * m * sites).reshape(2, m, sites)
    rows.add(margin[0][:, :, None], y, 1.0)
    rows.add(margin[1][:, None, :], y, 1.0)
    for end in (0, 1):
        x = problem.edges[:, end, None] * devices + np.arange(devices)
        rows.add(margin[end][:, problem.site_of], x, -1.0)
    height = n + 2 * m * sites
    return rows.matrix(height, width), np.r_[np.ones(n), np.zeros(2 * m * sites)]


def _inequalities(
    problem: GraphProblem, width: int, seconds: Array, horizon: float
) -> tuple[Any, Array]:
    n, m, sites, devices = (
        problem.num_nodes,
        len(problem.edges),
        problem.num_sites,
        problem.num_devices,
    )
    source, target = problem.edges.T
    x = np.arange(n * devices).reshape(n, devices)
    y = n * devices + np.arange(m * sites * sites).reshape(m, sites, sites)
    start = n * devices + m * sites * sites + np.arange(n)
    rows = _Rows([], [], [])
    edge, node = np.arange(m), m + np.arange(n)
    rows.add(edge[:, None], x[source], seconds[source])
    rows.add(edge[:, None, None], y, problem.transfer_s)
    rows.add(edge, start[source], 1.0)
    rows.add(edge, start[target], -1.0)
    rows.add(node[:, None], x, seconds)
    rows.add(node, start, 1.0)
    height, limits = m + n, [np.zeros(m), np.full(n, horizon)]
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
    capacity = price[m + n :] if problem.capacity_s is not None else np.zeros(problem.num_devices)
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
