"""The search is right on small problems, better than lists on large ones, and repeatable."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import ConfigError
from gangline.planner.optimiser import schedule_search
from gangline.planner.optimiser.disjunctive_graph import DisjunctiveGraph
from gangline.planner.optimiser.heft import heft, peft
from gangline.planner.optimiser.schedule import HeterogeneousDag, check, flexible_job_shop
from gangline.planner.optimiser.schedule_search import schedule
from gangline.planner.optimiser.schedule_tabu import Budget, tabu

from .schedule_cases import optimum, random_dag

SHARED = Path(os.environ.get("GANGLINE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.mark.parametrize("seed", range(10))
def test_small_problems_are_solved_and_proven(seed: int) -> None:
    problem = random_dag(seed, tasks=5, machines=2, whole=seed % 2 == 0)
    found = schedule(problem, iterations=500)
    check(problem, found)
    assert found.proven
    assert found.lower_bound == found.makespan == pytest.approx(optimum(problem))


def test_the_search_alone_finds_the_optima(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = [random_dag(seed, tasks=9, machines=3) for seed in range(100, 115)]
    exact = [schedule(problem, iterations=10**6) for problem in problems]
    assert all(found.proven for found in exact)
    monkeypatch.setattr(schedule_search, "EXACT_TASKS", 0)
    for problem, best in zip(problems, exact, strict=True):
        assert schedule(problem, iterations=400).makespan == best.makespan


def test_large_problems_beat_the_lists() -> None:
    ratios = []
    for seed in range(4):
        problem = random_dag(seed, tasks=45, machines=5, whole=False, density=0.06)
        found = schedule(problem, iterations=300, seed=seed)
        check(problem, found)
        listed = min(heft(problem).makespan, peft(problem).makespan)
        assert found.makespan <= listed
        ratios.append(found.makespan / listed)
    assert sum(ratios) / len(ratios) < 0.96


def test_the_same_seed_gives_the_same_schedule() -> None:
    problem = random_dag(5, tasks=40, machines=4, whole=False, density=0.08)
    assert schedule(problem, iterations=300, seed=3) == schedule(problem, iterations=300, seed=3)


def test_more_iterations_are_never_worse_than_none() -> None:
    problem = random_dag(6, tasks=30, machines=4, density=0.1)
    none = schedule(problem, iterations=0)
    check(problem, none)
    assert none.makespan == min(heft(problem).makespan, peft(problem).makespan)
    assert schedule(problem, iterations=200).makespan <= none.makespan


def test_a_search_cut_short_claims_no_proof() -> None:
    cut = 0
    for seed in range(20, 32):
        problem = random_dag(seed, tasks=9, machines=3)
        few, full = schedule(problem, iterations=1), schedule(problem, iterations=10**6)
        assert full.proven
        assert few.lower_bound <= full.makespan <= few.makespan
        assert few.proven == (few.lower_bound == few.makespan)
        cut += few.makespan > full.makespan
    assert cut > 0


def test_sampled_lists_give_better_and_different_starts() -> None:
    problem = random_dag(9, tasks=50, machines=5, whole=False, density=0.06)
    budget = Budget(None, 2000)
    search = schedule_search._Search(problem, 0.0, budget, random.Random(0))
    starts = search._starts()
    assert budget.used == 0.15 * 2000
    for start in starts:
        check(problem, start)
    assert len({start.makespan for start in starts}) == schedule_search.POOL
    assert starts[0].makespan < min(heft(problem).makespan, peft(problem).makespan)


@pytest.mark.parametrize("seed", [0, 14])  # with 14 the search ends on a longer order
def test_the_best_order_ever_reached_is_given(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = random_dag(seed, tasks=30, machines=4, whole=False, density=0.08)
    reached = []

    def watched(graph: DisjunctiveGraph, *rest: Any) -> None:
        tabu(graph, *rest)
        reached.append(graph.makespan)

    monkeypatch.setattr(schedule_search, "tabu", watched)
    found = schedule(problem, iterations=300, seed=seed)
    assert len(reached) > 5
    assert found.makespan == pytest.approx(min(reached))


def test_a_budget_of_seconds_is_kept() -> None:
    problem = random_dag(8, tasks=60, machines=5, whole=False, density=0.05)
    begun = time.process_time()
    check(problem, schedule(problem, budget_s=0.2))
    assert time.process_time() - begun < 2


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(ConfigError, match="budget"):
        schedule(HeterogeneousDag(((1.0,),)), budget_s=-1)
    with pytest.raises(ConfigError, match="budget"):
        schedule(HeterogeneousDag(((1.0,),)), iterations=-1)


def test_an_empty_problem_is_proven() -> None:
    found = schedule(HeterogeneousDag(()))
    assert (found.makespan, found.proven) == (0.0, True)


def test_zero_durations_end_at_zero() -> None:
    problem = HeterogeneousDag(((0.0, 0.0), (0.0, 0.0)), ((0, 1, 0.0),))
    found = schedule(problem)
    check(problem, found)
    assert (found.makespan, found.proven) == (0.0, True)


def _rows(name: str) -> list[dict[str, Any]]:
    path = SHARED / "scheduling" / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no {path.name} in GANGLINE_SHARED_DATA or ../shared/data")
    with gzip.open(path, "rt") as lines:
        return [json.loads(line) for line in lines]


def _dag(row: dict[str, Any]) -> HeterogeneousDag:
    return HeterogeneousDag(
        tuple(tuple(r) for r in row["cost"]), tuple((u, v, c) for u, v, c in row["edges"])
    )


def test_published_small_graphs_are_solved_to_proven_optimum() -> None:
    for row in _rows("hetero_dag_small"):
        problem = _dag(row)
        assert heft(problem).makespan == row["heft"], row["name"]
        found = schedule(problem, iterations=2000)
        check(problem, found)
        assert found.proven, row["name"]
        assert found.makespan == row["optimum"], row["name"]


def test_published_large_graphs_never_lose_to_heft() -> None:
    for row in _rows("hetero_dag_large")[::4]:
        problem = _dag(row)
        assert heft(problem).makespan == pytest.approx(row["heft"]), row["name"]
        found = schedule(problem, iterations=60)
        check(problem, found)
        assert row["lower_bound"] - 1e-6 <= found.makespan <= row["heft"] + 1e-6, row["name"]
        assert found.lower_bound >= row["lower_bound"] - 1e-6, row["name"]


def test_published_flexible_job_shops_stay_between_the_bounds() -> None:
    gaps = []
    for row in _rows("flexible_jobshop"):
        problem = flexible_job_shop(row["jobs"], row["machines"])
        found = schedule(problem, iterations=300)
        check(problem, found)
        assert found.makespan >= row["best_lb"], row["name"]
        assert found.lower_bound <= row["best_ub"], row["name"]
        gaps.append(found.makespan / row["best_ub"] - 1)
    assert sum(gaps) / len(gaps) < 0.03
