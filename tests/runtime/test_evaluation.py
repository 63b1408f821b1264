"""Evaluation: fair sampling, resuming, scoring that cannot be gamed by an error."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gangline.runtime.dispatch.job import JobResult
from gangline.runtime.evaluation import (
    Progress,
    Scored,
    mcnemar_p,
    question_of,
    report,
    run_pairs,
    scored,
)
from gangline.workflows.text_to_sql.evaluate import Pair


def make_pair(name: str, db: str = "a.sqlite", **more: Any) -> Pair:
    return Pair(id=name, db=db, question=f"question {name}?", gold=("SELECT x FROM t",), **more)


def make_scored(name: str, correct: bool = True) -> Scored:
    return Scored(name, "a.sqlite", "q", "SELECT 1", correct, 1.0, 10, 5, 3, "", "spider")


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
    assert question_of(make_pair("1", evidence="use LIKE")) == "question 1? (Hint: use LIKE)"
    assert question_of(make_pair("1")) == "question 1?"


@pytest.fixture
def db_dir(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as db:
        db.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1), (2);")
    return tmp_path


def make_document(sql: str, error: str | None = None) -> dict[str, Any]:
    steps = [
        {"op": "prefill", "prompt_tokens": 7, "cached_tokens": 4, "output_tokens": None},
        {"op": "decode", "prompt_tokens": 7, "cached_tokens": 4, "output_tokens": 9},
    ]
    output = {"sql": sql, "error": error}
    return {"output": output, "steps": steps, "actual": {"seconds": 2.0, "usd": 0.1}}


@pytest.mark.parametrize(
    ("sql", "error", "correct"),
    [
        ("SELECT x FROM t", None, True),
        ("SELECT x FROM t WHERE x = 1", None, False),
        ("SELECT y FROM t", None, False),
        ("SELECT x FROM t", "it timed out", False),
        ("", None, False),
    ],
)
def test_only_a_query_that_ran_can_be_right(
    db_dir: Path, sql: str, error: str | None, correct: bool
) -> None:
    row = scored(make_pair("1"), make_document(sql, error), db_dir, "spider")
    assert row.correct is correct
    assert bool(row.error) is not correct or sql.endswith("1")
    assert (row.prompt_tokens, row.cached_tokens, row.output_tokens) == (7, 4, 9)


def test_a_job_that_failed_counts_as_wrong_and_keeps_its_reason(db_dir: Path) -> None:
    document: dict[str, Any] = {"output": None, "steps": [], "error": {"detail": "the engine died"}}
    row = scored(make_pair("1"), document, db_dir, "spider")
    assert not row.correct and row.error == "the engine died"


def test_all_pairs_are_answered_with_bounded_concurrency(db_dir: Path) -> None:
    flying, most, rows = 0, 0, []

    def submit(pair: Pair) -> Future[JobResult]:
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        future: Future[JobResult] = Future()
        future.set_result(JobResult(pair.id, "w", "succeeded", {"sql": "SELECT x FROM t"}))
        return future

    def done(row: Scored) -> None:
        nonlocal flying
        flying -= 1
        rows.append(row)

    pairs = [make_pair(str(n)) for n in range(20)]
    score = partial(scored, db_dir=db_dir, rule="spider")
    run_pairs(pairs, submit, score, concurrency=4, on_scored=done)
    assert sorted(row.id for row in rows) == sorted(pair.id for pair in pairs)
    assert most == 4 and all(row.correct for row in rows)


def test_report_counts() -> None:
    rows = [make_scored("1"), make_scored("2", correct=False)]
    document = report(rows, model="m", workflow="w", rule="spider", seconds=3.0, settings={})
    assert (document["n"], document["correct"], document["accuracy"]) == (2, 1, 0.5)


def test_mcnemar_against_known_values() -> None:
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(5, 5) == 1.0
    assert mcnemar_p(0, 5) == pytest.approx(2 / 32)
    assert mcnemar_p(10, 30) == mcnemar_p(30, 10) < 0.01
