"""`gl.expand` in a workflow: what it records, what it refuses, and the example end to end."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.ir.errors import TraceError, VerifyError
from gangline.ir.module import Module
from gangline.ir.verifier import verify
from gangline.runtime.api import resume_job, run_job
from gangline.runtime.store import Store
from gangline.workflows.registry import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "research_plan.py"
MEETING = threading.Barrier(2, timeout=10.0)
CALLS: list[str] = []


@gl.tool(effects="read")
def meet_up(name: str) -> dict[str, str]:
    MEETING.wait()  # two of them must run at once
    return {"name": name}


@gl.tool(effects="none")
def put_together(parts: list[str], sep: str = "-") -> str:
    CALLS.append("put_together")
    return sep.join(parts)


@gl.tool(effects="read")
def count_rows(db: gl.Database, table: str) -> str:
    return f"{table} of {db}"


@gl.tool(effects="write")
def send_away(text: str) -> str:
    return text


@gl.tool(effects="read")
def write_plan(kind: str) -> list[dict[str, Any]]:
    CALLS.append("write_plan")
    plans: dict[str, list[dict[str, Any]]] = json.loads(kind)
    return plans["plan"]


@gl.workflow
def flow(kind: str) -> dict[str, Any]:
    return gl.expand(write_plan(kind), tools=[meet_up, put_together], max_steps=4)


@gl.workflow
def counting(kind: str, db: gl.Database) -> dict[str, Any]:
    return gl.expand(write_plan(kind), tools=[count_rows], given={"db": db})


@gl.workflow
def ordered(text: str) -> str:
    first = send_away(text)
    gl.expand([], tools=[send_away])
    return first + send_away(text)


def step(name: str, tool: str, /, **arguments: Any) -> dict[str, Any]:
    return {"id": name, "tool": tool, "arguments": arguments}


def run(workflow: Any, store: Store, plan: Any, **inputs: Any) -> Any:
    given = {"kind": json.dumps({"plan": plan}), **inputs}
    return run_job(workflow, given, backends={"cpu/0": FakeBackend()}, store=store)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path / "jobs") as opened:
        CALLS.clear()
        yield opened


def test_steps_run_at_once_and_read_each_other(store: Store) -> None:
    plan = [
        step("a", "meet_up", name="x"),
        step("b", "meet_up", name="y"),
        step("c", "put_together", parts=[{"$ref": "a/name"}, {"$ref": "b/name"}, "z"]),
    ]
    result = run(flow, store, plan)
    assert result.status == "succeeded", result.error
    assert result.output == {"a": {"name": "x"}, "b": {"name": "y"}, "c": "x-y-z"}
    again = store.events(result.job_id)
    assert sum(event.type == "step.completed" for event in again) == 5


def test_a_plan_uses_the_names_of_functions(store: Store, tmp_path: Path) -> None:
    """Also where another file has taken the name, so that the tool is registered otherwise."""
    text = """
import gangline as gl


@gl.tool(effects="none")
def put_together(parts: list[str]) -> str:
    return "other"


@gl.workflow
def other() -> dict[str, str]:
    return gl.expand(
        [{"id": "a", "tool": "put_together", "arguments": {"parts": []}}], tools=[put_together]
    )
"""
    (tmp_path / "other.py").write_text(text)
    assert put_together.name == "put_together"
    made = load(f"{tmp_path / 'other.py'}:other")
    result = run_job(made, {}, backends={"cpu/0": FakeBackend()}, store=store)
    assert result.output == {"a": "other"}


def test_a_database_is_given_and_not_chosen(store: Store) -> None:
    fine = run(counting, store, [step("a", "count_rows", table="t")], db="shop")
    assert fine.output == {"a": "t of shop"}
    bad = run(counting, store, [step("a", "count_rows", table="t", db="/etc/passwd")], db="shop")
    assert bad.status == "failed" and "which is not its" in bad.error["detail"]


def test_what_a_model_may_not_name_is_refused(store: Store) -> None:
    bad = run(flow, store, [step("a", "send_away", text="x")])
    assert bad.status == "failed" and "'send_away', which it may not use" in bad.error["detail"]
    assert "meet_up, put_together" in bad.error["next_step"]
    wrong = run(flow, store, [step("a", "put_together", parts="abc")])
    assert wrong.status == "failed" and "no array" in wrong.error["detail"]


def test_writes_around_and_inside_keep_their_order() -> None:
    program = ordered.program()
    made = {found.name: found for found in program.stages}
    assert made["send_away"].results[0] in made["expand"].operands
    assert made["expand"].results[0] in made["send_away#2"].operands


def test_explain_takes_an_expansion() -> None:
    assert "agent.expand" in flow.explain(kind="")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (lambda: gl.expand([], tools=[]), "list of tools"),
        (lambda: gl.expand([], tools=[len]), "list of tools"),  # type: ignore[list-item]
        (lambda: gl.expand([], tools=[send_away, send_away]), "of one name"),
        (lambda: gl.expand([], tools=[send_away], max_steps=0), "max_steps"),
        (lambda: gl.expand([], tools=[count_rows]), "may not choose"),
        (lambda: gl.expand([], tools=[send_away], given={"db": "x"}), "no tool"),
        (lambda: gl.expand([], tools=[send_away], given={"text": 7}), "no str"),
    ],
)
def test_wrong_use_is_told_at_its_line(body: Any, said: str) -> None:
    @gl.workflow
    def wrong() -> dict[str, Any]:
        return body()  # type: ignore[no-any-return]

    with pytest.raises(TraceError, match=said) as caught:
        wrong.trace()
    assert "test_expanding.py" in caught.value.where


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('names = ["plan", "db"]', 'names = ["db", "plan"]'),
        ('names = ["plan", "db"]', 'names = ["plan"]'),
        ('tool = "count_rows"', "tool = 7 : i64"),
        ('effects = "read", given', 'effects = "some", given'),
        ('given = ["db"]', 'given = ["other"]'),
        ('given = ["db"]', 'given = ["table"]'),
        ('required = ["table"]', 'required = ["db"]'),
        ("max_steps = 16", "max_steps = 0"),
        ("tools = [{", "tools = [7 : i64, {"),
    ],
)
def test_the_verifier_holds_the_op_to_its_table(old: str, new: str) -> None:
    for text in (counting.trace().text, counting.program().text):
        head, mark, tail = text.partition(".expand")
        assert old in tail
        with pytest.raises(VerifyError):
            verify(Module.parse(head + mark + tail.replace(old, new, 1)))


def test_the_example_asks_and_then_carries_out_the_plan(store: Store) -> None:
    plan = [step("look", "find", topic="racing"), step("cut", "shorten", text={"$ref": "look/0"})]
    backend: Callable[[], Any] = lambda: {"cpu/0": FakeBackend(lambda prompt: json.dumps(plan))}
    research = load(f"{EXAMPLE}:research")
    asked = run_job(research, {"topic": "racing"}, backends=backend(), store=store)
    assert asked.status == "input_required" and "look: find" in asked.interrupts[0]["question"]
    assert "expand" not in {record.op for record in asked.steps}, "nothing runs unapproved"
    done = resume_job(asked.job_id, "", True, backends=backend(), store=store)
    notes = {"look": ["The longest race is 1,600 km."], "cut": ["The", "longest", "race", "is"]}
    assert done.output == {"approved": True, "notes": notes}
    other = run_job(research, {"topic": "racing"}, backends=backend(), store=store)
    declined = resume_job(other.job_id, "", False, backends=backend(), store=store)
    assert declined.output == {"approved": False, "notes": {}}
