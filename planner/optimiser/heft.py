"""List scheduling on unequal machines: HEFT and its lookahead variant PEFT, as starting points.

HEFT: Topcuoglu, Hariri and Wu, IEEE TPDS 13(3), 2002: tasks by upward rank, each to the machine
where it finishes first, also in gaps between tasks already placed. PEFT: Arabnejad and Barbosa,
IEEE TPDS 25(3), 2014: an optimistic cost table looks ahead to the exit task. Both serve here as
starts of `schedule_search` and as peers in the benchmark.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Collection, Sequence
from heapq import heapify, heappop, heappush

from .schedule import HeterogeneousDag, Schedule, topological_order

Table = list[list[float]]
Costs = Sequence[Sequence[float]]


def heft(problem: HeterogeneousDag) -> Schedule:
    """Schedule by upward rank and earliest finish."""
    return list_schedule(problem, upward_rank(problem))


def peft(problem: HeterogeneousDag) -> Schedule:
    """Schedule by mean optimistic cost and earliest finish plus optimistic cost."""
    table = optimistic_cost(problem)
    rank = [_mean(row, choices) for row, choices in zip(table, problem.eligible(), strict=True)]
    return list_schedule(problem, rank, table)


def upward_rank(problem: HeterogeneousDag) -> list[float]:
    """Give each task's mean remaining path in seconds (HEFT, equation 8), means over eligible."""
    successors, eligible = problem.successors(), problem.eligible()
    rank = [0.0] * problem.tasks
    for v in reversed(topological_order(problem)):
        rest = max((seconds + rank[w] for w, seconds in successors[v]), default=0.0)
        rank[v] = _mean(problem.durations[v], eligible[v]) + rest
    return rank


def optimistic_cost(problem: HeterogeneousDag) -> Table:
    """Give [task][machine]: seconds after the task's end at least, free machines (PEFT, eq. 6).

    This is a lower bound of the rest of the schedule when the task runs on that machine.
    """
    successors, eligible = problem.successors(), problem.eligible()
    table = [[0.0] * problem.machines for _ in range(problem.tasks)]
    for v in reversed(topological_order(problem)):
        for w, seconds in successors[v]:
            rest = {m: table[w][m] + problem.durations[w][m] for m in eligible[w]}
            away = min(rest.values()) + seconds
            for k in range(problem.machines):
                table[v][k] = max(table[v][k], min(away, rest.get(k, math.inf)))
    return table


def list_schedule(
    problem: HeterogeneousDag,
    priority: Sequence[float],
    lookahead: Costs | None = None,
    allowed: Collection[int] | None = None,
) -> Schedule:
    """Place ready tasks, highest `priority` first, where end + `lookahead[task][machine]` is least.

    `allowed` restricts tasks to these machines, except tasks that none of them can run.
    """
    successors, waiting = problem.successors(), [len(p) for p in problem.predecessors()]
    placing = _Placing(problem, lookahead)
    choices = [_restrict(row, allowed) for row in problem.eligible()]
    ready = [(-priority[v], v) for v in range(problem.tasks) if not waiting[v]]
    heapify(ready)
    # Invariant: placed tasks keep all constraints; `ready` holds those whose predecessors are done.
    while ready:
        v = heappop(ready)[1]
        placing.place(v, choices[v])
        for w, _ in successors[v]:
            waiting[w] -= 1
            if not waiting[w]:
                heappush(ready, (-priority[w], w))
    return Schedule(tuple(placing.machine), tuple(placing.start), max(placing.end, default=0.0))


class _Placing:
    """A schedule in the making: where and when the placed tasks run, and each machine's times."""

    def __init__(self, problem: HeterogeneousDag, lookahead: Costs | None) -> None:
        self.durations, self.lookahead = problem.durations, lookahead
        self.predecessors = problem.predecessors()
        self.machine = [-1] * problem.tasks
        self.start, self.end = [0.0] * problem.tasks, [0.0] * problem.tasks
        self.busy: list[list[tuple[float, float]]] = [[] for _ in range(problem.machines)]

    def place(self, v: int, choices: Sequence[int]) -> None:
        """Put a task where its end plus lookahead is least, the first such machine on ties."""
        best = (math.inf, math.inf, -1, 0.0)
        for k in choices:
            arrival = 0.0
            for u, seconds in self.predecessors[v]:
                arrival = max(arrival, self.end[u] + (seconds if self.machine[u] != k else 0.0))
            begin = first_gap(self.busy[k], arrival, self.durations[v][k])
            finish = begin + self.durations[v][k]
            key = finish + (self.lookahead[v][k] if self.lookahead is not None else 0.0)
            best = min(best, (key, finish, k, begin))
        _, self.end[v], self.machine[v], self.start[v] = best
        insort(self.busy[self.machine[v]], (self.start[v], self.end[v]))


def first_gap(busy: Sequence[tuple[float, float]], arrival: float, seconds: float) -> float:
    """Give the earliest start from `arrival` on where `seconds` fit between sorted intervals."""
    begin = arrival
    # Invariant: the task does not fit before `begin`.
    for taken_from, taken_to in busy:
        if begin + seconds <= taken_from:
            return begin
        begin = max(begin, taken_to)
    return begin


def _restrict(choices: list[int], allowed: Collection[int] | None) -> list[int]:
    if allowed is None:
        return choices
    return [k for k in choices if k in allowed] or choices


def _mean(row: Sequence[float], choices: Sequence[int]) -> float:
    return sum(row[k] for k in choices) / len(choices)
