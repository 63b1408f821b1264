"""The workflow through the real runtime, with a model that says what it is told."""

from __future__ import annotations

from typing import Any

import pytest

from gangline.backends.fake import FakeBackend
from gangline.ir.errors import DatabaseError, InputError
from gangline.runtime.api import run_workflow
from gangline.workflows.text_to_sql import prompts, settings, text_to_sql

QUESTION = "Who lives in Bern?"
RIGHT = "SELECT name FROM customer WHERE city = 'Bern'"


def run(shop: str, replies: Any, question: str = QUESTION) -> tuple[dict[str, Any], Any]:
    backend = FakeBackend(replies)
    inputs = {"question": question, "db": shop}
    result = run_workflow(text_to_sql, inputs, backends={"cpu/0": backend})
    output: dict[str, Any] = result.output
    return output, result


def test_answers_with_sql_and_rows(shop: str) -> None:
    output, result = run(shop, {QUESTION: RIGHT})
    assert output == {
        "sql": RIGHT,
        "columns": ["name"],
        "rows": [["Ada"], ["Cleo O'Hara"]],
        "truncated": False,
        "attempts": 1,
        "error": "",
    }
    assert sum(step.op == "decode" for step in result.steps) == 1


def test_a_wrong_draft_is_repaired_with_the_error_in_the_prompt(shop: str) -> None:
    prompts_seen: list[str] = []

    def reply(prompt: str) -> str:
        prompts_seen.append(prompt)
        return RIGHT if "did you mean name?" in prompt else "SELECT nam FROM customer"

    output, _ = run(shop, reply)
    assert (output["sql"], output["error"]) == (RIGHT, "")
    assert output["attempts"] == 2
    assert "SELECT nam FROM customer" in prompts_seen[-1]


def test_what_cannot_be_repaired_ends_with_its_error(shop: str) -> None:
    output, _ = run(shop, lambda prompt: f"SELECT nam{len(prompt)} FROM customer")
    assert output["rows"] == [] and "there is no column nam" in output["error"]
    assert output["attempts"] == 1 + settings.MAX_REPAIRS


def test_no_rows_are_doubted_once(shop: str) -> None:
    nobody = "SELECT name FROM customer WHERE city = 'Chur'"
    output, _ = run(shop, lambda prompt: RIGHT if prompts.NO_ROWS in prompt else nobody)
    assert (output["sql"], len(output["rows"])) == (RIGHT, 2)
    output, _ = run(shop, {QUESTION: nobody})
    assert (output["sql"], output["rows"], output["error"]) == (nobody, [], "")
    assert output["attempts"] == 2


def test_questions_on_one_database_share_the_prompt_up_to_the_question(shop: str) -> None:
    seen: list[str] = []

    def reply(prompt: str) -> str:
        seen.append(prompt)
        return RIGHT

    run(shop, reply, "How many orders are open?")
    run(shop, reply, "Who lives in Bern?")
    shared = seen[0][: seen[0].index("\n\nValues in")]
    assert seen[-1].startswith(shared) and "CREATE TABLE item" in shared


@pytest.mark.parametrize("question", ["", "  \n "])
def test_an_empty_question_is_refused_before_a_model_runs(shop: str, question: str) -> None:
    def reply(prompt: str) -> str:
        raise AssertionError("a model was asked")

    with pytest.raises(InputError, match="empty"):
        run(shop, reply, question)


def test_a_missing_database_is_an_error_of_its_own() -> None:
    with pytest.raises(DatabaseError, match="no database"):
        run("none.sqlite", {QUESTION: RIGHT})
