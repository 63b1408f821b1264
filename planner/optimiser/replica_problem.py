"""The placement of a graph on whole replicas: what there is to buy, and what a placement needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gangline.ir.errors import PlanError
from gangline.ir.specs.fleet import SECONDS_PER_HOUR

from .problem import Array, GraphProblem, Index
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

    @property
    def most_replicas(self) -> Array:
        """Replicas no fleet needs more than, [D]: all nodes on one device type, or its stock."""
        seconds = self.graph.finite_seconds.sum(axis=0)
        most: Array = np.ceil(seconds / self.seconds_per_replica) + 1.0
        return most if self.stock is None else np.floor(np.minimum(most, self.stock))

    def keeps_limits(self, assignment: Index) -> bool:
        """Tell whether an assignment is in time on replicas in stock."""
        if makespan(self.graph, assignment) > self.graph.latest_s:
            return False
        return self.stock is None or bool(np.all(self.replicas_for(assignment) <= self.stock))
