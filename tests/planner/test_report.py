"""What people see of a plan: a table, and a picture that is well-formed and harmless."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from gangline.ir.program import Program
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import Plan
from gangline.planner.proposal import propose
from gangline.planner.report import (
    COLUMNS,
    LINE_WIDTH,
    bars,
    table_rows,
    text_table,
    timeline_svg,
    timeline_text,
)


@pytest.fixture
def plan(question: Program, fleet: Fleet, models: Mapping[str, ModelSpec]) -> Plan:
    return propose(question, None, fleet, models, deadline_s=100.0)


def test_the_table_has_every_stage_and_marks_the_critical_path(plan: Plan) -> None:
    rows = table_rows(plan)
    assert {len(row) for row in rows} == {len(COLUMNS)}
    starred = [row[0][2:] for row in rows if row[0].startswith("*")]
    assert starred == list(plan.critical_path)


def test_the_text_states_deadline_and_dollars(plan: Plan) -> None:
    text = text_table(plan)
    assert text.endswith("deadline 100 s\n")
    assert f"${plan.usd:.6f} a job" in text
    limits = text_table(replace(plan, deadline_s=None, budget_usd=0.5)).splitlines()[-1]
    assert limits == "budget $0.5"


def test_the_columns_are_aligned_and_fit_a_plain_terminal(plan: Plan) -> None:
    header, *rows = text_table(plan).splitlines()[: 1 + len(plan.stages)]
    for line, row in zip(rows, plan.stages, strict=True):
        assert line.index(row.device, 2 + len(row.stage)) == header.index("device")
        assert line[: header.index("visits") + len("visits")].endswith(f"{row.visits:.2g}")
        assert line.endswith(row.source) and len(line) <= LINE_WIDTH


def test_bars_follow_each_other(question: Program, plan: Plan) -> None:
    drawn = {bar.stage: bar for bar in bars(plan, question)}
    assert set(drawn) == {row.stage for row in plan.stages}
    prefill, decode = drawn["draft.prefill"], drawn["draft.decode"]
    assert prefill.end_s == pytest.approx(decode.start_s)
    assert decode.end_s - decode.start_s == pytest.approx(plan.stage("draft.decode").seconds)
    assert decode.critical


def test_the_picture_is_xml_with_a_box_per_stage(question: Program, plan: Plan) -> None:
    root = ElementTree.fromstring(timeline_svg(plan, question))
    boxes = root.findall("{http://www.w3.org/2000/svg}rect")
    assert len(boxes) == 1 + len(plan.stages)
    edged = [box for box in boxes if box.get("stroke")]
    assert len(edged) == len(plan.critical_path)


def test_names_cannot_break_out_of_the_picture(question: Program, plan: Plan) -> None:
    hostile = replace(plan, workflow="</text><script>alert(1)</script>")
    picture = timeline_svg(hostile, question)
    assert "<script" not in picture
    ElementTree.fromstring(picture)


def test_without_the_program_the_critical_path_is_still_a_chain(plan: Plan) -> None:
    chain = [bar for bar in bars(plan) if bar.critical]
    assert [bar.stage for bar in chain] == list(plan.critical_path)
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(chain))


def test_the_text_timeline_has_a_line_per_stage(question: Program, plan: Plan) -> None:
    for text in (timeline_text(plan), timeline_text(plan, question)):
        lines = text.splitlines()
        drawn = lines[: len(plan.stages)]
        assert [line.split()[0] for line in drawn] == [row.stage for row in plan.stages]
        marked = [line.split()[0] for line in drawn if "#" in line]
        assert marked == list(plan.critical_path)
        assert max(map(len, drawn)) <= LINE_WIDTH


def test_a_model_spread_over_devices_says_over_how_many(plan: Plan) -> None:
    decode = plan.stage("draft.decode")
    spread = replace(plan, stages=(replace(decode, tp=4), replace(decode, tp=2, pp=2), decode))
    assert [row[1] for row in table_rows(spread)] == [
        f"{decode.device} x4",
        f"{decode.device} x4",
        decode.device,
    ]
