"""How many replicas of which pool serve all parts of a demand at least cost: a mixed program.

Variables: x[way] the share of a class that is served one way (fractional), y[pool] replicas
(integer), u[tier] devices bought at a price (they follow from y), and under a deadline the mean
seconds of every part and start times. Constraints: every part is served in full; a pool's load
is at most its replicas; devices used are bought, within the tiers' stock; budget; power; and the
mean end of every path of the job is at most the deadline. Ways with which a job would be late
even if all other parts were as fast as they can be are shut.

Mélange's program (arXiv 2404.14527) is the case without tiers, splits and deadline, with x in
whole slices; a fractional x costs at most as much, and is solved in well under a second where
whole slices are not (`benchmarks/fleet_sizing.py`). HiGHS (scipy.optimize.milp) solves it; its
dual bound is reported with every answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.ir.errors import PlanError

from .solver_output import solver_output_to_stderr

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_OPENED_ROWS = 1500
"""Rows that bind a part's share of a pool to its replicas are left out beyond this number."""

SLACK = 1e-9
"""Relative slack of comparisons with the deadline."""

CEILING_SLACK = 1e-6
"""Relative slack of comparisons with a ceiling of the objective: the solver's own tolerance."""


@dataclass(frozen=True, slots=True)
class Entries:
    """A sparse matrix by coordinates."""

    row: Ints
    column: Ints
    value: Array

    @classmethod
    def of(cls, triples: Sequence[tuple[int, int, float]]) -> Entries:
        """Build from (row, column, value)."""
        data = np.array(triples, dtype=float).reshape(-1, 3)
        return cls(data[:, 0].astype(np.int64), data[:, 1].astype(np.int64), data[:, 2])


@dataclass(frozen=True, slots=True)
class Tier:
    """Devices of one type at one price.

    Attributes:
        device: number of the type.
        usd_per_hour: price of one device.
        limit: how many there are at it; inf for any number.
    """

    device: int
    usd_per_hour: float
    limit: float = math.inf


@dataclass(frozen=True, slots=True)
class PathRows:
    """When a job ends, as rows a @ [part seconds, times] <= 0 in an order of evaluation.

    Attributes:
        rows: each bounds the one column with coefficient -1 from below.
        num_parts, num_times: columns.
        end: column of the job's end.
    """

    rows: Sequence[Mapping[int, float]]
    num_parts: int
    num_times: int
    end: int
    deadline_s: float = math.inf

    def end_s(self, part_s: Array) -> Array:
        """Give the end of jobs whose parts take `part_s` seconds, shape [parts, jobs]."""
        values = np.zeros((self.num_parts + self.num_times, part_s.shape[1]))
        values[: self.num_parts] = part_s
        # Invariant: the rows so far give the least value of every column they bound.
        for row in self.rows:
            bounded = next(column for column, factor in row.items() if factor < 0.0)
            least = np.zeros(part_s.shape[1])
            for column, factor in row.items():
                if column != bounded:
                    least += factor * values[column]
            values[bounded] = np.maximum(values[bounded], least)
        return np.asarray(values[self.end])


@dataclass(frozen=True, slots=True)
class FleetProblem:
    """One sizing problem.

    Attributes:
        num_parts: things to serve; each column serves its `covers` at a latency.
        covers: (part, column, latency in seconds).
        loads: (pool, column, replicas a share of 1 needs).
        balances: (row, column, sign): rows of shares that cancel (a prefill in one format goes
            with a decode in it).
        pool_device, pool_size: number of the device type and devices per replica, per pool.
        watts: drawn by one device, per device type.
        tiers: prices; a device type without one cannot be used.
        max_usd_per_hour, max_watts: of the whole fleet.
        usd_weight, watt_weight: the objective is usd_weight USD/h + watt_weight W.
        fixed_usd: per column, USD/h that a share of 1 costs beside replicas (per-token prices).
        ceiling: pools that no fleet of at most this objective uses are left out. A fleet that is
            found dearer, or none, says nothing about fleets above the ceiling.
    """

    num_parts: int
    covers: Entries
    loads: Entries
    pool_device: Ints
    pool_size: Array
    watts: Array
    tiers: tuple[Tier, ...]
    balances: Entries | None = None
    paths: PathRows | None = None
    max_usd_per_hour: float = math.inf
    max_watts: float = math.inf
    usd_weight: float = 1.0
    watt_weight: float = 0.0
    fixed_usd: Array | None = None
    ceiling: float = math.inf

    @property
    def num_columns(self) -> int:
        """Ways to serve, over all parts."""
        return int(self.covers.column.max(initial=-1)) + 1

    @property
    def num_pools(self) -> int:
        """Kinds of replicas."""
        return len(self.pool_device)


@dataclass(frozen=True, slots=True)
class Sizing:
    """A fleet.

    Attributes:
        replicas: per pool, whole numbers.
        shares: per column.
        bought: devices per tier.
        usd_per_hour, watts: of the fleet.
        objective, bound: value and proven lower bound of the objective.
        end_s: mean seconds of a job along its longest path; 0 without paths.
    """

    replicas: Ints
    shares: Array
    bought: Array
    usd_per_hour: float
    watts: float
    objective: float
    bound: float
    end_s: float = 0.0

    @property
    def gap(self) -> float:
        """How far the objective is above the bound, relative to the objective."""
        return max(0.0, self.objective - self.bound) / max(abs(self.objective), 1e-12)


def solve_fleet(
    problem: FleetProblem, *, max_gap: float = 1e-4, time_limit_s: float = 10.0
) -> Sizing | None:
    """Find the cheapest fleet; None where there is none. PlanError if time runs out first."""
    program = _Program(problem)
    result = program.solve(max_gap, time_limit_s)
    if result.x is None:
        if result.status == 2:
            return None
        raise PlanError(
            f"The solver found no fleet in {time_limit_s:g} s",
            next_step="Give it more time, or fewer device types.",
        )
    return program.sizing(result)


def fastest_part_s(problem: FleetProblem) -> Array:
    """Give the least seconds any way takes for each part; inf for a part without a way."""
    fastest = np.full(problem.num_parts, np.inf)
    np.minimum.at(fastest, problem.covers.row, problem.covers.value)
    return fastest


def fastest_end_s(problem: FleetProblem) -> float | None:
    """Give the least mean seconds of a job that any fleet reaches; None if nothing can serve it.

    Stock, budget and power are kept; whole replicas are not required, so it may be a bit low.
    """
    result = _Program(problem, for_time=True).fastest()
    return None if result.x is None else float(result.fun)


def relaxed_objective(problem: FleetProblem) -> float | None:
    """Give the objective with fractional replicas: smooth in the deadline, and a lower bound."""
    result = _Program(problem).solve(0.0, 10.0, relaxed=True)
    return None if result.x is None else float(result.fun)


@dataclass(slots=True)
class _Program:
    """The matrix of a problem. Columns: x, y, u, then part seconds and times."""

    problem: FleetProblem
    triples: list[tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]] = field(
        default_factory=list
    )
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    first_second: int = 0
    size: int = 0
    for_time: bool = False

    def __post_init__(self) -> None:
        problem = self.problem
        self.first_second = problem.num_columns + problem.num_pools + len(problem.tiers)
        self.size = self.first_second
        self._cover()
        self._capacity()
        self._opened()
        self._purchase()
        self._limits()
        if problem.balances is not None:
            self._balance(problem.balances)
        if self._timed:
            assert problem.paths is not None
            self._deadline(problem.paths)

    @property
    def _timed(self) -> bool:
        """Whether start times are part of the program; without a deadline they mean nothing."""
        paths = self.problem.paths
        return paths is not None and (math.isfinite(paths.deadline_s) or self.for_time)

    def _rows(
        self,
        entries: tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike],
        lower: npt.ArrayLike,
        upper: npt.ArrayLike,
        count: int,
    ) -> None:
        """Append `count` rows; the entries' row numbers start at 0."""
        row, column, value = (np.asarray(part) for part in entries)
        self.triples.append((row + len(self.lower), column, value.astype(float)))
        self.lower.extend(np.broadcast_to(np.asarray(lower, dtype=float), count))
        self.upper.extend(np.broadcast_to(np.asarray(upper, dtype=float), count))

    def _cover(self) -> None:
        covers = self.problem.covers
        ones = np.ones(len(covers.row))
        self._rows((covers.row, covers.column, ones), 1.0, 1.0, self.problem.num_parts)

    def _capacity(self) -> None:
        loads, pools = self.problem.loads, self.problem.num_pools
        first = self.problem.num_columns
        row = np.concatenate([loads.row, np.arange(pools)])
        column = np.concatenate([loads.column, first + np.arange(pools)])
        value = np.concatenate([loads.value, -np.ones(pools)])
        self._rows((row, column, value), -np.inf, 0.0, pools)

    def _opened(self) -> None:
        """What a pool serves of a part is at most its replicas: all of a part is a share of 1.

        Implied by whole replicas, but not by fractional ones where a replica could serve a part
        several times over: without these rows the relaxation opens a tenth of a replica. With
        very many parts each is a small part of a replica anyway, and the rows only cost time.
        """
        covers, loads, pools = self.problem.covers, self.problem.loads, self.problem.num_pools
        pool = np.zeros(self.problem.num_columns, dtype=np.int64)
        load = np.full(self.problem.num_columns, np.inf)
        pool[loads.column], load[loads.column] = loads.row, loads.value
        small = load[covers.column] < 1.0
        column = covers.column[small]
        key, row = np.unique(covers.row[small] * pools + pool[column], return_inverse=True)
        count = len(key)
        if count > MAX_OPENED_ROWS:
            return
        entries = (
            np.concatenate([row, np.arange(count)]),
            np.concatenate([column, self.problem.num_columns + key % max(pools, 1)]),
            np.concatenate([np.ones(len(row)), -np.ones(count)]),
        )
        self._rows(entries, -np.inf, 0.0, count)

    def _purchase(self) -> None:
        """Devices in replicas are at most the devices bought."""
        problem = self.problem
        pools, first = problem.num_pools, problem.num_columns
        tiers = np.array([tier.device for tier in problem.tiers], dtype=np.int64)
        row = np.concatenate([problem.pool_device, tiers])
        column = np.concatenate([first + np.arange(pools), first + pools + np.arange(len(tiers))])
        value = np.concatenate([problem.pool_size, -np.ones(len(tiers))])
        self._rows((row, column, value), -np.inf, 0.0, len(problem.watts))

    def _limits(self) -> None:
        problem = self.problem
        usd, watts = self.costs()
        for cost, most in ((usd, problem.max_usd_per_hour), (watts, problem.max_watts)):
            if math.isfinite(most):
                column = np.flatnonzero(cost)
                self._rows((np.zeros(len(column), int), column, cost[column]), -np.inf, most, 1)

    def costs(self) -> tuple[Array, Array]:
        """USD per hour and watts of each variable."""
        problem = self.problem
        usd, watts = np.zeros(self.first_second), np.zeros(self.first_second)
        columns, pools = problem.num_columns, problem.num_pools
        if problem.fixed_usd is not None:
            usd[:columns] = problem.fixed_usd
        usd[columns + pools :] = [tier.usd_per_hour for tier in problem.tiers]
        watts[columns : columns + pools] = problem.pool_size * problem.watts[problem.pool_device]
        return usd, watts

    def _balance(self, balances: Entries) -> None:
        count = int(balances.row.max(initial=-1)) + 1
        self._rows((balances.row, balances.column, balances.value), 0.0, 0.0, count)

    def _deadline(self, paths: PathRows) -> None:
        """A part's seconds are the mean over its ways; the job's end is the last row."""
        covers, parts = self.problem.covers, self.problem.num_parts
        self.size += parts + paths.num_times
        seconds = self.first_second + np.arange(parts)
        row = np.concatenate([covers.row, np.arange(parts)])
        column = np.concatenate([covers.column, seconds])
        self._rows((row, column, np.append(covers.value, -np.ones(parts))), 0.0, 0.0, parts)
        for terms in paths.rows:
            column = self.first_second + np.array(list(terms), dtype=np.int64)
            self._rows((np.zeros(len(terms), int), column, list(terms.values())), -np.inf, 0.0, 1)
        end = self.first_second + paths.end
        self._rows(([0], [end], [1.0]), -np.inf, paths.deadline_s, 1)

    def _shut(self) -> npt.NDArray[np.bool_]:
        """Tell which ways are too slow whatever the rest of the job does."""
        problem, paths = self.problem, self.problem.paths
        shut = np.zeros(problem.num_columns, dtype=bool)
        if paths is None or math.isinf(paths.deadline_s):
            return shut
        fastest, covers = fastest_part_s(problem), problem.covers
        if not np.isfinite(fastest).all():
            return shut
        jobs = np.repeat(fastest[:, None], problem.num_columns, axis=1)
        jobs[covers.row, covers.column] = covers.value
        return np.asarray(paths.end_s(jobs) > paths.deadline_s * (1.0 + SLACK))

    def _matrix(self) -> Any:
        from scipy.sparse import csr_array

        row, column, value = (
            np.concatenate([triple[part] for triple in self.triples]) for part in range(3)
        )
        return csr_array((value, (row, column)), shape=(len(self.lower), self.size))

    def objective(self) -> Array:
        """Cost of every variable."""
        usd, watts = self.costs()
        cost = np.zeros(self.size)
        cost[: self.first_second] = self.problem.usd_weight * usd + self.problem.watt_weight * watts
        return cost

    def bounds(self, shut: bool = True) -> tuple[Array, Array]:
        """Limits of every variable."""
        problem = self.problem
        high = np.full(self.size, np.inf)
        high[: problem.num_columns] = np.where(self._shut(), 0.0, 1.0) if shut else 1.0
        first = problem.num_columns + problem.num_pools
        high[first : self.first_second] = [tier.limit for tier in problem.tiers]
        return np.zeros(self.size), high

    def _too_dear(self) -> npt.NDArray[np.bool_]:
        """Tell which pools no fleet within the ceiling uses (reduced-cost fixing).

        A replica of a pool that the relaxation leaves out raises the objective by at least the
        pool's reduced cost: Wolsey, Integer Programming, 7.4.
        """
        problem = self.problem
        relaxed = None if math.isinf(problem.ceiling) else self._relaxation()
        if relaxed is None or relaxed.x is None:
            return np.zeros(problem.num_pools, dtype=bool)
        first = problem.num_columns
        reduced = relaxed.lower.marginals[first : first + problem.num_pools]
        return np.asarray(relaxed.fun + reduced > problem.ceiling * (1.0 + CEILING_SLACK))

    def _relaxation(self) -> Any:
        from scipy.optimize import linprog

        matrix, low, high = self._matrix(), np.array(self.lower), np.array(self.upper)
        equal = low == high
        with solver_output_to_stderr():
            return linprog(
                self.objective(),
                A_ub=matrix[~equal],
                b_ub=high[~equal],
                A_eq=matrix[equal],
                b_eq=high[equal],
                bounds=np.stack(self.bounds(), axis=1),
                method="highs",
            )

    def solve(self, max_gap: float, time_limit_s: float, relaxed: bool = False) -> Any:
        """Run HiGHS on the program."""
        whole = np.zeros(self.size)
        first = self.problem.num_columns
        whole[first : first + self.problem.num_pools] = 1
        dear = np.zeros(self.size, dtype=bool)
        dear[first : first + self.problem.num_pools] = self._too_dear()
        loads = self.problem.loads
        dear[loads.column] = dear[first + loads.row]
        return self._run(
            self.objective(), whole * (not relaxed), max_gap, time_limit_s, without=dear
        )

    def fastest(self) -> Any:
        """Run HiGHS for the least end of a job."""
        assert self.problem.paths is not None
        cost = np.zeros(self.size)
        cost[self.first_second + self.problem.paths.end] = 1.0
        self.upper[-1] = math.inf  # the deadline is the last row
        return self._run(cost, np.zeros(self.size), 0.0, 10.0, shut=False)

    def _run(
        self,
        cost: Array,
        whole: Array,
        max_gap: float,
        time_limit_s: float,
        shut: bool = True,
        without: npt.NDArray[np.bool_] | None = None,
    ) -> Any:
        from scipy.optimize import Bounds, LinearConstraint, milp

        low, high = self.bounds(shut)
        if without is not None:
            high = np.where(without, 0.0, high)
        with solver_output_to_stderr():
            return milp(
                cost,
                integrality=whole,
                bounds=Bounds(low, high),
                constraints=LinearConstraint(self._matrix(), self.lower, self.upper),
                options={"mip_rel_gap": max_gap, "time_limit": time_limit_s},
            )

    def sizing(self, result: Any) -> Sizing:
        """Read a fleet off a solution."""
        problem = self.problem
        columns, pools = problem.num_columns, problem.num_pools
        shares = np.clip(result.x[:columns], 0.0, 1.0)
        replicas = np.round(result.x[columns : columns + pools]).astype(np.int64)
        bought = buy(problem, replicas)
        assert bought is not None, "the solver kept the stock"
        prices = np.array([tier.usd_per_hour for tier in problem.tiers])
        fixed = 0.0 if problem.fixed_usd is None else float(problem.fixed_usd @ shares)
        usd = float(bought @ prices) + fixed
        watts = float((replicas * problem.pool_size) @ problem.watts[problem.pool_device])
        objective = problem.usd_weight * usd + problem.watt_weight * watts
        bound = result.mip_dual_bound
        end = self._end_s(shares)
        lowest = objective if bound is None else min(float(bound), objective)
        return Sizing(replicas, shares, bought, usd, watts, objective, lowest, end)

    def _end_s(self, shares: Array) -> float:
        """Seconds of a job, from the shares: the program's own column is anything up to its limit."""
        problem, covers = self.problem, self.problem.covers
        if problem.paths is None:
            return 0.0
        seconds = np.zeros((problem.num_parts, 1))
        np.add.at(seconds[:, 0], covers.row, covers.value * shares[covers.column])
        return float(problem.paths.end_s(seconds)[0])


def buy(problem: FleetProblem, replicas: Ints) -> Array | None:
    """Buy the devices of a fleet at the cheapest tiers of each type; None beyond the stock."""
    needed = np.zeros(len(problem.watts))
    np.add.at(needed, problem.pool_device, replicas * problem.pool_size)
    bought = np.zeros(len(problem.tiers))
    # Invariant: `needed` is what the tiers before this one, all cheaper, could not give.
    for index in sorted(
        range(len(problem.tiers)), key=lambda tier: problem.tiers[tier].usd_per_hour
    ):
        tier = problem.tiers[index]
        bought[index] = min(needed[tier.device], tier.limit)
        needed[tier.device] -= bought[index]
    return bought if (needed <= 1e-6).all() else None
