"""The search against brute force, on made-up problems."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.planner import placement
from gangline.planner.placement import Assignment, PlacementProblem, cheapest, fastest


@st.composite
def problems(draw: st.DrawFn) -> PlacementProblem:
    """Up to 6 classes in a chain on up to 4 devices, with hops and forbidden pairs."""
    num_classes = draw(st.integers(1, 6))
    num_devices = draw(st.integers(1, 4))
    price = st.one_of(st.integers(1, 9).map(float), st.just(math.inf))
    row = st.lists(price, min_size=num_devices, max_size=num_devices)
    usd = draw(st.lists(row, min_size=num_classes, max_size=num_classes))
    speed = st.lists(st.integers(1, 9), min_size=num_devices, max_size=num_devices)
    seconds = draw(st.lists(speed, min_size=num_classes, max_size=num_classes))
    hop = draw(st.integers(0, 3))
    forbidden = draw(st.integers(0, num_devices))

    def time(assignment: Assignment) -> float:
        moves = sum(a != b for a, b in itertools.pairwise(assignment))
        return sum(seconds[k][d] for k, d in enumerate(assignment)) + float(hop * moves)

    def fits(assignment: Assignment) -> bool:
        return assignment.count(forbidden) <= 2

    return PlacementProblem(usd, time, fits, float(draw(st.integers(1, 60))))


def brute_force(problem: PlacementProblem) -> float | None:
    """Give the least cost by trying everything, with no code of the search."""
    found = [
        sum(problem.usd[k][d] for k, d in enumerate(assignment))
        for assignment in itertools.product(range(len(problem.usd[0])), repeat=len(problem.usd))
        if problem.fits(assignment) and problem.seconds(assignment) <= problem.deadline_s
    ]
    return min((usd for usd in found if math.isfinite(usd)), default=None)


@settings(max_examples=300, deadline=None)
@given(problems())
def test_the_search_finds_the_least_cost(problem: PlacementProblem) -> None:
    found = cheapest(problem)
    least = brute_force(problem)
    assert (found.usd if found else None) == least
    if found is not None:
        assert found.proven
        assert found.seconds == problem.seconds(found.assignment) <= problem.deadline_s
        assert problem.fits(found.assignment)


@settings(max_examples=100, deadline=None)
@given(problems())
def test_the_fastest_is_a_feasible_deadline(problem: PlacementProblem) -> None:
    quickest = fastest(problem)
    if quickest is not None:
        at_best = PlacementProblem(problem.usd, problem.seconds, problem.fits, quickest.seconds)
        found = cheapest(at_best)
        assert found is not None
        assert found.seconds == quickest.seconds
        tighter = PlacementProblem(
            problem.usd, problem.seconds, problem.fits, quickest.seconds - 0.5
        )
        assert cheapest(tighter) is None


@settings(max_examples=100, deadline=None)
@given(problems())
def test_the_greedy_search_keeps_the_rules_and_is_not_far_off(problem: PlacementProblem) -> None:
    found = placement._greedy(problem)
    least = brute_force(problem)
    if found is None:
        return
    assert least is not None
    assert least <= found.usd
    assert found.seconds <= problem.deadline_s
    assert problem.fits(found.assignment)


def test_a_large_problem_is_answered_without_trying_everything() -> None:
    calls = 0

    def time(assignment: Assignment) -> float:
        nonlocal calls
        calls += 1
        return float(sum(9 - 3 * device for device in assignment))

    usd = [[1.0, 2.0, 4.0] for _ in range(20)]
    found = cheapest(PlacementProblem(usd, time, lambda _: True, 120.0))
    assert found is not None
    assert not found.proven
    # A third step to device 1 costs $1 for 3 s, to device 2 $2 more: 20 upgrades are optimal.
    assert found.usd == 40.0
    assert calls < 20_000


def test_of_equal_costs_the_faster_wins() -> None:
    problem = PlacementProblem([[1.0, 1.0]], lambda a: 2.0 - a[0], lambda _: True)
    found = cheapest(problem)
    assert found is not None
    assert found.assignment == (1,)


def test_nothing_to_place_is_placed() -> None:
    found = cheapest(PlacementProblem([], lambda _: 0.0, lambda _: True))
    assert found is not None
    assert found.assignment == ()


def least_of_chain(usd: list[list[int]], seconds: list[list[int]], deadline: int) -> float:
    """Give the least cost of a chain by a table over whole seconds."""
    table = [0.0] * (deadline + 1)
    for prices, times in zip(usd, seconds, strict=True):
        table = [
            min(
                (
                    table[left - taken] + price
                    for price, taken in zip(prices, times, strict=True)
                    if taken <= left
                ),
                default=math.inf,
            )
            for left in range(deadline + 1)
        ]
    return table[deadline]


@pytest.mark.parametrize("seed", range(6))
def test_a_long_chain_on_many_devices_is_solved_to_the_optimum(seed: int) -> None:
    rng = random.Random(seed)
    usd = [[rng.randint(1, 40) for _ in range(8)] for _ in range(7)]
    seconds = [[max(1, 60 // price + rng.randint(-2, 2)) for price in row] for row in usd]
    deadline = int(1.3 * sum(min(row) for row in seconds))

    def time(assignment: Assignment) -> float:
        return float(sum(seconds[k][d] for k, d in enumerate(assignment)))

    prices = [[float(price) for price in row] for row in usd]
    problem = PlacementProblem(prices, time, lambda _: True, float(deadline))
    assert problem.num_assignments > placement.EXACT_LIMIT
    found = cheapest(problem)
    assert found is not None
    assert found.usd == least_of_chain(usd, seconds, deadline)
    assert found.seconds == time(found.assignment) <= deadline
