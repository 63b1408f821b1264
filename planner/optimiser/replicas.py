"""Whole replicas for a placed graph: the cheapest fleet that serves a rate of jobs in time.

At a low rate a fleet is mostly rounding: a device type is paid by the hour whether a job needs a
tenth of it or all of it. Branch and bound over replicas and nodes (`replica_search`) proves the
answer; rounding and single moves (`replica_moves`) find it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gangline.ir.errors import InfeasibleError

from .place import place
from .problem import Array, GraphProblem, Index
from .replica_problem import ReplicaProblem
from .replica_search import EFFORT, branch
from .timing import makespan


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


def size_fleet(problem: ReplicaProblem, gap: float = 0.03, effort: float = EFFORT) -> ReplicaPlan:
    """Choose whole replicas and a placement on them at least dollars per job.

    Deterministic: the search is limited by counts, not by a clock.

    Args:
        gap: proven relative gap that is good enough.
        effort: linear programs that may be solved, times their columns to the power 1.5; what was
            proven by then counts.

    Raises:
        InfeasibleError: no placement meets the deadline with the replicas in stock.
    """
    # As if device time were sold by the second: InfeasibleError where nothing is in time.
    fluid = place(priced_by_the_second(problem), gap)
    found = branch(problem, fluid.assignment, gap, effort)
    best = found.assignment
    if best is None:
        raise _out_of_stock(problem)
    replicas = problem.replicas_for(best)
    return ReplicaPlan(
        replicas,
        best,
        problem.usd(best),
        float(replicas @ problem.usd_per_hour),
        makespan(problem.graph, best),
        min(max(found.bound_usd, fluid.bound_usd), problem.usd(best)),
        fluid.usd_per_s,
    )


def priced_by_the_second(problem: ReplicaProblem) -> GraphProblem:
    """Give the placement whose device time is sold by the second, at full utilisation."""
    graph = problem.graph
    share = problem.usd_per_replica / problem.seconds_per_replica
    return replace(graph, usd=graph.usd + share * graph.finite_seconds, capacity_s=None)


def _out_of_stock(problem: ReplicaProblem) -> InfeasibleError:
    return InfeasibleError(
        f"No placement serves {problem.jobs_per_s:g} jobs/s within "
        f"{problem.graph.deadline_s:g} s on the replicas in stock",
        where="stock",
        next_step="Add replicas of the fast devices, or allow a later deadline or a lower rate.",
    )
