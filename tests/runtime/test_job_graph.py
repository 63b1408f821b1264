"""The graph a job made: planned steps in their expand, with what became of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.runtime.api import run_job
from gangline.runtime.job_graph import JobGraph, job_graph
from gangline.runtime.store import Store
from gangline.workflows.plan_outcome import PlanOutcome

PLAN = '1. pick(word="a")\n2. pick(word="$1")\n3. pick(word="")\n4. join()'


@gl.tool(effects="none")
def pick(word: str) -> str:
    """Give a word back; fail on none."""
    if not word:
        raise ValueError("no word")
    return word


@gl.llm(model="m", max_tokens=200)
def written(goal: str) -> str:
    """Plan {goal}."""
    raise NotImplementedError


@gl.workflow
def graphed(goal: str) -> PlanOutcome:
    return gl.expand(written(goal), tools=[pick], form="lines", on_error="keep", name="calls")


@pytest.fixture
def events(tmp_path: Path) -> Any:
    with Store(tmp_path / "jobs") as store:
        backend = FakeBackend(lambda prompt: PLAN)
        made = run_job(graphed, {"goal": "x"}, backends={"cpu/0": backend}, store=store)
        return store.events(made.job_id)


def test_planned_steps_are_nodes_in_their_expand(
    events: Any, validate: Callable[[str, Any], None]
) -> None:
    document = job_graph(events).document()
    validate("explain_job", document)
    nodes = {node["id"]: node for node in document["nodes"]}
    assert [name for name in nodes if nodes[name]["parent"] == "calls"] == [
        "calls/1",
        "calls/2",
        "calls/3",
    ]
    assert {"source": "calls/1", "target": "calls/2"} in document["edges"]
    assert [nodes[f"calls/{n}"]["status"] for n in (1, 2, 3)] == [
        "succeeded",
        "succeeded",
        "failed",
    ]
    assert nodes["calls"]["status"] == "succeeded"
    assert nodes["calls/1"]["start_s"] <= nodes["calls/1"]["end_s"]


def test_a_plan_that_is_not_whole_is_shown_as_far_as_it_is(events: Any) -> None:
    cut = next(at for at, event in enumerate(events) if event.type == "step.planned")
    graph = job_graph(events[: cut + 1])
    assert [step["id"] for step in graph.plans["calls"]] == ["1"]


def test_text_and_drawing(events: Any) -> None:
    graph: JobGraph = job_graph(events)
    lines = graph.text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.split()[:1] == ["calls"])
    assert lines[at + 1].strip() == "1. pick(word='a')"
    assert lines[at + 2].strip() == "2. pick(word=$1), after 1"
    drawn = graph.svg()
    assert "1: pick" in drawn and "<svg" in drawn
