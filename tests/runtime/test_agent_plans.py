"""Plans of loops over agents: expected visits, times and drawings before any job has run."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gangline.ir.critical_path import is_timed, paths
from gangline.ir.program import STEP_OPS, Program
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.ir.visits import visits
from gangline.planner.draws import draw_jobs
from gangline.planner.graph_items import Level
from gangline.planner.graph_tree import drawn_tree
from gangline.planner.profile import Profile
from gangline.planner.tco.job_graph import job_graph, sample
from gangline.planner.workload import complete, default_profile
from gangline.runtime.dispatch.remaining import Expectation
from gangline.workflows.registry import load

ROOT = Path(__file__).parents[2]
EXAMPLES = (
    "single.py:clerk",
    "network.py:desk",
    "supervisor.py:report",
    "supervisor_as_tool.py:trip",
    "hierarchical.py:handbook",
    "custom.py:announce",
)


def program(reference: str) -> Program:
    return load(f"{ROOT / 'examples' / 'agents' / reference}").program()


def expected(found: Program) -> dict[str, float]:
    factors = default_profile(found).factors
    return {visit.stage.name: visit.visits for visit in visits(found, factors)}


def test_each_arm_of_a_switch_is_expected_equally_often() -> None:
    """Of six trips three are expected; of research, write, review and finish each a quarter."""
    counted = expected(program("supervisor.py:report"))
    assert counted["lead.decode"] == 3.0
    for name in ("research/find_facts", "write/compose.decode", "review/criticise.decode"):
        assert counted[name] == pytest.approx(0.75)
    counted = expected(program("network.py:desk"))
    for name in ("triage/sort_question", "billing/answer_billing", "technical/answer_technical"):
        assert counted[f"{name}.decode"] == pytest.approx(2.5 / 3)


def test_an_agent_of_a_plan_is_expected_once() -> None:
    counted = expected(program("supervisor_as_tool.py:trip"))
    assert counted["expand"] == counted["name_sights.decode"] == counted["weather"] == 1.0


@pytest.mark.parametrize("reference", EXAMPLES)
def test_times_of_every_kind_agree_on_what_there_is(reference: str) -> None:
    found = program(reference)
    profile = complete(found)
    seconds = {stage.id: 1.0 for stage in found.stages if is_timed(stage)}
    times = paths(found, seconds, profile.factors)
    assert 0.0 < times.seconds < math.inf
    steps = {stage.name for stage in found.walk() if stage.op in STEP_OPS}
    assert set(times.spans()) >= steps
    shares = times.stages()
    critical = sum(shares[stage.id].deadline_share for stage in times.critical())
    assert critical == pytest.approx(1.0)


def test_a_plan_takes_its_own_time_and_then_its_agents() -> None:
    found = program("supervisor_as_tool.py:trip")
    seconds = {stage.id: 0.0 for stage in found.stages if is_timed(stage)}
    names = {stage.name: stage.id for stage in found.stages}
    seconds[names["expand"]], seconds[names["weather"]] = 2.0, 3.0
    times = paths(found, seconds, default_profile(found).factors)
    assert times.seconds == 5.0 and times.spans()["weather"] == (2.0, 5.0)
    assert [
        stage.name for stage in times.critical() if stage.id in (names["expand"], names["weather"])
    ] == ["expand", "weather"]
    whole = times.stages()
    assert whole[names["expand"]].seconds == 2.0 and whole[names["weather"]].longest_s == 5.0

    graph = job_graph(found, default_profile(found).factors, lambda stage: stage.id)
    drawn = sample(
        graph, lambda part, count, rng: np.full(count, seconds[part]), 4, np.random.default_rng(0)
    )
    assert drawn.tolist() == [5.0] * 4

    rows = tuple(
        StagePlan(stage.name, stage.op, "cpu", seconds[stage.id], 0.0)
        for stage in found.stages
        if stage.op in STEP_OPS
    )
    after = Expectation(found, Plan("w", found.hash, "f", rows, 5.0, 0.0))
    assert after.after(found.stages[names["plan.detokenize"]]) == 5.0


@pytest.mark.parametrize("reference", EXAMPLES)
def test_drawn_jobs_have_the_expected_visits(reference: str) -> None:
    found = program(reference)
    jobs = draw_jobs(found, Profile(), 400, seed=1)
    counted = expected(found)
    for name in (stage.name for stage in found.walk() if stage.op in STEP_OPS):
        mean = sum(step.stage == name for job in jobs for step in job) / len(jobs)
        assert mean == pytest.approx(counted[name], rel=0.35, abs=0.1), name


def names_of(level: Level) -> set[str]:
    inside = {name for item in level.items for inner in item.inside for name in names_of(inner)}
    return inside | {item.id for item in level.items}


@pytest.mark.parametrize("reference", EXAMPLES)
def test_every_step_is_drawn(reference: str) -> None:
    found = program(reference)
    steps = {stage.name for stage in found.walk() if stage.op in STEP_OPS}
    assert steps <= names_of(drawn_tree(found))


def test_plan_and_explain_of_a_hierarchy(tmp_path: Path) -> None:
    example = "examples/agents/hierarchical.py:handbook"
    for words in (["plan", example, "--fleet", "examples/mixed_fleet.toml", "--json"],
                  ["explain", example, "--stage", "plan", "--json"]):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "gangline", *words],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "lead_writing.decode" in json.dumps(json.loads(done.stdout))
