"""`gl.ask` in a workflow: what it records, what it refuses, and that plans take it."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.ir.errors import JobError, TraceError, VerifyError
from gangline.ir.module import Module
from gangline.ir.program import Program
from gangline.ir.verifier import verify
from gangline.runtime.api import resume_job, run_job
from gangline.runtime.store import Store


class Trip(BaseModel):
    city: str
    days: int = 2


@gl.tool(effects="write")
def jot_down(text: str) -> str:
    return text


@gl.tool(effects="read")
def spread_out(topic: str) -> list[str]:
    return [topic, topic * 2]


@gl.workflow
def typed() -> Trip:
    return gl.ask("Where to?", returns=Trip)


@gl.workflow
def careful(text: str) -> str:
    first = jot_down(text)
    gl.ask("Sure?", choices=["yes", "no"])
    gl.ask("Really?", returns=bool)
    second = jot_down(text)
    return first + second


@gl.workflow
def choosing(topic: str) -> str:
    return gl.ask("Which " + topic + "?", choices=spread_out(topic))


def stage(program: Program, name: str) -> Any:
    return next(found for found in program.stages if found.name == name)


def test_the_schema_is_that_of_the_type() -> None:
    ask = stage(typed.program(), "ask")
    assert ask.op == "ask" and ask.attributes["schema"]["properties"]["days"]["type"] == "integer"


def test_questions_wait_for_writes_and_writes_for_questions() -> None:
    program = careful.program()
    made = {name: stage(program, name) for name in ("jot_down", "ask", "ask#2", "jot_down#2")}
    results = {name: found.results[0] for name, found in made.items()}
    assert (
        results["jot_down"] in made["ask"].operands
        and results["jot_down"] in made["ask#2"].operands
    )
    assert {results["ask"], results["ask#2"]} <= set(made["jot_down#2"].operands)
    assert results["ask"] not in made["ask#2"].operands, "questions may be open together"
    assert made["ask"].attributes["schema"]["enum"] == ["yes", "no"]
    assert made["ask#2"].attributes["schema"] == {"type": "boolean"}


def test_a_question_whose_answer_is_not_used_is_still_asked(tmp_path: Any) -> None:
    with Store(tmp_path / "jobs") as store:
        backends = {"cpu/0": FakeBackend()}
        result = run_job(careful, {"text": "a"}, backends=backends, store=store)
        assert [row["id"] for row in result.interrupts] == ["ask", "ask#2"]
        for name, value in (("ask", "yes"), ("ask#2", False)):
            result = resume_job(result.job_id, name, value, backends=backends, store=store)
        assert result.output == "aa"


def test_questions_are_listed_in_the_order_of_the_workflow(tmp_path: Any) -> None:
    @gl.workflow
    def two(who: str) -> list[str]:
        return [gl.ask("Hello " + who + "?"), gl.ask("And?")]  # the second is ready first

    with Store(tmp_path / "jobs") as store:
        result = run_job(two, {"who": "x"}, backends={"cpu/0": FakeBackend()}, store=store)
    assert [row["id"] for row in result.interrupts] == ["ask", "ask#2"]


def test_choices_of_the_trace(tmp_path: Any) -> None:
    with Store(tmp_path / "jobs") as store:
        backends = {"cpu/0": FakeBackend()}
        result = run_job(choosing, {"topic": "x"}, backends=backends, store=store)
        assert result.interrupts[0]["choices"] == ["x", "xx"]
        done = resume_job(result.job_id, "", "xx", backends=backends, store=store)
        assert done.output == "xx"


def test_run_raises_what_to_do(tmp_path: Any) -> None:
    from gangline.runtime.api import run_workflow

    with (
        Store(tmp_path / "jobs") as store,
        pytest.raises(JobError, match="gangline jobs resume"),
    ):
        run_workflow(typed, {}, backends={"cpu/0": FakeBackend()}, store=store)


def test_explain_and_plan_take_a_question() -> None:
    assert "ask" in careful.explain(text="a")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda: gl.ask(7), "str"),  # type: ignore[call-overload]
        (lambda: gl.ask("Which?", choices=[]), "choices"),
        (lambda: gl.ask("Which?", choices="ab"), "choices"),
        (lambda: gl.ask("Which?", returns=int, choices=["a"]), "'a'"),
        (lambda: gl.ask("Which?", returns=gl.Database), "Database"),
        (lambda: gl.ask("Which?", name="a/b"), "'a/b'"),
    ],
)
def test_wrong_use_is_told_at_its_line(body: Any, said: str) -> None:
    @gl.workflow
    def wrong() -> str:
        return str(body()) if False else body()  # type: ignore[no-any-return]

    with pytest.raises(TraceError, match=said) as caught:
        wrong.trace()
    assert "test_asking.py" in caught.value.where


def test_outside_a_workflow_there_is_nobody_to_ask() -> None:
    with pytest.raises(TraceError):
        gl.ask("Hello?")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('names = ["question"]', 'names = ["choices"]'),
        ('names = ["question"]', 'names = ["question", "question"]'),
        ('names = ["question"]', "names = []"),
        ("schema = {", "schema = 7 : i64, unknown = {"),
        ('name = "ask", ', ""),
    ],
)
def test_the_verifier_holds_the_op_to_its_table(old: str, new: str) -> None:
    for text in (typed.trace().text, typed.program().text):
        assert old in text
        with pytest.raises(VerifyError):
            verify(Module.parse(text.replace(old, new, 1)))


def test_literals_are_choices() -> None:
    @gl.workflow
    def sure() -> Literal["yes", "no"]:
        choice: Any = Literal["yes", "no"]
        answer: Literal["yes", "no"] = gl.ask("Sure?", returns=choice)
        return answer

    assert stage(sure.program(), "ask").attributes["schema"]["enum"] == ["yes", "no"]
