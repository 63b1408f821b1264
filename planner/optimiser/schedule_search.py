"""The shortest schedule on exclusive machines within a budget, with a proven lower bound.

Bounds first; HEFT and PEFT; randomised list schedules; branch and bound where the problem is
small; then tabu search with ruin and recreate from a pool of good schedules. What wins where, and
what else was tried: docs/decisions/0014-schedules-on-exclusive-devices.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace

from gangline.ir.errors import ConfigError

from .disjunctive_graph import DisjunctiveGraph
from .heft import heft, list_schedule, optimistic_cost, peft, upward_rank
from .schedule import TOLERANCE, HeterogeneousDag, Schedule
from .schedule_bound import linear_bound, lower_bound
from .schedule_exact import BranchAndBound
from .schedule_tabu import PATIENCE, Budget, ruin_and_recreate, tabu

EXACT_TASKS = 20
"""Most tasks that branch and bound is tried on; 12 take it about 0.1 s."""
EXACT_SHARE, SAMPLE_SHARE, DESCENT_SHARE = 0.4, 0.15, 0.4
"""Shares of the budget by whose end branch and bound, sampling and the first descents stop."""
NODES_PER_ITERATION = 10
"""Branch-and-bound nodes that cost about as much as one iteration of the search."""
POOL = 8
"""Schedules the search goes on from."""

State = tuple[float, tuple[list[int], list[list[int]]]]


def schedule(
    problem: HeterogeneousDag,
    budget_s: float = 1.0,
    *,
    iterations: int | None = None,
    seed: int = 0,
) -> Schedule:
    """Give the best schedule found, its lower bound, and whether it is proven optimal.

    Stops after `budget_s` CPU seconds of this process (about; one bound or move may overrun it),
    or after `iterations` schedules looked at, and then the same seed gives the same schedule
    everywhere. Never worse than HEFT. Raises ConfigError for a budget below zero.
    """
    if budget_s < 0 or (iterations is not None and iterations < 0):
        raise ConfigError("the budget must not be below zero", where="schedule")
    if not problem.tasks:
        return Schedule((), (), 0.0, proven=True)
    budget = Budget(None if iterations is not None else budget_s, iterations)
    best = min(heft(problem), peft(problem), key=_makespan)
    bound = lower_bound(problem)
    if not _reached(best, bound):
        bound = max(bound, linear_bound(problem))
    if not _reached(best, bound) and problem.tasks <= EXACT_TASKS:
        best, bound = _exact(problem, best, bound, budget)
    if not _reached(best, bound):
        best = _Search(problem, bound, budget, random.Random(seed)).run()
    proven = _reached(best, bound)
    return replace(best, lower_bound=best.makespan if proven else bound, proven=proven)


def _makespan(found: Schedule) -> float:
    return found.makespan


def _reached(found: Schedule, bound: float) -> bool:
    return found.makespan <= bound * (1 + TOLERANCE)


def _exact(
    problem: HeterogeneousDag, best: Schedule, bound: float, budget: Budget
) -> tuple[Schedule, float]:
    """Give the best schedule of a bounded branch and bound, and the bound it proves."""
    search = BranchAndBound(problem, best, bound)
    if budget.iterations is not None:
        nodes = int(EXACT_SHARE * budget.iterations * NODES_PER_ITERATION)
        proof = search.run(nodes)
    else:
        proof = search.run(2**62, time.process_time() + EXACT_SHARE * (budget.cpu_s or 0.0))
    budget.spend(proof.nodes // NODES_PER_ITERATION)
    return proof.schedule, proof.schedule.makespan if proof.complete else bound


class _Search:
    """A pool of machine orders, each improved from itself; the worse ones less often."""

    def __init__(
        self, problem: HeterogeneousDag, bound: float, budget: Budget, rng: random.Random
    ) -> None:
        self.problem, self.bound, self.budget, self.rng = problem, bound, budget, rng
        self.goal = bound * (1 + TOLERANCE)

    def run(self) -> Schedule:
        starts = self._starts()
        graph = DisjunctiveGraph(self.problem, starts[0])
        pool: list[State] = [(graph.makespan, graph.snapshot())]
        for start in starts[1:]:
            graph = DisjunctiveGraph(self.problem, start)
            pool.append((graph.makespan, graph.snapshot()))
        self._descend(graph, pool)
        self._travel(graph, pool)
        graph.restore(min(pool, key=lambda state: state[0])[1])
        return graph.schedule()

    def _starts(self) -> list[Schedule]:
        """Give HEFT, PEFT and the best different randomised list schedules."""
        found = {s.makespan: s for s in (peft(self.problem), heft(self.problem))}
        for sample in self._samples():
            if min(found) <= self.goal or self.budget.share() >= SAMPLE_SHARE:
                break
            self.budget.spend()
            found.setdefault(sample.makespan, sample)
            if len(found) > 4 * POOL:
                found = {key: found[key] for key in sorted(found)[:POOL]}
        return [found[key] for key in sorted(found)[:POOL]]

    def _samples(self) -> Iterator[Schedule]:
        """Yield list schedules with noisy priorities, some lookahead, some machines left out."""
        rng, table = self.rng, optimistic_cost(self.problem)
        ranks = upward_rank(self.problem), [sum(row) / len(row) for row in table]
        machines = range(self.problem.machines)
        while True:
            noise, weight = rng.choice((0.0, 0.1, 0.3)), rng.choice((0.0, 0.5, 0.8, 1.0))
            priority = [rank * (1 + rng.uniform(-noise, noise)) for rank in rng.choice(ranks)]
            lookahead = [[weight * c for c in row] for row in table] if weight else None
            allowed = None
            if rng.random() < 0.5:
                allowed = set(rng.sample(machines, rng.randint(1, len(machines))))
            yield list_schedule(self.problem, priority, lookahead, allowed)

    def _descend(self, graph: DisjunctiveGraph, pool: list[State]) -> None:
        """Improve each schedule of the pool once, best first."""
        for i, (_, state) in enumerate(pool):
            if self.budget.share() >= DESCENT_SHARE:
                return
            graph.restore(state)
            tabu(graph, self.rng, self.budget, self.goal, 4 * PATIENCE)
            pool[i] = graph.makespan, graph.snapshot()

    def _travel(self, graph: DisjunctiveGraph, pool: list[State]) -> None:
        """Ruin and improve schedules of the pool, keeping what is not clearly worse."""
        best = min(pool, key=lambda state: state[0])
        # Invariant: `best` is the shortest schedule ever in the pool.
        while best[0] > self.goal and self.budget.share() < 1:
            pool.sort(key=lambda state: state[0])
            i = min(int(self.rng.expovariate(0.7)), len(pool) - 1)
            graph.restore(pool[i][1])
            ruin_and_recreate(graph, self.rng, self.budget)
            tabu(graph, self.rng, self.budget, self.goal)
            if graph.makespan <= pool[i][0] * (1 + 0.01 * self.rng.random() ** 2):
                pool[i] = graph.makespan, graph.snapshot()
            if graph.makespan < best[0]:
                best = graph.makespan, graph.snapshot()
        pool.append(best)
