"""Execution-match rules: does a predicted result answer the question as the gold one does?

Each rule follows its benchmark's published evaluator:
- spider (test-suite `result_eq`): some permutation of the predicted columns makes the two row
  multisets equal; where the gold has ORDER BY, the row sequences; two empty results match;
- bird (`evaluation_ex`): the two sets of rows are equal, columns in order;
- defog (exact or subset): the gold's columns all appear in the predicted result with the same
  rows; row order counts only in the category `order_by`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

Rule = Literal["spider", "bird", "defog"]
Row = tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """Rows of one query with the number of its columns."""

    num_columns: int
    rows: tuple[Row, ...]


def matches(rule: Rule, predicted: Result, gold: Result, *, ordered: bool = False) -> bool:
    """Tell whether `predicted` counts as right; `ordered` says that row order matters."""
    if rule == "bird":
        return set(predicted.rows) == set(gold.rows)
    if rule == "spider":
        return spider(predicted, gold, ordered)
    return covers(predicted, gold, ordered)


def spider(predicted: Result, gold: Result, ordered: bool) -> bool:
    """Apply the Spider test-suite rule."""
    if not predicted.rows and not gold.rows:
        return True
    return predicted.num_columns == gold.num_columns and covers(predicted, gold, ordered)


def covers(predicted: Result, gold: Result, ordered: bool) -> bool:
    """Tell whether distinct predicted columns, one per gold column, give the gold's rows."""
    if len(predicted.rows) != len(gold.rows) or predicted.num_columns < gold.num_columns:
        return False
    wanted = _columns(gold)
    return _assign([], wanted, _columns(predicted), ordered)


def _columns(result: Result) -> list[tuple[Hashable, ...]]:
    return [tuple(row[index] for row in result.rows) for index in range(result.num_columns)]


def _assign(
    chosen: list[int],
    wanted: Sequence[tuple[Hashable, ...]],
    offered: Sequence[tuple[Hashable, ...]],
    ordered: bool,
) -> bool:
    # Invariant: the chosen columns, in order, give the same rows as the first of `wanted`.
    if len(chosen) == len(wanted):
        return True
    target = _bag(wanted[: len(chosen) + 1], ordered)
    tried: set[tuple[Hashable, ...]] = set()
    for index, column in enumerate(offered):
        if index in chosen or column in tried:  # an equal column was tried: the same search
            continue
        tried.add(column)
        columns = [*(offered[i] for i in chosen), column]
        if _bag(columns, ordered) == target and _assign([*chosen, index], wanted, offered, ordered):
            return True
    return False


def _bag(columns: Sequence[tuple[Hashable, ...]], ordered: bool) -> object:
    rows = list(zip(*columns, strict=True))
    return rows if ordered else Counter(rows)
