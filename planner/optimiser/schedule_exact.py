"""Branch and bound for small problems: appends tasks, prunes by bounds and by dominated states.

Every semi-active schedule arises by appending tasks in the order of their starts, each to the end
of its machine. A state is what the remaining tasks can see: when each machine is free and when
the data of each task arrive on each machine; a state no better in any of these than another one
of the same task set is dropped (Jouglet and Carlier 2011, "Dominance rules in combinatorial
optimization problems").
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

from .heft import optimistic_cost
from .schedule import TOLERANCE, HeterogeneousDag, Schedule, topological_order

KEPT_STATES = 100_000
"""Most states remembered for dominance; beyond, the search goes on without remembering more."""


class Proof(NamedTuple):
    """The best schedule found and whether the search ended, which proves it optimal."""

    schedule: Schedule
    complete: bool
    nodes: int


class _State(NamedTuple):
    """Partial schedule: tasks done (bits), machine-free times, and the data arrivals so far."""

    done: int
    free: tuple[float, ...]
    arrival: tuple[tuple[float, ...], ...]  # [task][machine], of undone tasks; else empty
    placed: tuple[tuple[int, int, float], ...]  # task, machine, start


class BranchAndBound:
    """Depth-first search for a shorter schedule than the one given, until none can exist."""

    def __init__(self, problem: HeterogeneousDag, incumbent: Schedule, lower_bound: float) -> None:
        self.problem = problem
        self.best = incumbent
        self.lower_bound = lower_bound
        self.nodes = 0
        self.eligible = problem.eligible()
        self.predecessors = problem.predecessors()
        self.successors = problem.successors()
        self.order = topological_order(problem)
        self.tails = optimistic_cost(problem)
        self.shortest = [min(row) for row in problem.durations]
        self.needs = [sum(1 << u for u in {u for u, _ in p}) for p in self.predecessors]
        self.seen: dict[int, list[tuple[float, ...]]] = {}
        self.kept = 0
        self.whole = problem.is_integral()

    def run(self, max_nodes: int, cpu_deadline: float = math.inf) -> Proof:
        """Search until done, `max_nodes`, or `time.process_time()` reaches `cpu_deadline`."""
        idle = tuple(0.0 for _ in range(self.problem.machines))
        stack = [(0.0, _State(0, idle, tuple(idle for _ in self.order), ()))]
        # Invariant: a schedule shorter than `best` continues a state of the stack, or there is none.
        while stack and not self._good_enough(self.lower_bound):
            bound, state = stack.pop()
            if self._good_enough(bound):
                continue
            self.nodes += 1
            if self.nodes > max_nodes or (
                not self.nodes % 64 and time.process_time() > cpu_deadline
            ):
                return Proof(self.best, False, self.nodes)
            if len(state.placed) == self.problem.tasks:
                self._keep(state)
            elif not self._dominated(state):
                stack += sorted(self._children(state), key=lambda child: -child[0])
        return Proof(self.best, True, self.nodes)

    def _good_enough(self, bound: float) -> bool:
        """Tell whether a state of this bound cannot improve on the best schedule."""
        slack = TOLERANCE * self.best.makespan
        if self.whole:  # the next better makespan is a whole second less
            return bound > self.best.makespan - 1 + slack
        return bound >= self.best.makespan - slack

    def _keep(self, state: _State) -> None:
        placed = sorted(state.placed)
        self.best = Schedule(
            tuple(k for _, k, _ in placed), tuple(s for _, _, s in placed), max(state.free)
        )

    def _children(self, state: _State) -> list[tuple[float, _State]]:
        children = []
        for v in self.order:
            if state.done >> v & 1 or self.needs[v] & ~state.done:
                continue
            for k in self.eligible[v]:
                child = self._append(state, v, k)
                bound = self._bound(child)
                if not self._good_enough(bound):
                    children.append((bound, child))
        return children

    def _append(self, state: _State, v: int, k: int) -> _State:
        start = max(state.free[k], state.arrival[v][k])
        end = start + self.problem.durations[v][k]
        free = (*state.free[:k], end, *state.free[k + 1 :])
        arrival = list(state.arrival)
        arrival[v] = ()
        for w, seconds in self.successors[v]:
            arrival[w] = tuple(
                max(at, end if m == k else end + seconds) for m, at in enumerate(arrival[w])
            )
        return _State(state.done | 1 << v, free, tuple(arrival), (*state.placed, (v, k, start)))

    def _bound(self, state: _State) -> float:
        """Give the greatest of: each undone task's earliest end plus tail, the mean load, the end."""
        durations, free = self.problem.durations, state.free
        bound = max(free)
        load = sum(free)
        ends: dict[int, dict[int, float]] = {}
        for v in self.order:
            if state.done >> v & 1:
                continue
            load += self.shortest[v]
            waits = [
                (ends[u], s + min(ends[u].values())) for u, s in self.predecessors[v] if u in ends
            ]
            here, through = {}, math.inf
            for k in self.eligible[v]:
                begin = max(free[k], state.arrival[v][k])
                for known, away in waits:
                    begin = max(begin, min(known.get(k, math.inf), away))
                here[k] = begin + durations[v][k]
                through = min(through, here[k] + self.tails[v][k])
            ends[v] = here
            bound = max(bound, through)
        return max(bound, load / len(free))

    def _dominated(self, state: _State) -> bool:
        view = list(state.free)
        for v in self.order:
            if not state.done >> v & 1 and self.needs[v] & state.done:
                view += [max(state.free[k], state.arrival[v][k]) for k in self.eligible[v]]
        vector = tuple(view)
        rivals = self.seen.setdefault(state.done, [])
        for rival in rivals:
            if all(a <= b for a, b in zip(rival, vector, strict=True)):
                return True
        if self.kept < KEPT_STATES:
            self.kept += 1
            rivals.append(vector)
        return False
