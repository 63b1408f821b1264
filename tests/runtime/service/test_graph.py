"""Folding events per stage, the graph document and its forms, the plan report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from gangline.ir.specs.event import Event
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.planner.calibration import Calibration, Key
from gangline.runtime.service.graph import draw, graph_document, graph_mermaid
from gangline.runtime.service.job_fold import JobFold, StageTotals, stage_status
from gangline.runtime.service.plan_report import misses, plan_report

Validate = Callable[[str, Any], None]


def step(seq: int, kind: str, name: str, stage: str, **data: Any) -> Event:
    told = {"stage": stage, "op": "tool", "device": "cpu/0", **data}
    return Event("j", seq, f"step.{kind}", 100.0 + seq, name, told)


def folded(*events: Event) -> JobFold:
    fold = JobFold()
    fold.add([Event("j", 1, "job.queued", 99.0), Event("j", 2, "job.started", 100.0)])
    fold.add(events)
    return fold


def test_steps_of_a_stage_are_summed() -> None:
    fold = folded(
        step(3, "started", "m[0]/a", "a"),
        step(4, "started", "m[1]/a", "a"),
        step(5, "completed", "m[0]/a", "a", start_s=3.0, end_s=5.0, usd=0.5, output_tokens=7),
        step(6, "failed", "m[1]/a", "a", start_s=4.0, end_s=5.0, usd=0.25, error={"code": "step"}),
        Event("j", 7, "step.retrying", 107.0, "m[1]/a", {"attempt": 2}),
        step(8, "started", "m[1]/a", "a", device="cpu/1"),
    )
    totals = fold.stages["a"]
    assert {name: count for name, count in totals.counts.items() if count} == {
        "succeeded": 1,
        "running": 1,
    }
    assert (totals.seconds, totals.usd, totals.output_tokens) == (3.0, 0.75, 7)
    assert (totals.start_s, totals.end_s, totals.devices) == (3.0, 5.0, {"cpu/0", "cpu/1"})
    fold.add([step(9, "completed", "m[1]/a", "a", start_s=8.0, end_s=12.0, usd=1.0)])
    # Of a step that was tried twice: the last time it took, the money of both.
    assert (totals.seconds, totals.usd, totals.ended) == (6.0, 1.75, 2)
    assert fold.usd == 1.75


def test_events_seen_before_change_nothing() -> None:
    events = [step(3, "started", "a", "a"), step(4, "completed", "a", "a", usd=1.0)]
    fold = folded(*events)
    fold.add(events)
    assert fold.usd == 1.0 and fold.stages["a"].ended == 1


@pytest.mark.parametrize(
    ("counts", "stopped", "word"),
    (
        ({}, False, "pending"),
        ({"running": 1, "succeeded": 3}, False, "running"),
        ({"queued": 1, "succeeded": 3}, False, "queued"),
        ({"failed": 1, "running": 3}, False, "failed"),
        ({"running": 1, "succeeded": 3}, True, "cancelled"),
        ({"failed": 1, "running": 1}, True, "failed"),
        ({"succeeded": 2}, True, "succeeded"),
        ({"running": 0, "succeeded": 2}, False, "succeeded"),
    ),
)
def test_one_word_for_all_steps_of_a_stage(
    counts: dict[str, int], stopped: bool, word: str
) -> None:
    assert stage_status(StageTotals("a", counts=counts), stopped) == word


def nested(builder: Any) -> Any:
    p = builder("n")
    count = p.tool("count", p.inputs[0])
    made = p.map(count, lambda item: p.tool("each", item))
    chosen = p.branch(count, lambda: p.tool("yes", made), lambda: p.tool("no", made))
    return p.done(p.tool("last", chosen))


def test_control_flow_is_a_box_with_the_state_of_its_inside(
    builder: Any, validate: Validate
) -> None:
    fold = folded(
        step(3, "started", "count", "count"),
        step(4, "completed", "count", "count", start_s=0.0, end_s=1.0, usd=0.0),
        step(5, "started", "map[0]/each", "each"),
        step(6, "completed", "map[0]/each", "each", start_s=2.0, end_s=3.0, usd=0.0),
        step(7, "started", "map[1]/each", "each"),
    )
    document = graph_document("j", nested(builder), fold, None)
    validate("job_graph", document)
    nodes = {node["id"]: node for node in document["nodes"]}
    assert {name: node["parent"] for name, node in nodes.items()} == {
        "count": None,
        "map": None,
        "each": "map",
        "branch": None,
        "yes": "branch",
        "no": "branch",
        "last": None,
    }
    assert (nodes["yes"]["side"], nodes["no"]["side"]) == ("then", "else")
    assert (nodes["each"]["status"], nodes["map"]["status"]) == ("running", "running")
    assert nodes["each"]["steps"] == {"succeeded": 1, "running": 1}
    assert nodes["map"]["start_s"] == 2.0 or nodes["map"]["start_s"] == 5.0
    assert nodes["last"]["status"] == "pending"
    edges = {(edge["source"], edge["target"]) for edge in document["edges"]}
    assert edges == {("count", "map"), ("count", "branch"), ("map", "branch"), ("branch", "last")}
    text = graph_mermaid(document)
    assert text.startswith("flowchart LR\n") and text.count("subgraph") == text.count("end\n") == 2
    assert "<svg" in draw(document, nested(builder), "svg")


def test_labels_cannot_break_out_of_a_drawing(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool('a"]; click x "javascript:alert(1)"'))
    document = graph_document("j", program, folded(), None)
    assert '"]; click' not in graph_mermaid(document)


def test_ten_thousand_steps_and_five_hundred_nodes_are_quick(builder: Any) -> None:
    def events() -> Iterator[Event]:
        for number in range(10_000):
            yield step(3 + 2 * number, "started", f"map[{number}]/each", "each")
            yield step(
                4 + 2 * number, "completed", f"map[{number}]/each", "each", start_s=0.0, end_s=1.0
            )

    p = builder("n")
    value = p.inputs[0]
    for _ in range(500):
        value = p.tool("link", value)
    wide, program = list(events()), replace(p.done(value), text="a chain")
    began = time.process_time()
    fold = folded(*wide)
    document = graph_document("j", program, fold, None)
    assert time.process_time() - began < 1.0  # 0.1 s on a quiet machine
    assert len(document["nodes"]) == 500 and len(document["edges"]) == 499
    began = time.process_time()
    graph_document("j", program, fold, None)
    assert time.process_time() - began < 0.1


def stage(name: str, seconds: float, usd: float, visits: float = 1.0) -> StagePlan:
    return StagePlan(name, "decode", "gpu", seconds, usd, visits, low_s=0.0, high_s=9.0)


def test_a_report_sets_predicted_against_actual_per_visit(validate: Validate) -> None:
    rows = (stage("a", 1.0, 0.5, 3.0), stage("never", 1.0, 0.1))
    plan = Plan("w", "0" * 32, "f", rows, 5.0, 2.0, critical_path=("a",))
    fold = folded(
        step(3, "started", "a", "a"),
        step(4, "completed", "a", "a", start_s=0.0, end_s=2.0, usd=1.0),
        step(5, "started", "a2", "a"),
        step(6, "completed", "a2", "a", start_s=0.0, end_s=2.0, usd=1.0),
        step(7, "completed", "b", "unplanned", start_s=0.0, end_s=1.0, usd=0.0),
        Event("j", 8, "job.completed", 104.0, "", {}),
    )
    known = Calibration()
    for turn in range(3):
        known = known.observed([(Key("gpu", "decode", "m", "t1 c1 b1"), 2.0 + turn, 1.0)])
    report = plan_report("j", fold, plan, known)
    validate("job_plan_report", report)
    assert report["actual"] == {"seconds": 4.0, "usd": 2.0}
    assert report["error"] == {"seconds": 0.25, "usd": 0.0}
    by_stage = {row["stage"]: row for row in report["stages"]}
    assert by_stage["a"]["error"] == {"seconds": -0.5, "usd": -0.5}
    assert (by_stage["a"]["predicted"]["visits"], by_stage["a"]["actual"]["visits"]) == (3.0, 2)
    assert by_stage["never"]["actual"] is None and by_stage["unplanned"]["predicted"] is None
    (row,) = report["calibration"]
    assert row["op"] == "decode" and row["before"] > row["after"]


def test_a_running_job_has_no_error_yet(validate: Validate) -> None:
    plan = Plan("w", "0" * 32, "f", (stage("a", 1.0, 0.5),), 5.0, 2.0)
    report = plan_report("j", folded(step(3, "started", "a", "a")), plan, None)
    validate("job_plan_report", report)
    assert report["error"] == {"seconds": None, "usd": None}
    assert report["actual"]["seconds"] is None


def test_what_a_plan_misses() -> None:
    plan = Plan("w", "h", "f", (), 5.0, 2.0)
    assert misses(plan, 5.0, 2.0) == [] and misses(None, 0.0, 0.0) == []
    assert len(misses(plan, 4.9, 1.9)) == 2 and misses(plan, None, None) == []
