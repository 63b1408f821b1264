"""The placement problem on a graph: nodes, device types in sites, edges and a deadline.

Node i on device type d takes `seconds[i, d]` and costs `usd[i, d]` per job; an edge whose ends run
in different sites adds transfer seconds and egress dollars. The deadline bounds every path. This
is the paper's problem (arXiv 2507.19635, section 3.1) with the deadline end to end instead of per
task and with transfers that depend on both ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gangline.ir.errors import PlanError

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class GraphProblem:
    """What there is to place; checked when it is made.

    Attributes:
        names: of the nodes, [n].
        usd: dollars per job of node by device type, [n, D]; infinite where it cannot run.
        seconds: time of a node by device type, [n, D]; infinite where it cannot run.
        site_of: site number of each device type, [D].
        edges: (source, target) node numbers, [m, 2].
        transfer_s: seconds an edge adds by site of its source and target, [m, S, S].
        transfer_usd: dollars an edge adds likewise, [m, S, S].
        deadline_s: bound on the sum of seconds over every path; infinite for none.
        capacity_s: device-seconds per job that each device type has to give, [D]; None for
            no limit. (Stock x utilisation cap / rate of jobs.)

    Raises:
        PlanError: naming the node, edge or device at fault.
    """

    names: Sequence[str]
    usd: Array
    seconds: Array
    site_of: Index
    edges: Index
    transfer_s: Array
    transfer_usd: Array
    deadline_s: float = math.inf
    capacity_s: Array | None = None

    def __post_init__(self) -> None:
        _check_shapes(self)
        _check_nodes(self)
        _check_edges(self)
        _check_limits(self)
        if self.topological is None:
            raise PlanError(
                "The placement graph has a cycle",
                where=f"node {self.names[_on_a_cycle(self)]}",
                next_step="Unroll bounded loops before placing them.",
            )

    @property
    def num_nodes(self) -> int:
        """How many nodes there are to place."""
        return len(self.names)

    @property
    def num_devices(self) -> int:
        """How many device types there are."""
        return len(self.site_of)

    @property
    def latest_s(self) -> float:
        """The deadline with room for the rounding of sums, one part in a billion."""
        return self.deadline_s * (1.0 + 1e-9)

    @cached_property
    def num_sites(self) -> int:
        """How many sites the device types are in."""
        return int(self.site_of.max()) + 1

    @cached_property
    def allowed(self) -> npt.NDArray[np.bool_]:
        """Where a node can run, [n, D]."""
        return np.isfinite(self.usd) & np.isfinite(self.seconds)

    @cached_property
    def finite_seconds(self) -> Array:
        """Seconds with nothing where a node cannot run, [n, D]."""
        return np.where(self.allowed, self.seconds, 0.0)

    @cached_property
    def finite_usd(self) -> Array:
        """Dollars with `prohibitive_usd` where a node cannot run, [n, D]."""
        return np.where(self.allowed, self.usd, self.prohibitive_usd)

    @cached_property
    def prohibitive_usd(self) -> float:
        """Finite dollars that stand for "cannot run": infinities have no differences."""
        dearest = np.where(self.allowed, self.usd, 0.0).max(axis=1).sum()
        return 1e3 * float(dearest + self.transfer_usd.sum() + 1e-9)

    @cached_property
    def successors(self) -> list[list[tuple[int, int]]]:
        """(target, edge) of every node."""
        found: list[list[tuple[int, int]]] = [[] for _ in self.names]
        for edge, (source, target) in enumerate(self.edges.tolist()):
            found[source].append((target, edge))
        return found

    @cached_property
    def predecessors(self) -> list[list[tuple[int, int]]]:
        """(source, edge) of every node."""
        found: list[list[tuple[int, int]]] = [[] for _ in self.names]
        for edge, (source, target) in enumerate(self.edges.tolist()):
            found[target].append((source, edge))
        return found

    @cached_property
    def topological(self) -> list[int] | None:
        """Node numbers, every source before its targets; None when there is a cycle."""
        waiting = [len(before) for before in self.predecessors]
        order = [node for node, count in enumerate(waiting) if count == 0]
        # Invariant: `order` holds nodes all of whose sources stand before them.
        for node in order:
            for target, _ in self.successors[node]:
                waiting[target] -= 1
                if waiting[target] == 0:
                    order.append(target)
        return order if len(order) == len(self.names) else None


def _check_shapes(problem: GraphProblem) -> None:
    n, m = len(problem.names), len(problem.edges)
    devices, sites = len(problem.site_of), int(max(problem.site_of, default=-1)) + 1
    wanted = {
        "usd": (n, devices),
        "seconds": (n, devices),
        "edges": (m, 2),
        "transfer_s": (m, sites, sites),
        "transfer_usd": (m, sites, sites),
    }
    if problem.capacity_s is not None:
        wanted["capacity_s"] = (devices,)
    for name, shape in wanted.items():
        if getattr(problem, name).shape != shape:
            detail = f"{name} has shape {getattr(problem, name).shape}, not {shape}"
            raise PlanError(detail, where=name, next_step="Give one row per node, edge or device.")
    if n == 0 or devices == 0:
        missing = "node" if n == 0 else "device type"
        raise PlanError(f"There is no {missing} to place on or with", where="placement problem")
    if min(problem.site_of) < 0:
        raise PlanError("A device type has a negative site number", where="site_of")


def _check_nodes(problem: GraphProblem) -> None:
    for name in ("usd", "seconds"):
        values = getattr(problem, name)
        wrong = np.argwhere(np.isnan(values) | (values < 0.0))
        if len(wrong):
            node, device = wrong[0]
            raise PlanError(
                f"{name} of node {problem.names[node]!r} on device type {device} is "
                f"{values[node, device]:g}; it must be a number of at least 0",
                where=f"node {problem.names[node]}",
                next_step="Give infinity where a node cannot run.",
            )
    nowhere = np.flatnonzero(~problem.allowed.any(axis=1))
    if len(nowhere):
        name = problem.names[nowhere[0]]
        raise PlanError(
            f"Node {name!r} can run on no device type",
            where=f"node {name}",
            next_step="Add a device that holds its model, or a smaller model.",
        )


def _check_edges(problem: GraphProblem) -> None:
    n = len(problem.names)
    for number, (source, target) in enumerate(problem.edges.tolist()):
        if not (0 <= source < n and 0 <= target < n):
            raise PlanError(
                f"Edge {number} joins node {source} to node {target}, but there are {n} nodes",
                where=f"edge {number}",
            )
    for name in ("transfer_s", "transfer_usd"):
        values = getattr(problem, name)
        wrong = np.argwhere(~np.isfinite(values) | (values < 0.0))
        if len(wrong):
            raise PlanError(
                f"{name} of edge {wrong[0][0]} is {values[tuple(wrong[0])]:g}; it must be a "
                "finite number of at least 0",
                where=f"edge {wrong[0][0]}",
            )


def _check_limits(problem: GraphProblem) -> None:
    if not problem.deadline_s > 0.0:
        raise PlanError(
            f"The deadline is {problem.deadline_s:g} s; it must be more than 0",
            where="deadline_s",
            next_step="Give infinity for no deadline.",
        )
    capacity = problem.capacity_s
    if capacity is not None and not bool(np.all(capacity >= 0.0)):
        device = int(np.flatnonzero(~(capacity >= 0.0))[0])
        raise PlanError(
            f"The capacity of device type {device} is {capacity[device]:g}; it must be at least 0",
            where=f"device type {device}",
        )


def _on_a_cycle(problem: GraphProblem) -> int:
    """Find a node of a cycle: walk against the edges from a node that never became ready."""
    waiting = [len(before) for before in problem.predecessors]
    ready = [node for node, count in enumerate(waiting) if count == 0]
    for node in ready:
        for target, _ in problem.successors[node]:
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    node = next(node for node, count in enumerate(waiting) if count > 0)
    for _ in problem.names:
        node = next(source for source, _ in problem.predecessors[node] if waiting[source] > 0)
    return node
