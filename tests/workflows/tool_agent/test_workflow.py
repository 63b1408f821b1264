"""tool_agent: a plan, at most one more, and an answer from what the calls gave."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.ir.errors import TraceError
from gangline.runtime.api import run_job
from gangline.runtime.store import Store
from gangline.workflows.plan_outcome import PlannedCall, PlanOutcome
from gangline.workflows.registry import load
from gangline.workflows.tool_agent import make_tool_agent, tool_agent
from gangline.workflows.tool_agent.described import report, signatures
from gangline.workflows.tool_agent.tools import BUNDLED


class Weather(BaseModel):
    sky: str
    degrees: int


SENT: list[str] = []


@gl.tool(effects="read")
def sky_over(city: str, day: int | None = None) -> Weather:
    """Say how the weather is.

    What stands below is for people.
    """
    if city == "Atlantis":
        raise ValueError("there is no such city")
    return Weather(sky="blue", degrees=20)


@gl.tool(effects="write")
def send_off(text: str) -> str:
    """Send a letter."""
    SENT.append(text)
    return "sent"


assistant = make_tool_agent([sky_over], name="assistant", model="m")
secretary = make_tool_agent([sky_over, send_off], name="secretary", model="m")
trusted = make_tool_agent([sky_over, send_off], name="trusted", model="m", granted=[send_off])


class Model:
    """Gives plans in turn, then an answer; keeps the prompts it got."""

    def __init__(self, *plans: str) -> None:
        self.plans, self.prompts = list(plans), list[str]()

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        if prompt.endswith("Answer:"):
            return "So it is."
        return self.plans.pop(0)


def ask(workflow: Any, model: Model, tmp_path: Path, question: str = "How is it?") -> Any:
    SENT.clear()
    with Store(tmp_path / "jobs") as store:
        return run_job(
            workflow, {"question": question}, backends={"cpu/0": FakeBackend(model)}, store=store
        )


GOOD = '1. sky_over(city="Rome")\n2. sky_over(city="${1.sky} $$", day=$1.degrees)\n3. join()'
BAD = '1. sky_over(city="Rome")\n2. sky_over(city="Atlantis")\n3. join()'


def test_a_plan_and_an_answer(tmp_path: Path) -> None:
    model = Model(GOOD)
    result = ask(assistant, model, tmp_path)
    output = result.output
    assert (output["answer"], output["plans"], output["error"]) == ("So it is.", 1, "")
    assert [call["result"]["sky"] for call in output["calls"]] == ["blue", "blue"]
    first, last = model.prompts
    assert (
        "- sky_over(city: text, day?: integer) -> {sky, degrees}: Say how the weather is." in first
    )
    assert "for people" not in first and first.endswith("Question: How is it?\nPlan:\n")
    assert (
        '2. sky_over(city="${1.sky} $$", day=$1.degrees) = {"sky": "blue", "degrees": 20}' in last
    )


def test_a_failed_call_is_fed_back_exactly_once(tmp_path: Path) -> None:
    model = Model(BAD, BAD)
    result = ask(assistant, model, tmp_path)
    assert result.status == "succeeded" and result.output["plans"] == 2 and model.plans == []
    assert len(model.prompts) == 3, "no third plan"
    assert "there is no such city" in model.prompts[1]
    ids = [call["id"] for call in result.output["calls"]]
    assert ids == ["1", "again.1", "again.2"]
    assert model.prompts[1].startswith(model.prompts[0].removesuffix("Plan:\n")), "a common prefix"


def test_where_no_call_gave_a_result_no_model_makes_up_an_answer(tmp_path: Path) -> None:
    failing = '1. sky_over(city="Atlantis")\n2. join()'
    model = Model(failing, failing)
    result = ask(assistant, model, tmp_path)
    assert "there is no such city" in result.output["answer"]
    assert len(model.prompts) == 2, "two plans, and nobody is asked for an answer"


def test_a_plan_that_is_none_is_fed_back_too(tmp_path: Path) -> None:
    result = ask(assistant, Model("Let me think (((", GOOD), tmp_path)
    assert result.output["plans"] == 2 and len(result.output["calls"]) == 2


def test_nothing_to_call(tmp_path: Path) -> None:
    model = Model("1. join()")
    result = ask(assistant, model, tmp_path)
    assert result.output["calls"] == [] and "Calls:\nnone" in model.prompts[-1]


@pytest.mark.parametrize("question", ["", "  ", "x" * 5000])
def test_questions_that_are_none_are_refused(tmp_path: Path, question: str) -> None:
    model = Model()
    result = ask(assistant, model, tmp_path, question)
    assert result.status == "failed" and model.prompts == []


def test_a_write_that_nobody_granted_asks(tmp_path: Path) -> None:
    model = Model('1. sky_over(city="Rome")\n2. send_off(text="hello")\n3. join()')
    result = ask(secretary, model, tmp_path)
    assert result.status == "input_required" and SENT == []
    granted = Model('1. sky_over(city="Rome")\n2. send_off(text="hello")\n3. join()')
    assert ask(trusted, granted, tmp_path).output["calls"][1]["result"] == "sent"


def test_the_grammar_goes_to_the_engine() -> None:
    stages = [stage for stage in assistant.program().stages if stage.op == "decode"]
    grammars = [stage.attributes.get("grammar", {}).get("text", "") for stage in stages]
    assert sum("sky_over(" in text for text in grammars) == 2
    assert any("degrees|sky" in text for text in grammars)


def test_the_built_in_finds_its_database(tmp_path: Path) -> None:
    assert load("tool_agent") is tool_agent
    inputs = {row.name: row.default for row in tool_agent.program().inputs}
    assert inputs == {"question": None, "db": "example"}
    listed = signatures(BUNDLED, ["db"])
    assert "db" not in listed and 'status?: "completed"|"returned"|"cancelled"' in listed


@pytest.mark.parametrize("tools", [[], [len], "x"])
def test_an_agent_needs_tools(tools: Sequence[Any]) -> None:
    with pytest.raises(TraceError, match="list of tools"):
        make_tool_agent(tools)


def test_reports_are_short_and_in_one_line_each() -> None:
    calls = [
        PlannedCall(id="1", tool="f", arguments={"a": {"$ref": "1/x"}}, result="y" * 5000),
        PlannedCall(id="2", tool="g", arguments={"t": "a\nb"}, error="no"),
    ]
    lines = report(PlanOutcome(ok=False, calls=calls, error="bad")).split("\n")
    assert len(lines) == 3 and len(lines[0]) < 800 and lines[0].startswith("1. f(a=$1.x) = ")
    assert lines[1] == '2. g(t="a\\nb") failed: no' and lines[2] == "The plan: bad"
