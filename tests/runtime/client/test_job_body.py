"""What a caller writes in Python, as JSON."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

import gangline as gl
from gangline.ir.errors import InputError, UsageError
from gangline.ir.specs.policy import Grant, Policy
from gangline.runtime.client.job_body import OPTIONS, job_body, plain
from gangline.runtime.service.job_request import JobRequest


class Colour(enum.Enum):
    RED = "red"


class Model(BaseModel):
    day: date


@dataclass
class Point:
    x: int
    y: tuple[int, ...]


@gl.tool(effects="read")
def two_fold(number: int) -> int:
    return 2 * number


@gl.workflow
def doubled(number: int) -> int:
    return two_fold(number)


def test_options_and_inputs_are_told_apart() -> None:
    body = job_body(
        "w",
        {
            "question": "why",
            "deadline": 8.0,
            "on_deadline": "expire",
            "budget_usd": 0.5,
            "priority": 9,
            "metadata": {"team": "a"},
            "webhook": "https://example.com/hook",
            "job_id": UUID(int=7),
            "model": None,
            "inputs": {"priority": "an input of that name"},
        },
    )
    assert body == {
        "workflow": "w",
        "input": {"question": "why", "priority": "an input of that name"},
        "deadline_ms": 8000.0,
        "on_deadline": "expire",
        "budget_usd": 0.5,
        "priority": 9,
        "metadata": {"team": "a"},
        "webhook": {"url": "https://example.com/hook"},
        "id": "00000000-0000-0000-0000-000000000007",
    }
    JobRequest.model_validate(body)


def test_every_field_of_a_request_has_an_option() -> None:
    renamed = {"deadline_ms": "deadline", "id": "job_id", "input": "inputs"}
    fields = set(JobRequest.model_fields) - {"workflow", "mode"}
    assert {renamed.get(name, name) for name in fields} == set(OPTIONS)


def test_grants_are_texts_and_a_policy_its_document() -> None:
    policy = Policy(grants=(Grant("log"),), on_violation="refuse")
    body = job_body("w", {"grants": [Grant("send", 1), two_fold, "log"], "policy": policy})
    assert body["grants"] == ["send:1", two_fold.name, "log"]
    assert Policy.from_json(JobRequest.model_validate(body).policy) == policy


def test_what_is_not_said_is_not_sent() -> None:
    assert job_body("w", {"deadline": None}) == {"workflow": "w", "input": {}}


def test_a_workflow_checks_its_inputs_before_they_are_sent() -> None:
    assert job_body(doubled, {"number": 3})["input"] == {"number": 3}
    with pytest.raises(InputError, match="number"):
        job_body(doubled, {"number": "many"})


@pytest.mark.parametrize("bad", [3, None, "", object()])
def test_what_is_no_workflow(bad: Any) -> None:
    with pytest.raises(UsageError):
        job_body(bad, {})


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (Colour.RED, "red"),
        (Model(day=date(2026, 5, 1)), {"day": "2026-05-01"}),
        (Point(1, (2, 3)), {"x": 1, "y": [2, 3]}),
        ({"a": (1, None, True)}, {"a": [1, None, True]}),
        (Path("a/b"), "a/b"),
        (date(2026, 5, 1), "2026-05-01"),
    ],
)
def test_values_become_json(value: Any, json: Any) -> None:
    assert plain(value, "x") == json


def test_what_has_no_json_form_is_refused_by_name() -> None:
    with pytest.raises(InputError) as caught:
        plain({"deep": [object()]}, "question")
    assert caught.value.where == "question"
