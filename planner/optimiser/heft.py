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
from heapq import heappop, heappush

from .schedule import HeterogeneousDag, Schedule, topological_order

Table = list[list[float]]


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
    lookahead: Sequence[Sequence[float]] | None = None,
    allowed: Collection[int] | None = None,
) -> Schedule:
    """Place ready tasks, highest `priority` first, where end + `lookahead[task][machine]` is least.

    `allowed` restricts tasks to these machines, except tasks that none of them can run.
    """
    predecessors, successors = problem.predecessors(), problem.successors()
    choices = [_restrict(row, allowed) for row in problem.eligible()]
    machine, start, end = [-1] * problem.tasks, [0.0] * problem.tasks, [0.0] * problem.tasks
    busy: list[list[tuple[float, float]]] = [[] for _ in range(problem.machines)]
    waiting = [len(p) for p in predecessors]
    ready: list[tuple[float, int]] = []
    for v in range(problem.tasks):
        if not waiting[v]:
            heappush(ready, (-priority[v], v))
    # Invariant: placed tasks keep all constraints; `ready` holds those whose predecessors are done.
    while ready:
        v = heappop(ready)[1]
        best = (math.inf, math.inf, -1, 0.0)
        for k in choices[v]:
            arrival = 0.0
            for u, seconds in predecessors[v]:
                arrival = max(arrival, end[u] + (seconds if machine[u] != k else 0.0))
            begin = first_gap(busy[k], arrival, problem.durations[v][k])
            finish = begin + problem.durations[v][k]
            key = finish + (lookahead[v][k] if lookahead is not None else 0.0)
            best = min(best, (key, finish, k, begin))
        _, end[v], machine[v], start[v] = best
        insort(busy[machine[v]], (start[v], end[v]))
        for w, _ in successors[v]:
            waiting[w] -= 1
            if not waiting[w]:
                heappush(ready, (-priority[w], w))
    return Schedule(tuple(machine), tuple(start), max(end, default=0.0))


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
