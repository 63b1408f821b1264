"""Evaluation: fair sampling, resuming, scoring that cannot be gamed by an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import ConfigError, DatabaseError, UsageError
from gangline.runtime.evaluation import (
    Pair,
    Progress,
    Scored,
    mcnemar_p,
    read_pairs,
    report,
    sample,
    score_document,
)


def make_pair(name: str, db: str = "a.sqlite", **more: Any) -> Pair:
    return Pair(id=name, db=db, question=f"question {name}?", gold=("SELECT 1",), **more)


def make_scored(name: str, correct: bool = True) -> Scored:
    return Scored(name, "a.sqlite", "q", "SELECT 1", correct, 1.0, 10, 5, 3, "", "spider")


def test_sampling_takes_databases_in_turn() -> None:
    pairs = [make_pair(f"a{n}", "a") for n in range(5)] + [
        make_pair("b0", "b"),
        make_pair("c0", "c"),
    ]
    assert [pair.id for pair in sample(pairs, 4)] == ["a0", "b0", "c0", "a1"]
    assert len(sample(pairs, None)) == 7


def test_pairs_are_read_and_checked(tmp_path: Path) -> None:
    (tmp_path / "x.sqlite").touch()
    file = tmp_path / "pairs.jsonl"
    row = {
        "id": "1",
        "db": "x.sqlite",
        "question": "?",
        "gold": ["SELECT 1"],
        "evidence": "be quick",
    }
    file.write_text(json.dumps(row) + "\n\n")
    (pair,) = read_pairs(file, tmp_path)
    assert pair.prompt == "? (Hint: be quick)"
    with pytest.raises(DatabaseError, match="missing"):
        read_pairs(file, tmp_path / "elsewhere")


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"id": "1", "db": "x"}\n')
    with pytest.raises(ConfigError) as caught:
        read_pairs(file, tmp_path)
    assert caught.value.where.endswith("pairs.jsonl:1")
    with pytest.raises(UsageError):
        read_pairs(tmp_path / "none.jsonl", tmp_path)


def test_an_interrupted_run_goes_on_and_skips_a_torn_line(tmp_path: Path) -> None:
    progress = Progress(tmp_path, {"model": "m"})
    progress.add(make_scored("1"))
    with progress.path.open("a") as file:
        file.write('{"id": "2", "db"')
    assert set(Progress(tmp_path, {"model": "m"}).done()) == {"1"}
    assert Progress(tmp_path, {"model": "other"}).done() == {}
    progress.clear()
    assert progress.done() == {}


def test_the_gold_is_not_in_what_is_asked() -> None:
    assert "SELECT" not in make_pair("1", evidence="use LIKE").prompt


@pytest.mark.parametrize(
    ("output", "correct"),
    [
        ({"sql": "SELECT 1", "error": None}, True),
        ({"sql": "SELECT 1", "error": "no such table"}, False),
        ({"sql": "", "error": None}, False),
        (None, False),
    ],
)
def test_only_a_query_that_ran_can_be_right(output: Any, correct: bool) -> None:
    steps = [
        {"op": "prefill", "prompt_tokens": 7, "cached_tokens": 4, "output_tokens": None},
        {"op": "decode", "prompt_tokens": 7, "cached_tokens": 4, "output_tokens": 9},
    ]
    document = {"output": output, "steps": steps, "actual": {"seconds": 2.0, "usd": 0.1}}
    scored = score_document(make_pair("1"), document, "spider", lambda *args: True)
    assert scored.correct is correct
    assert (scored.prompt_tokens, scored.cached_tokens, scored.output_tokens) == (7, 4, 9)


def test_report_counts() -> None:
    rows = [make_scored("1"), make_scored("2", correct=False)]
    document = report(rows, model="m", workflow="w", rule="spider", seconds=3.0, settings={})
    assert (document["n"], document["correct"], document["accuracy"]) == (2, 1, 0.5)


def test_mcnemar_against_known_values() -> None:
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(5, 5) == 1.0
    assert mcnemar_p(0, 5) == pytest.approx(2 / 32)
    assert mcnemar_p(10, 30) == mcnemar_p(30, 10) < 0.01
