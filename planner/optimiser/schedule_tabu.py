"""Tabu search on a machine order, and the ruin that moves it elsewhere.

The neighbourhood is that of Mastrolilli and Gambardella 2000: one task of a critical path to any
place on any machine, here valued exactly. Ruin and recreate (Schrimpf et al. 2000): related tasks
are all taken out and put back one by one where each lengthens the schedule least; it moves groups
that communication holds together, which single moves cannot.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

from .disjunctive_graph import DisjunctiveGraph, Move
from .schedule import TOLERANCE

SAMPLED = 6
"""Tasks of the critical path whose moves one iteration values: fewer, faster, less greedy."""
TENURE = (6, 10)
"""Iterations (from, to) for which a task may not return to the machine it left."""
PATIENCE = 10
"""Iterations without a new best after which one descent ends."""
RUINED = (4, 16)
"""Tasks (from, to) that one ruin takes out."""


@dataclass(slots=True)
class Budget:
    """CPU seconds of this process, or a number of iterations, which is the same on any machine.

    One iteration is one schedule: built by a list rule, or reached by a move.
    """

    cpu_s: float | None
    iterations: int | None
    used: int = 0
    begun: float = field(default_factory=time.process_time)

    def spend(self, count: int = 1) -> None:
        self.used += count

    def share(self) -> float:
        """Give the spent share of the budget, 0 to 1 and more."""
        if self.iterations is not None:
            return self.used / self.iterations if self.iterations else 1.0
        if not self.cpu_s:
            return 1.0
        return (time.process_time() - self.begun) / self.cpu_s


def tabu(
    graph: DisjunctiveGraph,
    rng: random.Random,
    budget: Budget,
    goal: float = 0.0,
    patience: int = PATIENCE,
) -> None:
    """Improve the graph in place; it ends at the best order seen.

    Stops after `patience` moves without a new best, at makespan `goal`, or with the budget.
    """
    best, best_state, last = graph.makespan, graph.snapshot(), 0
    barred: dict[tuple[int, int], int] = {}
    step = 0
    # Invariant: `best_state` has makespan `best`, the least seen, found at step `last`.
    while step - last < patience and best > goal and budget.share() < 1:
        step += 1
        budget.spend()
        move = choose(graph, rng, barred, step, best)
        if move is None:
            continue
        barred[move.task, graph.machine[move.task]] = step + rng.randint(*TENURE)
        graph.apply(move)
        if graph.makespan < best * (1 - TOLERANCE):
            best, best_state, last = graph.makespan, graph.snapshot(), step
    graph.restore(best_state)


def choose(
    graph: DisjunctiveGraph,
    rng: random.Random,
    barred: dict[tuple[int, int], int],
    step: int,
    best: float,
) -> Move | None:
    """Give the least makespan, then path, then chance; a barred move only if it sets a record."""
    path = graph.critical_path()
    if len(path) > SAMPLED:
        path = rng.sample(path, SAMPLED)
    record = best * (1 - TOLERANCE)
    chosen, key = None, (float("inf"), 0.0, 0.0)
    for v in path:
        for move in graph.moves(v, key[0]):
            if barred.get((v, move.machine), 0) > step and move.makespan >= record:
                continue
            candidate = (move.makespan, move.path, rng.random())
            if candidate < key:
                chosen, key = move, candidate
    return chosen


def ruin_and_recreate(graph: DisjunctiveGraph, rng: random.Random, budget: Budget) -> None:
    """Take related tasks out and put each back where the schedule grows least."""
    place = {v: i for i, v in enumerate(graph.order)}
    tasks = _related(graph, rng, min(rng.randint(*RUINED), len(graph.order)))
    graph.take_out(tasks)
    kind = rng.randrange(4)
    if kind < 2:
        rng.shuffle(tasks)
    else:
        tasks.sort(key=place.__getitem__, reverse=kind == 2)
    # Invariant: the graph is feasible; `tasks` before v are back on machines.
    for v in tasks:
        budget.spend()
        graph.apply(min(graph.moves(v), key=lambda m: (m.makespan, m.path, rng.random())))


def _related(graph: DisjunctiveGraph, rng: random.Random, size: int) -> list[int]:
    """Give tasks joined by arcs, or close in time, around a critical one; or any tasks."""
    kind = rng.random()
    if kind >= 0.7:
        return rng.sample(range(len(graph.order)), size)
    seed = rng.choice(graph.critical_path())
    if kind >= 0.4:
        blur = 0.1 * graph.makespan
        at = graph.end[seed]
        return sorted(graph.order, key=lambda u: abs(graph.end[u] - at) + blur * rng.random())[
            :size
        ]
    chosen = [seed]
    while len(chosen) < size:
        around = [u for v in chosen for u in graph.neighbours(v) if u not in chosen]
        if not around:
            return chosen
        chosen.append(rng.choice(around))
    return chosen
