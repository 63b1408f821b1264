"""The evaluator against the shared pairs and its own small ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gangline.ir.errors import InputError
from gangline.workflows.text_to_sql.evaluate import (
    Pair,
    judge,
    load_pairs,
    round_robin,
    self_check,
)
from gangline.workflows.text_to_sql.sandbox import Sandbox


def test_the_gold_scores_full_marks_under_the_rule_of_its_origin(
    pairs: tuple[Pair, ...], db_dir: Path, sandbox: Sandbox
) -> None:
    verdicts = self_check(pairs, db_dir, sandbox=sandbox)
    assert [verdict.id for verdict in verdicts if not verdict.correct] == []
    assert len(verdicts) == 224
    assert {verdict.rule for verdict in verdicts} == {"spider", "defog"}


def test_the_next_pairs_gold_scores_nine_under_the_bird_rule(
    pairs: tuple[Pair, ...], db_dir: Path, sandbox: Sandbox
) -> None:
    by_db: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_db.setdefault(pair.db, []).append(pair)
    correct = 0
    for group in by_db.values():
        for pair, other in zip(group, [*group[1:], group[0]], strict=True):
            correct += judge(pair, other.gold[0], db_dir, rule="bird", sandbox=sandbox).correct
    assert correct == 9


def test_a_query_that_fails_is_wrong_with_its_error(shop: str, sandbox: Sandbox) -> None:
    pair = Pair("p", Path(shop).name, "?", ("SELECT 1",))
    verdict = judge(pair, "SELECT nope", Path(shop).parent, sandbox=sandbox)
    assert (verdict.correct, verdict.error) == (False, "no such column: nope")


def test_any_gold_of_a_defog_pair_counts_but_only_the_first_elsewhere(
    shop: str, sandbox: Sandbox
) -> None:
    golds = ("SELECT id FROM customer", "SELECT name FROM customer")
    folder = Path(shop).parent
    for origin, right in (("defog-x", True), ("spider-x", False), ("other", False)):
        pair = Pair("p", Path(shop).name, "?", golds, origin=origin)
        assert judge(pair, golds[1], folder, sandbox=sandbox).correct is right


def test_order_counts_where_the_rule_says_so(shop: str, sandbox: Sandbox) -> None:
    down = "SELECT id FROM customer ORDER BY id DESC"
    up = "SELECT id FROM customer ORDER BY id"
    folder, name = Path(shop).parent, Path(shop).name
    cases = (("spider", "", False), ("defog", "", True), ("defog", "order_by", False))
    for origin, category, right in cases:
        pair = Pair("p", name, "?", (down,), origin=origin, category=category)
        assert judge(pair, up, folder, sandbox=sandbox).correct is right


def test_bad_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    good = {"id": "a", "db": "x", "question": "?", "gold": ["SELECT 1"]}
    path.write_text(json.dumps(good) + '\n{"id": 1}\n')
    with pytest.raises(InputError, match=r"pairs\.jsonl:2"):
        load_pairs(path)
    with pytest.raises(InputError):
        load_pairs(tmp_path / "none.jsonl")


def test_round_robin_takes_from_every_database_first() -> None:
    made = [Pair(f"{db}{i}", db, "?", ("SELECT 1",)) for db in "ab" for i in range(3)]
    assert [pair.id for pair in round_robin(made, 4)] == ["a0", "b0", "a1", "b1"]
