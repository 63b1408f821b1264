"""Tabu ends at the best order it saw, bars the way back; ruin moves groups of tasks."""

from __future__ import annotations

import random

import pytest

from gangline.planner.optimiser.disjunctive_graph import DisjunctiveGraph, Move
from gangline.planner.optimiser.heft import heft
from gangline.planner.optimiser.schedule import HeterogeneousDag, Schedule, check
from gangline.planner.optimiser.schedule_tabu import (
    Budget,
    choose,
    ruin_and_recreate,
    tabu,
)

from .schedule_cases import random_dag


def _graph(seed: int) -> tuple[HeterogeneousDag, DisjunctiveGraph]:
    problem = random_dag(seed, tasks=25, machines=4, whole=False, density=0.1)
    return problem, DisjunctiveGraph(problem, heft(problem))


def test_barred_moves_are_made_only_for_a_record() -> None:
    problem, graph = _graph(1)
    barred = {(v, k): 99 for v in range(problem.tasks) for k in range(problem.machines)}
    assert choose(graph, random.Random(0), barred, 5, 0.0) is None
    assert choose(graph, random.Random(0), barred, 5, 1e9) is not None
    assert choose(graph, random.Random(0), barred, 99, 0.0) is not None  # the bar has ended


def test_a_task_does_not_return_at_once_to_the_machine_it_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, graph = _graph(2)
    left: list[tuple[int, int]] = []
    record = graph.makespan
    apply = DisjunctiveGraph.apply

    def watched(self: DisjunctiveGraph, move: Move) -> None:
        nonlocal record
        task, machine = move.task, move.machine
        left.append((task, self.machine[task]))
        apply(self, move)
        if self.makespan >= record:
            assert (task, machine) not in left[-6:-1]
        record = min(record, self.makespan)

    monkeypatch.setattr(DisjunctiveGraph, "apply", watched)
    tabu(graph, random.Random(0), Budget(None, 60), patience=60)
    assert len(left) > 40


@pytest.mark.parametrize("seed", range(5))
def test_tabu_ends_at_the_best_order_it_saw(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, graph = _graph(seed)
    seen = [graph.makespan]
    apply = DisjunctiveGraph.apply

    def watched(self: DisjunctiveGraph, move: Move) -> None:
        apply(self, move)
        seen.append(self.makespan)

    monkeypatch.setattr(DisjunctiveGraph, "apply", watched)
    budget = Budget(None, 80)
    tabu(graph, random.Random(seed), budget, patience=80)
    assert budget.used == 80
    check(problem, graph.schedule())
    assert graph.makespan == pytest.approx(min(seen))
    assert len(seen) > 40


def test_tabu_stops_at_the_goal() -> None:
    _, graph = _graph(3)
    budget = Budget(None, 80)
    tabu(graph, random.Random(0), budget, goal=graph.makespan)
    assert budget.used == 0


def test_ruin_changes_the_order_and_stays_feasible() -> None:
    problem, graph = _graph(4)
    rng = random.Random(0)
    changed = 0
    for _ in range(30):
        before = graph.snapshot()
        ruin_and_recreate(graph, rng, Budget(None, 10**6))
        check(problem, graph.schedule())
        assert sorted(v for row in graph.sequence for v in row) == list(range(problem.tasks))
        changed += graph.snapshot() != before
    assert changed > 15


def test_ruin_moves_a_group_that_communication_holds_together() -> None:
    # Two chained tasks on the slow machine: moving either alone pays 10, both together gain.
    problem = HeterogeneousDag(((4.0, 1.0), (4.0, 1.0)), ((0, 1, 10.0),))
    graph = DisjunctiveGraph(problem, Schedule((0, 0), (0.0, 4.0), 8.0))
    assert min(m.makespan for v in (0, 1) for m in graph.moves(v)) > 8
    rng = random.Random(0)
    found = []
    for _ in range(10):
        ruin_and_recreate(graph, rng, Budget(None, 100))
        found.append(graph.makespan)
    assert min(found) == 2.0


def test_a_budget_of_nothing_is_spent() -> None:
    assert Budget(None, 0).share() >= 1
    assert Budget(0.0, None).share() >= 1
    half = Budget(None, 10)
    half.spend(5)
    assert half.share() == 0.5
