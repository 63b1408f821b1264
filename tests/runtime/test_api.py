"""From a decorated function to a result, through the public call."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.ir.errors import InputError, StepError
from gangline.runtime.api import open_session, retry_job, run_job, run_workflow
from gangline.runtime.store import Store

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


def check(name: str, document: Any) -> None:
    """Validate against a published schema."""
    kept = [json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")]
    registry = Registry().with_resources(
        (schema["$id"], Resource.from_contents(schema)) for schema in kept if "$id" in schema
    )
    schema = json.loads((SCHEMAS / name).read_text())
    Draft202012Validator(schema, registry=registry).validate(json.loads(json.dumps(document)))


broken = [True]


@gl.llm(model="smollm2-135m", max_tokens=40)
def draft(question: str, seed: int = 0) -> str:  # type: ignore[empty-body]
    """Answer: {question}"""


@gl.tool(effects="read")
def shout_out(text: str) -> str:
    return text.upper()


@gl.tool(effects="read")
def sometimes(text: str) -> str:
    if broken[0]:
        raise OSError("down")
    return text


@gl.workflow
def three(question: str) -> list[str]:
    return gl.map(lambda seed: shout_out(draft(question, seed=seed)), [1, 2, 3])


@gl.workflow
def unsteady(question: str) -> str:
    return sometimes(draft(question))


def backends() -> dict[str, FakeBackend]:
    return {"cpu/0": FakeBackend({"why": "because"})}


def test_run_workflow(store: Store) -> None:
    result = run_workflow(three, {"question": "why?"}, backends=backends(), store=store)
    assert result.output == ["BECAUSE"] * 3
    document = result.to_json()
    check("job_result.json", document)
    for event in store.events(result.job_id):
        check("event.json", asdict(event))
    assert document["predicted"] == {"seconds": None, "usd": None}
    assert len({step["id"] for step in document["steps"]}) == len(document["steps"])


def test_failure_is_raised_by_one_and_returned_by_the_other(store: Store) -> None:
    broken[0] = True
    with pytest.raises(StepError, match="OSError: down"):
        run_workflow(unsteady, {"question": "why?"}, backends=backends(), store=store)
    result = run_job(unsteady, {"question": "why?"}, backends=backends(), store=store)
    assert result.status == "failed" and result.to_json()["error"]["code"] == "step"
    check("job_result.json", result.to_json())
    broken[0] = False
    again = retry_job(result.job_id[-10:], backends=backends(), store=store)
    assert (again.status, again.output) == ("succeeded", "because")


def test_wrong_inputs(store: Store) -> None:
    wrong: list[dict[str, Any]] = [{}, {"question": "x", "extra": 1}]
    for inputs in wrong:
        with pytest.raises(InputError):
            run_job(three, inputs, backends=backends(), store=store)


def test_a_session_keeps_its_prefixes(store: Store) -> None:
    broken[0] = False
    with open_session(backends=backends(), store=store) as session:
        question = {"question": "why " + "so long " * 20}
        first = session.run(unsteady, question)
        second = session.run(unsteady, question)
    cached = [step.cached_tokens for step in second.steps if step.op == "prefill"]
    assert first.status == second.status == "succeeded"
    assert cached[0] is not None and cached[0] > 100
