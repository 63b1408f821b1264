"""Lower bounds of the makespan on exclusive machines: paths, machine loads, one-machine problems.

Every bound holds for each feasible schedule; the greatest is reported. `linear_bound` joins paths,
communication and loads in one linear program; it needs scipy, imported when called.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush

from .heft import Table, optimistic_cost
from .schedule import TOLERANCE, HeterogeneousDag, topological_order

LINEAR_LIMIT = 2_000
"""Most variables of the linear program: beyond, its seconds are better spent searching."""


def lower_bound(problem: HeterogeneousDag) -> float:
    """Give the greatest of the cheap bounds, seconds; rounded up where all times are whole."""
    if not problem.tasks:
        return 0.0
    heads, tails = earliest_end(problem), optimistic_cost(problem)
    found = max(path_bound(problem, heads, tails), one_machine_bound(problem, heads, tails))
    return round_up(problem, found)


def round_up(problem: HeterogeneousDag, bound: float) -> float:
    """Raise a bound to the next whole second where every schedule's makespan is whole."""
    return float(math.ceil(bound - TOLERANCE * bound)) if problem.is_integral() else bound


def earliest_end(problem: HeterogeneousDag) -> Table:
    """Give [task][machine]: no schedule ends the task on that machine sooner (inf: ineligible)."""
    predecessors, eligible = problem.predecessors(), problem.eligible()
    table = [[math.inf] * problem.machines for _ in range(problem.tasks)]
    for v in topological_order(problem):
        for k in eligible[v]:
            start = 0.0
            for u, seconds in predecessors[v]:
                start = max(start, min(min(table[u]) + seconds, table[u][k]))
            table[v][k] = start + problem.durations[v][k]
    return table


def path_bound(problem: HeterogeneousDag, heads: Table, tails: Table) -> float:
    """Give the longest path when every task takes its best machine, communication included."""
    return max(
        min(h + t for h, t in zip(heads[v], tails[v], strict=True)) for v in range(problem.tasks)
    )


def one_machine_bound(problem: HeterogeneousDag, heads: Table, tails: Table) -> float:
    """Give the greatest bound of the tasks bound to one machine, and of the mean load.

    Tasks with a single eligible machine form a one-machine problem with heads and tails, whose
    pre-emptive optimum is Jackson's schedule (Carlier 1982, "The one-machine sequencing problem").
    """
    bound = sum(min(row) for row in problem.durations) / problem.machines
    eligible = problem.eligible()
    for k in range(problem.machines):
        jobs = [
            (heads[v][k] - problem.durations[v][k], problem.durations[v][k], tails[v][k])
            for v in range(problem.tasks)
            if eligible[v] == [k]
        ]
        bound = max(bound, preemptive_one_machine(jobs))
    return bound


def preemptive_one_machine(jobs: list[tuple[float, float, float]]) -> float:
    """Give the optimum of jobs (release, length, tail) on one machine with pre-emption."""
    waiting = sorted(jobs, reverse=True)
    ready: list[tuple[float, float]] = []
    now = best = 0.0
    # Invariant: up to `now` the machine always ran the released job of the longest tail.
    while waiting or ready:
        if not ready:
            now = max(now, waiting[-1][0])
        while waiting and waiting[-1][0] <= now:
            _, length, tail = waiting.pop()
            heappush(ready, (-tail, length))
        if not ready:
            continue
        tail, length = heappop(ready)
        until = min(now + length, waiting[-1][0]) if waiting else now + length
        if until - now < length and waiting:
            heappush(ready, (tail, length - (until - now)))
        else:
            best = max(best, until - tail)
        now = until
    return best


def linear_bound(problem: HeterogeneousDag) -> float:
    """Give the linear relaxation of assignment, start times, communication and machine loads.

    Minimise T with x[v,k] the share of task v on machine k: start[w] >= start[v] + sum_k d[v,k]
    x[v,k] + c sum_k z[e,k], z[e,k] >= x[v,k] - x[w,k] (the share that changes machine), and
    sum_v d[v,k] x[v,k] <= T. Gives 0 where the program would exceed LINEAR_LIMIT variables or
    the solver stops without an optimum.
    """
    from scipy.optimize import linprog

    program = _LinearProgram(problem)
    if program.columns > LINEAR_LIMIT:
        return 0.0
    matrices = program.matrices()
    solved = linprog(**matrices, method="highs")
    if solved.status != 0:
        return 0.0
    # The solver is exact to about 1e-7; a bound must err downwards.
    return round_up(problem, float(solved.fun) * (1 - 1e-6))


class _LinearProgram:
    """Columns: T, start of every task, x per eligible pair, z per communicating edge and machine."""

    def __init__(self, problem: HeterogeneousDag) -> None:
        self.problem = problem
        self.share: dict[tuple[int, int], int] = {}
        self.columns = 1 + problem.tasks
        for v, machines in enumerate(problem.eligible()):
            for k in machines:
                self.share[v, k] = self.columns
                self.columns += 1
        self.away: dict[tuple[int, int], int] = {}
        for e, (u, _, seconds) in enumerate(problem.edges):
            for k in range(problem.machines):
                if seconds > 0 and (u, k) in self.share:
                    self.away[e, k] = self.columns
                    self.columns += 1
        self.rows: list[tuple[int, int, float]] = []
        self.height = 0

    def matrices(self) -> dict[str, object]:
        import numpy as np
        from scipy.sparse import coo_array

        self._precede()
        self._load()
        upper = coo_array(_columns(self.rows), shape=(self.height, self.columns))
        ones = [(v, column, 1.0) for (v, _), column in self.share.items()]
        equal = coo_array(_columns(ones), shape=(self.problem.tasks, self.columns))
        cost = np.zeros(self.columns)
        cost[0] = 1.0
        return {
            "c": cost,
            "A_ub": upper.tocsr(),
            "b_ub": np.zeros(self.height),
            "A_eq": equal.tocsr(),
            "b_eq": np.ones(self.problem.tasks),
            "bounds": (0, None),
        }

    def _row(self, terms: list[tuple[int, float]]) -> None:
        self.rows += [(self.height, column, value) for column, value in terms]
        self.height += 1

    def _time(self, v: int) -> list[tuple[int, float]]:
        row = self.problem.durations[v]
        return [(self.share[v, k], d) for k, d in enumerate(row) if d < math.inf]

    def _precede(self) -> None:
        for v in range(self.problem.tasks):
            self._row([(1 + v, 1.0), (0, -1.0), *self._time(v)])
        for e, (u, w, seconds) in enumerate(self.problem.edges):
            apart = [
                (self.away[e, k], seconds)
                for k in range(self.problem.machines)
                if (e, k) in self.away
            ]
            self._row([(1 + u, 1.0), (1 + w, -1.0), *self._time(u), *apart])
        for (e, k), column in self.away.items():
            u, w, _ = self.problem.edges[e]
            other = [(self.share[w, k], -1.0)] if (w, k) in self.share else []
            self._row([(self.share[u, k], 1.0), (column, -1.0), *other])

    def _load(self) -> None:
        for k in range(self.problem.machines):
            here = [
                (column, self.problem.durations[v][k])
                for (v, m), column in self.share.items()
                if m == k
            ]
            self._row([(0, -1.0), *here])


def _columns(
    rows: list[tuple[int, int, float]],
) -> tuple[list[float], tuple[list[int], list[int]]]:
    return [r[2] for r in rows], ([r[0] for r in rows], [r[1] for r in rows])
