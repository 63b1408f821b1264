"""The three match rules, on results small enough to check by eye."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.workflows.text_to_sql.match import Result, Row, Rule, matches

AB: tuple[Row, ...] = ((1, "a"), (2, "b"))


def result(*rows: Row, num_columns: int = 2) -> Result:
    return Result(num_columns, tuple(rows))


CASES: tuple[tuple[Rule, Result, Result, bool, bool], ...] = (
    ("spider", result(*AB), result(("a", 1), ("b", 2)), False, True),
    ("spider", result(*AB[::-1]), result(*AB), False, True),
    ("spider", result(*AB[::-1]), result(*AB), True, False),
    ("spider", result(AB[0], AB[0]), result(*AB), False, False),
    ("spider", result(AB[0], AB[0], AB[1]), result(AB[0], AB[1], AB[1]), False, False),
    ("spider", result(AB[0], AB[0]), result(AB[0]), False, False),
    ("spider", result((1, "a", 0), num_columns=3), result((1, "a")), False, False),
    ("spider", result(num_columns=1), result(num_columns=3), False, True),
    ("spider", result((1, "b"), (2, "a")), result(*AB), False, False),
    ("bird", result(AB[0], AB[0], AB[1]), result(*AB), False, True),
    ("bird", result(*AB[::-1]), result(*AB), True, True),
    ("bird", result(("a", 1), ("b", 2)), result(*AB), False, False),
    ("defog", result((0, 1, "a"), (0, 2, "b"), num_columns=3), result(*AB), False, True),
    ("defog", result((1,), (2,), num_columns=1), result(*AB), False, False),
    ("defog", result((2, "b", 0), (1, "a", 0), num_columns=3), result(*AB), True, False),
    ("defog", result(AB[0], AB[0], AB[1]), result(*AB), False, False),
)


@pytest.mark.parametrize(("rule", "predicted", "gold", "ordered", "right"), CASES)
def test_rules(rule: Rule, predicted: Result, gold: Result, ordered: bool, right: bool) -> None:
    assert matches(rule, predicted, gold, ordered=ordered) is right


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 4), min_size=1, max_size=6), st.randoms())
def test_spider_sees_through_any_permutation(
    rows: list[tuple[int, int, int, int]], rng: random.Random
) -> None:
    order = rng.sample(range(4), 4)
    moved = [tuple(row[i] for i in order) for row in rows]
    rng.shuffle(moved)
    gold = Result(4, tuple(rows))
    assert matches("spider", Result(4, tuple(moved)), gold)
    changed = [*moved[:-1], (*moved[-1][:-1], 7)]
    assert not matches("spider", Result(4, tuple(changed)), gold)


def test_many_equal_columns_are_not_tried_in_all_orders() -> None:
    rows = tuple((row, *[0] * 30) for row in range(50))
    assert matches("spider", Result(31, rows), Result(31, rows))
    wrong = tuple((row, *[0] * 29, 1) for row in range(50))
    assert not matches("spider", Result(31, wrong), Result(31, rows))
