"""A machine order as a disjunctive graph: heads, tails, critical path, exact value of each move.

Given a machine for every task and an order on every machine, the best starts are longest paths
(Roy and Sussmann 1964). Taking one critical task out and putting it back anywhere is the move of
Mastrolilli and Gambardella 2000 ("Effective neighbourhood functions for the flexible job shop
problem"); here with communication on edges, so it serves any heterogeneous DAG.
"""

# max() would be a call in the innermost loops: a third more time (measured).
# ruff: noqa: PLR1730, FURB136

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .schedule import TOLERANCE, HeterogeneousDag, Schedule, topological_order


class Move(NamedTuple):
    """Put `task` on `machine` before the task now at `position` (counted without `task`).

    `makespan` is exact; `path` is the longest path through the task, seconds.
    """

    makespan: float
    path: float
    task: int
    machine: int
    position: int


class DisjunctiveGraph:
    """A mutable, always feasible machine order with its longest paths.

    `end[v]` is the earliest end of a task, `rest[v]` the longest path from its start to the end of
    the schedule, both in seconds; `order` is topological for precedence and machine arcs together.
    """

    __slots__ = (
        "_at",
        "_durations",
        "_next",
        "_predecessors",
        "_previous",
        "_successors",
        "_waiting",
        "duration",
        "eligible",
        "end",
        "machine",
        "makespan",
        "order",
        "rest",
        "sequence",
        "start",
    )

    def __init__(self, problem: HeterogeneousDag, schedule: Schedule) -> None:
        self._durations = problem.durations
        self._predecessors = problem.predecessors()
        self._successors = problem.successors()
        self._waiting = [len(p) for p in self._predecessors]
        self.eligible = problem.eligible()
        tasks = problem.tasks
        self.end, self.rest = [0.0] * tasks, [0.0] * tasks
        self.order: list[int] = []
        self._at = [0] * tasks
        self.makespan = 0.0
        self._previous, self._next = [-1] * tasks, [-1] * tasks
        # Ties of zero-length tasks follow the precedence order.
        rank = {v: i for i, v in enumerate(topological_order(problem))}
        in_time = sorted(range(tasks), key=lambda v: (schedule.start[v], rank[v]))
        sequence: list[list[int]] = [[] for _ in range(problem.machines)]
        for v in in_time:
            sequence[schedule.machine[v]].append(v)
        self.restore((list(schedule.machine), sequence))

    def snapshot(self) -> tuple[list[int], list[list[int]]]:
        """Give the machine of each task and the order on each machine, for `restore`."""
        return self.machine[:], [row[:] for row in self.sequence]

    def restore(self, state: tuple[list[int], list[list[int]]]) -> None:
        """Return to a snapshot."""
        self.machine, self.sequence = state[0][:], [row[:] for row in state[1]]
        self.duration = [row[k] for row, k in zip(self._durations, self.machine, strict=True)]
        for row in self.sequence:
            for u, v in zip([-1, *row], [*row, -1], strict=True):
                if u >= 0:
                    self._next[u] = v
                if v >= 0:
                    self._previous[v] = u
        self._evaluate()

    def schedule(self) -> Schedule:
        """Give the semi-active schedule of this order."""
        return Schedule(tuple(self.machine), tuple(self.start), self.makespan)

    def _evaluate(self) -> None:
        """Recompute order, ends, rests and makespan from the machine order."""
        machine, duration, successors = self.machine, self.duration, self._successors
        following, preceding = self._next, self._previous
        start, waiting = [0.0] * len(machine), self._waiting[:]
        order: list[int] = []
        for v, count in enumerate(waiting):
            if preceding[v] >= 0:
                waiting[v] = count + 1
            elif not count:
                order.append(v)
        # Invariant: tasks in `order` have final starts and stand after all that they wait for.
        end = self.end
        for v in order:
            k = machine[v]
            done = end[v] = start[v] + duration[v]
            for w, seconds in successors[v]:
                ready = done if machine[w] == k else done + seconds
                if ready > start[w]:
                    start[w] = ready
                waiting[w] -= 1
                if not waiting[w]:
                    order.append(w)
            w = following[v]
            if w >= 0:
                if done > start[w]:
                    start[w] = done
                waiting[w] -= 1
                if not waiting[w]:
                    order.append(w)
        assert len(order) == len(machine), "a move closed a circle"
        self.order, self.start = order, start
        for i, v in enumerate(order):
            self._at[v] = i
        self.makespan = max(end, default=0.0)
        self._evaluate_rest()

    def _evaluate_rest(self) -> None:
        machine, duration, rest = self.machine, self.duration, self.rest
        successors, following = self._successors, self._next
        for v in reversed(self.order):
            w = following[v]
            k = machine[v]
            tail = rest[w] if w >= 0 else 0.0
            for w, seconds in successors[v]:
                after = rest[w] if machine[w] == k else rest[w] + seconds
                if after > tail:
                    tail = after
            rest[v] = tail + duration[v]

    def critical_path(self) -> list[int]:
        """Give one longest path, first task first."""
        slack = TOLERANCE * self.makespan
        v = max(range(len(self.end)), key=self.end.__getitem__)
        path = [v]
        # Invariant: `path` runs without a wait from its last task to the end of the schedule.
        while self.start[v] > slack:
            v = self._binding(v, self.start[v] - slack)
            path.append(v)
        return path[::-1]

    def _binding(self, v: int, start: float) -> int:
        """Give a task whose end (or arriving data) lets task v start no sooner than `start`."""
        before = self._previous[v]
        if before >= 0 and self.end[before] >= start:
            return before
        k = self.machine[v]
        return next(
            u
            for u, seconds in self._predecessors[v]
            if self.end[u] + (seconds if self.machine[u] != k else 0.0) >= start
        )

    def moves(self, v: int, at_most: float = math.inf) -> list[Move]:
        """Give the moves of one task: on each machine every place known feasible, exactly valued.

        A place is feasible when nothing before it follows the task and nothing after it precedes
        the task; both are told by times without the task (Mastrolilli and Gambardella, theorem 1)
        and by the topological order. Moves that make the makespan longer than `at_most` may be
        left out.
        """
        end, rest, without = self._without(v)
        found: list[Move] = []
        if without > at_most:
            return found
        away, arrival = self._latest(self._predecessors[v], end)
        beyond, departure = self._latest(self._successors[v], rest)
        here, at, durations = self._at[v], self._at, self._durations[v]
        for k in self.eligible[v]:
            seconds = durations[k]
            ready, after = arrival.get(k, away), departure.get(k, beyond)
            if ready + seconds + after > at_most:
                continue
            row, now = self.sequence[k], -1
            if k == self.machine[v]:
                now = row.index(v)
                row = row[:now] + row[now + 1 :]
            # Ends grow along a row and rests shrink: tasks that end after `ready` (they cannot
            # precede v) are a suffix, tasks with more than `after` to go (they cannot follow v) a
            # prefix; `place` is where the topological order would put v.
            late, long, place = _window(row, ready, after, here, end, rest, at)
            for i in range(min(late, place), max(long, place) + 1):
                if i == now:
                    continue
                begin, tail = ready, after
                if i and end[row[i - 1]] > begin:
                    begin = end[row[i - 1]]
                if i < len(row) and rest[row[i]] > tail:
                    tail = rest[row[i]]
                path = begin + seconds + tail
                if path > at_most:
                    continue
                found.append(Move(path if path > without else without, path, v, k, i))
        return found

    def _latest(
        self, neighbours: list[tuple[int, float]], times: Sequence[float]
    ) -> tuple[float, dict[int, float]]:
        """Give the latest time plus communication: for most machines, and where a neighbour is."""
        machine, away = self.machine, 0.0
        for u, seconds in neighbours:
            if times[u] + seconds > away:
                away = times[u] + seconds
        special: dict[int, float] = {}
        for u, seconds in neighbours:
            k = machine[u]
            if seconds and k not in special:
                special[k] = max(
                    times[w] if machine[w] == k else times[w] + c for w, c in neighbours
                )
        return away, special

    def _without(self, v: int) -> tuple[list[float], list[float], float]:
        """Give ends, rests and makespan of the graph without task v and its arcs."""
        before, behind = self._previous[v], self._next[v]
        if before >= 0:
            self._next[before] = behind
        if behind >= 0:
            self._previous[behind] = before
        end, rest = self.end[:], self.rest[:]
        end[v] = rest[v] = -math.inf
        self._lower_ends(v, behind, end)
        self._lower_rests(v, before, rest)
        if before >= 0:
            self._next[before] = v
        if behind >= 0:
            self._previous[behind] = v
        return end, rest, max(end)

    def _lower_ends(self, v: int, behind: int, end: list[float]) -> None:
        """Recompute the ends after task v that change when it is gone."""
        machine, duration = self.machine, self.duration
        predecessors, successors, preceding = self._predecessors, self._successors, self._previous
        changed = bytearray(len(machine) + 1)  # the last byte stands for "no task" (-1)
        changed[behind] = 1
        for w, _ in successors[v]:
            changed[w] = 1
        # Invariant: ends before `w` in the order are those without v; `changed` marks all tasks
        # with a direct predecessor whose end has changed.
        for w in self.order[self._at[v] + 1 :]:
            if not changed[w]:
                continue
            u, k = preceding[w], machine[w]
            start = end[u] if u >= 0 else 0.0
            for u, seconds in predecessors[w]:
                ready = end[u] if machine[u] == k else end[u] + seconds
                if ready > start:
                    start = ready
            start += duration[w]
            if start != end[w]:
                end[w] = start
                changed[self._next[w]] = 1
                for u, _ in successors[w]:
                    changed[u] = 1

    def _lower_rests(self, v: int, before: int, rest: list[float]) -> None:
        """Recompute the rests before task v that change when it is gone: the mirror image."""
        machine, duration = self.machine, self.duration
        predecessors, successors, following = self._predecessors, self._successors, self._next
        changed = bytearray(len(machine) + 1)
        changed[before] = 1
        for w, _ in predecessors[v]:
            changed[w] = 1
        for w in reversed(self.order[: self._at[v]]):
            if not changed[w]:
                continue
            u, k = following[w], machine[w]
            tail = rest[u] if u >= 0 else 0.0
            for u, seconds in successors[w]:
                after = rest[u] if machine[u] == k else rest[u] + seconds
                if after > tail:
                    tail = after
            tail += duration[w]
            if tail != rest[w]:
                rest[w] = tail
                changed[self._previous[w]] = 1
                for u, _ in predecessors[w]:
                    changed[u] = 1

    def neighbours(self, v: int) -> list[int]:
        """Give the tasks joined to a task by precedence or by its machine's order."""
        found = [u for u, _ in self._predecessors[v]] + [u for u, _ in self._successors[v]]
        return found + [u for u in (self._previous[v], self._next[v]) if u >= 0]

    def take_out(self, tasks: list[int]) -> None:
        """Take tasks off their machines; precedence still holds them. Put each back by `apply`."""
        for v in tasks:
            self._unlink(v)
            self.machine[v] = -1
        self._evaluate()

    def _unlink(self, v: int) -> None:
        before, behind = self._previous[v], self._next[v]
        self.sequence[self.machine[v]].remove(v)
        if before >= 0:
            self._next[before] = behind
        if behind >= 0:
            self._previous[behind] = before
        self._previous[v] = self._next[v] = -1

    def apply(self, move: Move) -> None:
        """Make a move of `moves` and recompute the longest paths."""
        v, new = move.task, move.machine
        if self.machine[v] >= 0:
            self._unlink(v)
        row = self.sequence[new]
        before = row[move.position - 1] if move.position else -1
        behind = row[move.position] if move.position < len(row) else -1
        row.insert(move.position, v)
        self._previous[v], self._next[v] = before, behind
        if before >= 0:
            self._next[before] = v
        if behind >= 0:
            self._previous[behind] = v
        self.machine[v], self.duration[v] = new, self._durations[v][new]
        self._evaluate()


def _window(
    row: list[int],
    ready: float,
    after: float,
    here: int,
    end: list[float],
    rest: list[float],
    at: list[int],
) -> tuple[int, int, int]:
    late = place = 0
    long = count = len(row)
    while late < count and end[row[late]] <= ready:
        late += 1
    while long and rest[row[long - 1]] <= after:
        long -= 1
    while place < count and at[row[place]] < here:
        place += 1
    return late, long, place
