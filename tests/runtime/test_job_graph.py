"""The graph a job made: planned steps in their expand, with what became of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.runtime.api import run_job
from gangline.runtime.cli import app
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
    told = [line.split() for line in lines[at + 1 : at + 4]]
    assert [row[:2] for row in told] == [
        ["1.", "pick(word='a')"],
        ["2.", "pick(word=$1),"],
        ["3.", "pick(word='')"],
    ]
    assert told[1][2:6] == ["after", "1", "tool", "succeeded"] and "failed" in told[2]
    assert lines[at + 1].startswith("    1."), "deeper than the expand"
    assert sum("pick" in line for line in lines) == 3, "each call is told once"
    shown = graph.steps[-1]
    assert f"{shown.end_s:.3f} s" in graph.text()
    drawn = graph.svg()
    assert "1: pick" in drawn and "<svg" in drawn


def test_frames_are_indented(events: Any) -> None:
    graph: JobGraph = job_graph(events)
    steps = [
        replace(graph.steps[0], id=name, op="tool", stage=name)
        for name in ("a", "loop[0]/b", "loop[0]/then/c", "loop[1]/b", "d")
    ]
    lines = replace(graph, steps=steps).text().splitlines()[1:]
    assert [line[: len(line) - len(line.lstrip())] + line.split()[0] for line in lines] == [
        "  a",
        "  loop[0]",
        "    b",
        "    then",
        "      c",
        "  loop[1]",
        "    b",
        "  d",
    ]


@pytest.fixture
def db(tmp_path: Path) -> str:
    """A store elsewhere with one job; what is deeper in it asks for no workflow."""
    return str(tmp_path / "jobs")


def test_the_command_reads_any_store(
    events: Any,
    db: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    validate: Callable[[str, Any], None],
) -> None:
    job = events[0].job_id
    assert app.run(["explain", "--job", job[-8:], "--db", db, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    validate("explain_job", document)
    assert (document["job_id"], document["status"]) == (job, "succeeded")
    assert app.run(["explain", "--job", job, "--db", db]) == 0
    assert "1. pick(word='a')" in capsys.readouterr().out
    for suffix, mark in (("svg", "<svg"), ("html", "<!doctype html>"), ("txt", "graphed, job")):
        path = tmp_path / f"graph.{suffix}"
        assert app.run(["explain", "--job", job, "--db", db, "--out", str(path)]) == 0
        assert path.read_text().startswith(mark)
    assert "1: pick" in (tmp_path / "graph.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--job ID"),
        (("--job", "nobody"), "nobody"),
        (("text_to_sql", "--job", "x"), "at once"),
        (("text_to_sql", "--db", "x"), "--job"),
    ],
)
def test_what_cannot_be_explained(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(["explain", *arguments, "--json"]) == (1 if "nobody" in arguments else 2)
    assert told in json.dumps(json.loads(capsys.readouterr().out)["error"])
