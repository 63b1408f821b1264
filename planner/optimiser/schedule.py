"""Tasks with precedence on exclusive machines: the problem, a schedule, and an independent check.

A heterogeneous DAG (Topcuoglu, Hariri and Wu 2002, "Performance-effective and low-complexity task
scheduling for heterogeneous computing"): every task runs once, without interruption, on one
machine; a machine runs one task at a time; an edge costs its communication time only when its two
ends run on different machines. The flexible job shop is the special case of chains without
communication, where a machine that cannot run a task has the duration `math.inf`; the job shop is
the flexible one with a single finite duration per task.

`check` knows nothing of how schedules are made: it reads starts and machines only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gangline.ir.errors import ConfigError, PlanError

TOLERANCE = 1e-9
"""Relative slack of every comparison of sums of float times."""

Edge = tuple[int, int, float]


@dataclass(frozen=True, slots=True)
class HeterogeneousDag:
    """One job's tasks, what each costs on each machine, and what depends on what.

    `durations[task][machine]` in seconds, `math.inf` where the machine cannot run the task;
    `edges` are (from, to, communication seconds), the last paid between different machines only.
    Raises ConfigError for ragged, negative or unknown values, PlanError for a cyclic graph or a
    task that no machine can run.
    """

    durations: tuple[tuple[float, ...], ...]
    edges: tuple[Edge, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        _check_durations(self)
        _check_edges(self)
        topological_order(self)

    @property
    def tasks(self) -> int:
        return len(self.durations)

    @property
    def machines(self) -> int:
        return len(self.durations[0]) if self.durations else 0

    def eligible(self) -> list[list[int]]:
        """Give, for every task, the machines that can run it."""
        return [[k for k, d in enumerate(row) if d < math.inf] for row in self.durations]

    def predecessors(self) -> list[list[tuple[int, float]]]:
        """Give, for every task, (predecessor, communication seconds)."""
        found: list[list[tuple[int, float]]] = [[] for _ in self.durations]
        for source, target, seconds in self.edges:
            found[target].append((source, seconds))
        return found

    def successors(self) -> list[list[tuple[int, float]]]:
        """Give, for every task, (successor, communication seconds)."""
        found: list[list[tuple[int, float]]] = [[] for _ in self.durations]
        for source, target, seconds in self.edges:
            found[source].append((target, seconds))
        return found

    def is_integral(self) -> bool:
        """Tell whether all times are whole, so that an optimal makespan is whole too."""
        times = [d for row in self.durations for d in row if d < math.inf]
        times += [seconds for _, _, seconds in self.edges]
        return all(float(seconds).is_integer() for seconds in times)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Where and when every task runs, and what is known about the best possible makespan.

    `machine` and `start` (seconds) have one entry per task. `lower_bound` holds for every schedule
    of the problem; `proven` says that no schedule is shorter than this one.
    """

    machine: tuple[int, ...]
    start: tuple[float, ...]
    makespan: float
    lower_bound: float = 0.0
    proven: bool = False

    @property
    def gap(self) -> float:
        """Give how far the makespan may be above the optimum: makespan / lower bound - 1."""
        if self.makespan <= self.lower_bound:
            return 0.0
        return self.makespan / self.lower_bound - 1 if self.lower_bound > 0 else math.inf


def flexible_job_shop(
    jobs: Sequence[Sequence[Sequence[Sequence[float]]]], machines: int, name: str = ""
) -> HeterogeneousDag:
    """Make the problem of `jobs[job][operation] = [(machine, seconds), ...]`, in job order."""
    durations: list[tuple[float, ...]] = []
    edges: list[Edge] = []
    for j, job in enumerate(jobs):
        for i, choices in enumerate(job):
            where = f"job {j}, operation {i}"
            durations.append(_choice_row(choices, machines, where))
            if i:
                edges.append((len(durations) - 2, len(durations) - 1, 0.0))
    return HeterogeneousDag(tuple(durations), tuple(edges), name)


def _choice_row(choices: Sequence[Sequence[float]], machines: int, where: str) -> tuple[float, ...]:
    row = [math.inf] * machines
    for choice in choices:
        if len(choice) != 2 or choice[0] != int(choice[0]) or not 0 <= choice[0] < machines:
            raise ConfigError(
                f"a choice must be (machine, seconds) with a machine below {machines}, "
                f"not {tuple(choice)}",
                where=where,
            )
        row[int(choice[0])] = float(choice[1])
    return tuple(row)


def topological_order(problem: HeterogeneousDag) -> list[int]:
    """Give the tasks, every one after its predecessors; PlanError names a task on a cycle."""
    successors = problem.successors()
    waiting = [len(p) for p in problem.predecessors()]
    order = [v for v in range(problem.tasks) if not waiting[v]]
    # Invariant: every task in `order` has all its predecessors before it.
    for v in order:
        for w, _ in successors[v]:
            waiting[w] -= 1
            if not waiting[w]:
                order.append(w)
    if len(order) < problem.tasks:
        stuck = next(v for v in range(problem.tasks) if waiting[v])
        raise PlanError(
            "the tasks wait for each other in a circle",
            where=f"task {stuck}",
            next_step="Remove an edge of the cycle.",
        )
    return order


def check(problem: HeterogeneousDag, schedule: Schedule) -> None:
    """Refuse a schedule that no set of exclusive machines could run (PlanError says where).

    Looks at starts and machines alone: every task once on a machine that can run it, nothing
    before time zero, no overlap, every edge's delay kept, the makespan and the bound as stated.
    """
    if len(schedule.machine) != problem.tasks or len(schedule.start) != problem.tasks:
        raise PlanError(f"the schedule does not hold each of the {problem.tasks} tasks once")
    ends = [_end(problem, schedule, v) for v in range(problem.tasks)]
    slack = TOLERANCE * max(ends, default=0.0)
    _check_overlap(schedule, ends, slack)
    for u, v, seconds in problem.edges:
        ready = ends[u] + (seconds if schedule.machine[u] != schedule.machine[v] else 0.0)
        if schedule.start[v] < ready - slack:
            raise PlanError(
                f"it starts at {schedule.start[v]:g} but task {u}'s result arrives at {ready:g}",
                where=f"task {v}",
            )
    if abs(max(ends, default=0.0) - schedule.makespan) > slack:
        raise PlanError(f"the makespan is {max(ends, default=0.0):g}, not {schedule.makespan:g}")
    if schedule.lower_bound > schedule.makespan + slack:
        raise PlanError(
            f"the makespan {schedule.makespan:g} is below its bound {schedule.lower_bound:g}"
        )
    if schedule.proven and schedule.lower_bound < schedule.makespan - slack:
        raise PlanError("the makespan is called proven, but its lower bound is smaller")


def _end(problem: HeterogeneousDag, schedule: Schedule, task: int) -> float:
    machine, start = schedule.machine[task], schedule.start[task]
    if not 0 <= machine < problem.machines or problem.durations[task][machine] == math.inf:
        raise PlanError(f"machine {machine} cannot run it", where=f"task {task}")
    if not 0 <= start < math.inf:
        raise PlanError(f"it starts at {start}", where=f"task {task}")
    return start + problem.durations[task][machine]


def _check_overlap(schedule: Schedule, ends: list[float], slack: float) -> None:
    in_time = sorted(range(len(ends)), key=lambda v: (schedule.start[v], ends[v]))
    busy: dict[int, int] = {}
    # Invariant: busy[k] is the last task that machine k ran so far; it ends no earlier than others.
    for v in in_time:
        last = busy.get(schedule.machine[v])
        if last is not None and schedule.start[v] < ends[last] - slack:
            raise PlanError(
                f"it overlaps task {last} on machine {schedule.machine[v]}", where=f"task {v}"
            )
        busy[schedule.machine[v]] = v


def _is_time(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and value >= 0


def _check_durations(problem: HeterogeneousDag) -> None:
    for v, row in enumerate(problem.durations):
        where = f"task {v}"
        if len(row) != problem.machines:
            raise ConfigError(
                f"it has {len(row)} durations where task 0 has {problem.machines}",
                where=where,
                next_step="Give one duration per machine, inf where it cannot run.",
            )
        for k, seconds in enumerate(row):
            if not _is_time(seconds):
                raise ConfigError(
                    f"a duration must be a number of seconds from 0 up, not {seconds!r}",
                    where=f"{where}, machine {k}",
                )
        if not any(seconds < math.inf for seconds in row):
            raise PlanError(
                "no machine can run it", where=where, next_step="Add an eligible machine."
            )


def _check_edges(problem: HeterogeneousDag) -> None:
    for i, (source, target, seconds) in enumerate(problem.edges):
        where = f"edge {i}"
        for end in (source, target):
            if not isinstance(end, int) or isinstance(end, bool) or not 0 <= end < problem.tasks:
                raise ConfigError(
                    f"its end {end!r} is not a task (0 to {problem.tasks - 1})", where=where
                )
        if not _is_time(seconds) or seconds == math.inf:
            raise ConfigError(
                f"its communication must be finite seconds from 0 up, not {seconds!r}", where=where
            )
