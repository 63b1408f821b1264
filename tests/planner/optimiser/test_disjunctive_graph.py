"""The graph's longest paths and the value of every move agree with doing it."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from gangline.planner.optimiser.disjunctive_graph import DisjunctiveGraph
from gangline.planner.optimiser.heft import heft
from gangline.planner.optimiser.schedule import HeterogeneousDag, Schedule, check

from .schedule_cases import random_dag


def _graph(seed: int, tasks: int = 14) -> tuple[HeterogeneousDag, DisjunctiveGraph]:
    problem = random_dag(seed, tasks, machines=3, whole=seed % 2 == 0)
    return problem, DisjunctiveGraph(problem, heft(problem))


@pytest.mark.parametrize("seed", range(12))
def test_every_move_is_feasible_and_worth_what_it_says(seed: int) -> None:
    problem, graph = _graph(seed)
    rng = random.Random(seed)
    for _ in range(6):
        before = graph.snapshot()
        moves = [move for v in range(problem.tasks) for move in graph.moves(v)]
        for move in moves:
            graph.apply(move)
            check(problem, graph.schedule())
            assert graph.snapshot() != before
            assert graph.makespan == pytest.approx(move.makespan)
            graph.restore(before)
        graph.apply(rng.choice(moves))


@pytest.mark.parametrize("seed", range(12))
def test_tasks_taken_out_come_back_feasibly(seed: int) -> None:
    problem, graph = _graph(seed)
    rng = random.Random(seed)
    for _ in range(5):
        out = rng.sample(range(problem.tasks), 6)
        graph.take_out(out)
        for v in out:
            graph.apply(rng.choice(graph.moves(v)))
        check(problem, graph.schedule())


def test_no_place_of_a_critical_task_is_better_than_its_moves_and_its_place_now() -> None:
    for seed in range(8):
        problem, graph = _graph(seed, tasks=8)
        before = graph.snapshot()
        for v in graph.critical_path():
            least = min([graph.makespan, *(move.makespan for move in graph.moves(v))])
            for makespan in _all_places(problem, before, v):
                assert least <= makespan + 1e-9


def _all_places(
    problem: HeterogeneousDag, state: tuple[list[int], list[list[int]]], v: int
) -> list[float]:
    """Give the makespan of each place of task v that closes no circle and differs from now."""
    found = []
    for k in problem.eligible()[v]:
        rows = [[u for u in row if u != v] for row in state[1]]
        for i in range(len(rows[k]) + 1):
            rows[k].insert(i, v)
            if rows != state[1]:
                found += _makespan(problem, rows)
            rows[k].pop(i)
    return found


def _makespan(problem: HeterogeneousDag, rows: list[list[int]]) -> list[float]:
    machine = {v: k for k, row in enumerate(rows) for v in row}
    end: dict[int, float] = {}
    left = [row[:] for row in rows]
    moved = True
    while moved:
        moved = False
        for row in left:
            if row and all(u in end for u, _ in problem.predecessors()[row[0]]):
                v = row.pop(0)
                k = machine[v]
                at = [end[u] for u in rows[k] if u in end]
                at += [end[u] + (c if machine[u] != k else 0) for u, c in problem.predecessors()[v]]
                end[v] = max(at, default=0.0) + problem.durations[v][k]
                moved = True
    return [max(end.values())] if len(end) == problem.tasks else []


def test_moves_beyond_the_limit_may_be_left_out_but_no_other() -> None:
    _, graph = _graph(3)
    for v in graph.critical_path():
        every = graph.moves(v)
        limit = sorted(move.makespan for move in every)[len(every) // 2]
        assert [m for m in every if m.makespan <= limit] == [
            m for m in graph.moves(v, limit) if m.makespan <= limit
        ]


@pytest.mark.parametrize("seed", range(12))
def test_the_critical_path_has_no_wait(seed: int) -> None:
    problem, graph = _graph(seed)
    path = graph.critical_path()
    assert graph.start[path[0]] == pytest.approx(0)
    assert graph.end[path[-1]] == pytest.approx(graph.makespan)
    delay = {(u, v): c for u, v, c in problem.edges}
    for u, v in pairwise(path):
        paid = delay.get((u, v), 0.0) if graph.machine[u] != graph.machine[v] else 0.0
        assert graph.start[v] == pytest.approx(graph.end[u] + paid)


def test_a_delayed_schedule_is_pulled_to_the_left() -> None:
    problem = HeterogeneousDag(((2.0,), (3.0,)), ((0, 1, 5.0),))
    graph = DisjunctiveGraph(problem, Schedule((0, 0), (4.0, 20.0), 23.0))
    assert graph.schedule().start == (0.0, 2.0)
