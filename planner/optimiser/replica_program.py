"""The linear program of a placement on whole replicas, to be branched on.

Columns are those of `linear_program`, then y[d], the replicas of each device type. Its rows are
tightened by what holds for whole nodes only: a node that would be late on a device type has no
share there; a node on a device type needs as many replicas as its own work fills, and so do two
nodes on it together (needs rounded up add for pairs that fit in no less).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gangline.ir.errors import PlanError

from .linear_program import Program, linear_program
from .problem import Array, GraphProblem, Index
from .quickest import least_through
from .replica_cuts import Cut, cuts
from .replica_problem import ReplicaProblem
from .solver_output import solver_output_to_stderr

CUT_ROUNDS = 12
"""Times at most that rows are added."""

WORTH = 1e-4
"""Part of the dollars that a round of added rows must bring for another one to follow."""


@dataclass(frozen=True, slots=True)
class ReplicaProgram:
    """The arrays of the program.

    Attributes:
        cost: of each column in `unit_usd`, [w].
        rows: scipy's LinearConstraint over all columns.
        least, most: bounds of the columns, [w].
        shape: nodes and device types; shares are the first columns, replicas the last.
    """

    cost: Array
    rows: Any
    least: Array
    most: Array
    unit_usd: float
    shape: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Relaxed:
    """A solution of the relaxation: dollars, shares [n, D] and replicas [D]."""

    usd: float
    share: Array
    replicas: Array


def replica_program(problem: ReplicaProblem) -> ReplicaProgram:
    """State the program; columns of what cannot be are bounded by 0."""
    graph = problem.graph
    late = least_through(graph) > graph.latest_s
    seconds = np.where(late, np.inf, graph.seconds)
    # As many capacities as device types, for the rows that replicas are then part of.
    graph = replace(graph, seconds=seconds, capacity_s=np.zeros(graph.num_devices))
    program = linear_program(graph)
    cost = np.r_[program.cost * program.unit_usd, problem.usd_per_replica]
    unit = float(cost.max()) or 1.0
    most = problem.most_replicas
    return ReplicaProgram(
        cost / unit,
        _rows(problem, program),
        np.zeros_like(cost),
        np.r_[program.most, most],
        unit,
        (graph.num_nodes, graph.num_devices),
    )


def whole_nodes(
    program: ReplicaProgram, least: Array, most: Array, gap: float, num_parts: int
) -> Index | None:
    """Place whole nodes within bounds of the columns by HiGHS's branch and bound.

    Stops at the relative gap or after a number of parts of its tree; None where nothing was found.
    """
    from scipy.optimize import Bounds, milp

    n, devices = program.shape
    integral = np.zeros(len(program.cost))
    integral[: n * devices] = 1.0
    with solver_output_to_stderr():
        solved = milp(
            program.cost,
            constraints=program.rows,
            bounds=Bounds(least, most),
            integrality=integral,
            options={"mip_rel_gap": gap, "node_limit": num_parts},
        )
    if solved.x is None:
        return None
    chosen: Index = solved.x[: n * devices].reshape(n, devices).argmax(axis=1)
    return chosen


def solve(program: ReplicaProgram, least: Array, most: Array) -> Relaxed | None:
    """Solve within bounds of the columns; None where nothing is within them."""
    from scipy.optimize import Bounds, milp

    with solver_output_to_stderr():
        solved = milp(
            program.cost,
            constraints=program.rows,
            bounds=Bounds(least, most),
            options={"presolve": False},
        )
    if solved.status == 2:
        return None
    if solved.status != 0:
        raise PlanError(f"The linear program of replicas was not solved: {solved.message}")
    n, devices = program.shape
    share = solved.x[: n * devices].reshape(n, devices)
    return Relaxed(float(solved.fun) * program.unit_usd, share, solved.x[-devices:])


def tightened(problem: ReplicaProblem, program: ReplicaProgram) -> ReplicaProgram:
    """Add rows that cut off the relaxation's solution, as often as that raises its dollars."""
    graph = problem.graph
    work = graph.finite_seconds / problem.seconds_per_replica
    before = -np.inf
    # Invariant: the rows of `program` hold for every placement on whole replicas.
    for _ in range(CUT_ROUNDS):
        relaxed = solve(program, program.least, program.most)
        if relaxed is None or relaxed.usd < before * (1.0 + WORTH):
            break
        before = relaxed.usd
        found = cuts(work, relaxed.share, relaxed.replicas)
        if not found:
            break
        program = extended(program, found)
    return program


def extended(program: ReplicaProgram, found: list[Cut]) -> ReplicaProgram:
    """Add rows to the program."""
    from scipy.optimize import LinearConstraint
    from scipy.sparse import csr_array, vstack

    n, devices = program.shape
    width = len(program.cost)
    added = np.zeros((len(found), width))
    for row, cut in zip(added, found, strict=True):
        row[cut.device : n * devices : devices] = cut.share
        row[width - devices + cut.device] = cut.replicas
    rows = program.rows
    wider = LinearConstraint(
        vstack([rows.A, csr_array(added)]).tocsc(),
        np.r_[rows.lb, [cut.least for cut in found]],
        np.r_[rows.ub, np.full(len(found), np.inf)],
    )
    return replace(program, rows=wider)


def _rows(problem: ReplicaProblem, program: Program) -> Any:
    from scipy.optimize import LinearConstraint
    from scipy.sparse import coo_array, csr_array, hstack, vstack

    devices = program.problem.num_devices
    height, width = program.upper.shape
    rank = np.arange(devices)
    given = coo_array(
        (np.full(devices, -problem.seconds_per_replica), (height - devices + rank, rank)),
        shape=(height, devices),
    )
    equal = hstack([program.equal, csr_array((len(program.equal_to), devices))])
    upper = hstack([program.upper, given])
    needed = _needed(problem, program.problem, width)
    rows = vstack([equal, upper, needed]).tocsc()
    free = np.zeros(needed.shape[0])
    to = np.concatenate([program.equal_to, program.upper_to, free])
    least = np.full(len(to), -np.inf)
    least[: len(program.equal_to)] = program.equal_to
    return LinearConstraint(rows, least, to)


def _needed(problem: ReplicaProblem, graph: GraphProblem, width: int) -> Any:
    """Give rows "replicas that nodes need, times their shares, are there": singles and pairs."""
    from scipy.sparse import coo_array

    work = graph.finite_seconds / problem.seconds_per_replica
    need = np.where(graph.allowed, np.maximum(np.ceil(work - 1e-9), 1.0), 0.0)
    first, second, device = _pairs(work, need)
    single = np.arange(need.size)
    row = need.size + np.arange(len(device))
    devices = graph.num_devices
    entries = (
        (single, single, need.ravel()),
        (single, width + single % devices, -np.ones(need.size)),
        (row, first * devices + device, need[first, device]),
        (row, second * devices + device, need[second, device]),
        (row, width + device, -np.ones(len(row))),
    )
    rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
    return coo_array((values, (rows, columns)), shape=(need.size + len(row), width + devices))


def _pairs(work: Array, need: Array) -> tuple[Index, Index, Index]:
    """Give (first, second, device type) of pairs whose needs add: together they fit in no less."""
    together = np.ceil(work[:, None] + work[None] - 1e-9)
    both = (need[:, None] > 0.0) & (need[None] > 0.0)
    adds = both & (together >= need[:, None] + need[None])
    # Small nodes leave room in each other's replicas, so that such pairs are few.
    first, second, device = np.nonzero(adds)
    kept = first < second
    return first[kept], second[kept], device[kept]
