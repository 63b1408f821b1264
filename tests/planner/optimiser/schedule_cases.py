"""Random small scheduling problems and an oracle that tries every schedule."""

from __future__ import annotations

import math
import random

from gangline.planner.optimiser.schedule import Edge, HeterogeneousDag


def random_dag(
    seed: int, tasks: int, machines: int, whole: bool = True, density: float = 0.35
) -> HeterogeneousDag:
    """Draw a problem with ineligible machines, zero durations and free edges among the rest."""
    rng = random.Random(seed)

    def seconds(most: int) -> float:
        return float(rng.randint(0, most)) if whole else rng.uniform(0, most)

    rows = []
    for _ in range(tasks):
        row = [seconds(9) if rng.random() < 0.8 else math.inf for _ in range(machines)]
        row[rng.randrange(machines)] = seconds(9)
        rows.append(tuple(row))
    edges: list[Edge] = [
        (u, v, seconds(8)) for v in range(tasks) for u in range(v) if rng.random() < density
    ]
    relabel = list(range(tasks))
    rng.shuffle(relabel)  # task numbers must not be a topological order by themselves
    shuffled = sorted(range(tasks), key=relabel.__getitem__)
    return HeterogeneousDag(
        tuple(rows[v] for v in shuffled), tuple((relabel[u], relabel[v], c) for u, v, c in edges)
    )


def optimum(problem: HeterogeneousDag) -> float:
    """Give the least makespan over every assignment and every order of appending the tasks."""
    predecessors = problem.predecessors()
    best = math.inf

    def extend(done: dict[int, tuple[int, float]], free: list[float]) -> None:
        nonlocal best
        if len(done) == problem.tasks:
            best = min(best, max(free))
            return
        for v in range(problem.tasks):
            if v in done or any(u not in done for u, _ in predecessors[v]):
                continue
            for k, duration in enumerate(problem.durations[v]):
                if duration == math.inf:
                    continue
                start = free[k]
                for u, seconds in predecessors[v]:
                    start = max(start, done[u][1] + (seconds if done[u][0] != k else 0.0))
                after = free[:]
                after[k] = start + duration
                extend({**done, v: (k, after[k])}, after)

    extend({}, [0.0] * problem.machines)
    return best
