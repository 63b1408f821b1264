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
    bars,
    fleet_rows,
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
    assert "of 100 s allowed" in text
    assert f"${plan.usd:.6f} a job" in text
    assert len({line.index("device") for line in text.splitlines()[:1]}) == 1


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


def test_a_fleet_is_listed_with_its_prices(fleet: Fleet) -> None:
    rows = fleet_rows(fleet)
    assert rows[0][0] == "host"
    assert "$0.2/h" in rows[0]


def test_without_the_program_the_critical_path_is_still_a_chain(plan: Plan) -> None:
    chain = [bar for bar in bars(plan) if bar.critical]
    assert [bar.stage for bar in chain] == list(plan.critical_path)
    assert all(a.end_s == b.start_s for a, b in itertools.pairwise(chain))


def test_the_text_timeline_has_a_line_per_stage(question: Program, plan: Plan) -> None:
    for text in (timeline_text(plan), timeline_text(plan, question)):
        lines = text.splitlines()
        assert len(lines) == len(plan.stages) + 1
        marked = [line.split()[0] for line in lines[:-1] if "#" in line]
        assert marked == list(plan.critical_path)
        assert max(map(len, lines[:-1])) < 110
