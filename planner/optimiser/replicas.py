"""Whole replicas for a placed graph: the cheapest fleet that serves a rate of jobs in time.

At a low rate a fleet is mostly rounding: a device type is paid by the hour whether a job needs a
tenth of it or all of it. Two integer programs, both small: replicas whole and shares of nodes
fractional gives a bound; then shares whole too, first on the replicas just found, and with that
bound as a row, which branch and bound alone would take long to prove.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gangline.ir.errors import InfeasibleError, PlanError
from gangline.ir.specs.fleet import SECONDS_PER_HOUR

from .linear_program import Program, linear_program
from .place import place
from .problem import Array, GraphProblem, Index
from .repair import keeps_limits
from .solver_output import solver_output_to_stderr
from .timing import dollars, makespan


@dataclass(frozen=True)
class ReplicaProblem:
    """A graph to place on a fleet to be bought or rented.

    Attributes:
        graph: its `usd` are what a node costs beside device time (tokens of an API); its
            `capacity_s` is not used.
        usd_per_hour: of one replica of each device type, [D].
        jobs_per_s: rate of jobs, more than 0.
        utilisation: part of a replica's time that may be planned, (0, 1].
        stock: replicas there are of each device type, [D]; infinite for as many as wanted.

    Raises:
        PlanError: naming the number at fault.
    """

    graph: GraphProblem
    usd_per_hour: Array
    jobs_per_s: float
    utilisation: float = 0.8
    stock: Array | None = None

    def __post_init__(self) -> None:
        if not (0.0 < self.jobs_per_s < np.inf):
            raise PlanError(f"The rate is {self.jobs_per_s:g} jobs/s; it must be more than 0")
        if not 0.0 < self.utilisation <= 1.0:
            detail = f"The utilisation is {self.utilisation:g}; it must be in (0, 1]"
            raise PlanError(detail, where="utilisation")
        for name in ("usd_per_hour", "stock"):
            self._check(name)

    def _check(self, name: str) -> None:
        values = getattr(self, name)
        if values is None:
            return
        if values.shape != (self.graph.num_devices,) or not bool(np.all(values >= 0.0)):
            detail = f"{name} must be one number of at least 0 per device type"
            raise PlanError(detail, where=name)

    @property
    def usd_per_replica(self) -> Array:
        """Dollars per job of one replica, [D]: all jobs share what it costs by the hour."""
        return self.usd_per_hour / SECONDS_PER_HOUR / self.jobs_per_s

    @property
    def seconds_per_replica(self) -> float:
        """Device-seconds per job that one replica gives."""
        return self.utilisation / self.jobs_per_s

    def replicas_for(self, assignment: Index) -> Array:
        """Give the whole replicas an assignment needs, [D]."""
        load = np.zeros(self.graph.num_devices)
        rank = np.arange(self.graph.num_nodes)
        np.add.at(load, assignment, self.graph.seconds[rank, assignment])
        used = np.bincount(assignment, minlength=self.graph.num_devices) > 0
        # Work of no length still needs a device that is there.
        return np.maximum(np.ceil(load / self.seconds_per_replica - 1e-9), used)

    def usd(self, assignment: Index) -> float:
        """Give the dollars per job of an assignment and the replicas it needs."""
        fleet = self.replicas_for(assignment) @ self.usd_per_replica
        return float(fleet) + dollars(self.graph, assignment)


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """A fleet, the placement on it, and how good that is known to be.

    Attributes:
        replicas: of each device type, [D].
        assignment: device type of each node, [n].
        usd: dollars per job, fleet and all.
        usd_per_hour: of the fleet.
        seconds: end-to-end seconds of a job.
        bound_usd: no fleet within the limits costs a job less.
        usd_per_s: dollars per job one more second of deadline would save were replicas divisible;
            a replica's own price is `usd_per_hour`.
    """

    replicas: Array
    assignment: Index
    usd: float
    usd_per_hour: float
    seconds: float
    bound_usd: float
    usd_per_s: float

    @property
    def gap(self) -> float:
        """By what part of the dollars a better fleet could be cheaper."""
        return max(0.0, self.usd - self.bound_usd) / self.usd if self.usd > 0.0 else 0.0


def size_fleet(problem: ReplicaProblem, gap: float = 0.03, limit_s: float = 10.0) -> ReplicaPlan:
    """Choose whole replicas and a placement on them at least dollars per job.

    Args:
        gap: proven relative gap that is good enough.
        limit_s: seconds either integer program may take; what was proven by then counts.

    Raises:
        InfeasibleError: no placement meets the deadline with the replicas in stock.
    """
    # As if device time were sold by the second: InfeasibleError where nothing is in time.
    fluid = place(priced_by_the_second(problem), gap)
    bound, near = _whole_replicas(problem, gap / 3.0, limit_s)
    bound = max(bound, fluid.bound_usd)
    found = [fluid.assignment] if _in_stock(problem, fluid.assignment) else []
    # Placing whole nodes on the replicas that suffice for parts of nodes is quick and often enough.
    for replicas in (near, None):
        best = min(found, key=problem.usd, default=None)
        if best is not None and problem.usd(best) * (1.0 - gap) <= bound:
            break
        placed, bound = _whole_shares(problem, bound, replicas, gap, limit_s)
        found += [] if placed is None else [placed]
    if not found:
        raise _out_of_stock(problem)
    best = min(found, key=problem.usd)
    replicas = problem.replicas_for(best)
    return ReplicaPlan(
        replicas,
        best,
        problem.usd(best),
        float(replicas @ problem.usd_per_hour),
        makespan(problem.graph, best),
        min(bound, problem.usd(best)),
        fluid.usd_per_s,
    )


def priced_by_the_second(problem: ReplicaProblem) -> GraphProblem:
    """Give the placement whose device time is sold by the second, at full utilisation."""
    graph = problem.graph
    share = problem.usd_per_replica / problem.seconds_per_replica
    return replace(graph, usd=graph.usd + share * graph.finite_seconds, capacity_s=None)


def _in_stock(problem: ReplicaProblem, assignment: Index) -> bool:
    if not keeps_limits(replace(problem.graph, capacity_s=None), assignment):
        return False
    return problem.stock is None or bool(np.all(problem.replicas_for(assignment) <= problem.stock))


def _most_replicas(problem: ReplicaProblem) -> Array:
    """Give the replicas no fleet needs more than: all nodes on one device type, or its stock."""
    seconds = problem.graph.finite_seconds.sum(axis=0)
    most: Array = np.ceil(seconds / problem.seconds_per_replica) + 1.0
    return most if problem.stock is None else np.minimum(most, problem.stock)


def _whole_replicas(problem: ReplicaProblem, gap: float, limit_s: float) -> tuple[float, Array]:
    """Give the bound of whole replicas with fractional shares, and its replicas."""
    most = _most_replicas(problem)
    solved, unit = _solve(problem, (np.zeros_like(most), most), None, gap, limit_s)
    if solved.status == 2:
        raise _out_of_stock(problem)
    near = most if solved.x is None else np.round(solved.x[-len(most) :])
    return float(solved.mip_dual_bound or 0.0) * unit, near


def _whole_shares(
    problem: ReplicaProblem, bound: float, replicas: Array | None, gap: float, limit_s: float
) -> tuple[Index | None, float]:
    """Place whole nodes on given or any whole replicas; give what was found and the bound left."""
    most = _most_replicas(problem)
    allowed = (np.zeros_like(most), most) if replicas is None else (replicas, replicas)
    solved, unit = _solve(problem, allowed, bound, gap, limit_s)
    if replicas is None:
        bound = max(bound, float(solved.mip_dual_bound or 0.0) * unit)
    if solved.x is None:
        return None, bound
    n, devices = problem.graph.seconds.shape
    assignment: Index = solved.x[: n * devices].reshape(n, devices).argmax(axis=1)
    return (assignment if _in_stock(problem, assignment) else None), bound


def _solve(
    problem: ReplicaProblem,
    replicas: tuple[Array, Array],
    bound: float | None,
    gap: float,
    limit_s: float,
) -> tuple[Any, float]:
    """Solve with replicas as columns between two limits; give scipy's answer and the unit of usd.

    With a bound, shares are whole too and the bound is a row.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    devices = problem.graph.num_devices
    program = linear_program(replace(problem.graph, capacity_s=np.zeros(devices)))
    equal, upper, there = _with_replicas(problem, program)
    cost = np.r_[program.cost * program.unit_usd, problem.usd_per_replica]
    unit = bound or float(cost.max()) or 1.0
    rows = [
        LinearConstraint(there, -np.inf, 0.0),
        LinearConstraint(equal, program.equal_to, program.equal_to),
        LinearConstraint(upper, -np.inf, program.upper_to),
    ]
    if bound:
        rows.append(LinearConstraint(csr_array((cost / unit)[None]), 1.0 - 1e-9, np.inf))
    integral = np.r_[np.zeros(len(program.cost)), np.ones(devices)]
    integral[: program.num_shares] = float(bound is not None)
    least = np.r_[np.zeros(len(program.cost)), replicas[0]]
    with solver_output_to_stderr():
        solved = milp(
            cost / unit,
            constraints=rows,
            bounds=Bounds(least, np.r_[program.most, replicas[1]]),
            integrality=integral,
            options={"mip_rel_gap": gap, "time_limit": limit_s},
        )
    return solved, unit


def _with_replicas(problem: ReplicaProblem, program: Program) -> tuple[Any, Any, Any]:
    """Give the program's equalities and inequalities with replicas, and who needs a replica."""
    from scipy.sparse import coo_array, csr_array, hstack

    devices = problem.graph.num_devices
    height, width = program.upper.shape
    rank = np.arange(devices)
    per_replica = np.full(devices, -problem.seconds_per_replica)
    provided = coo_array((per_replica, (height - devices + rank, rank)), shape=(height, devices))
    upper = hstack([program.upper, provided]).tocsr()
    equal = hstack([program.equal, csr_array((program.equal.shape[0], devices))]).tocsr()
    # A node runs on no device type that has no replica: nearly implied for whole replicas, and what
    # makes the bound tight where most types have one or none.
    share = np.arange(program.num_shares)
    signs = np.r_[np.ones(len(share)), -np.ones(len(share))]
    places = (np.r_[share, share], np.r_[share, width + share % devices])
    there = coo_array((signs, places), shape=(len(share), width + devices))
    return equal, upper, there.tocsr()


def _out_of_stock(problem: ReplicaProblem) -> InfeasibleError:
    return InfeasibleError(
        f"No placement serves {problem.jobs_per_s:g} jobs/s within "
        f"{problem.graph.deadline_s:g} s on the replicas in stock",
        where="stock",
        next_step="Add replicas of the fast devices, or allow a later deadline or a lower rate.",
    )
