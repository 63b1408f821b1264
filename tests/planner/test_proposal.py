"""The proposed plan: cheapest in time, honest when there is none."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gangline.ir.errors import InfeasibleError, ModelError
from gangline.ir.program import Program
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import Plan
from gangline.planner.profile import Profile
from gangline.planner.proposal import propose

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "plan.json"
shared_fixtures = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
Models = Mapping[str, ModelSpec]


def repriced(fleet: Fleet, **prices: float) -> Fleet:
    devices = tuple(
        replace(device, usd_per_hour=prices.get(device.name, device.usd_per_hour))
        for device in fleet.devices
    )
    return replace(fleet, devices=devices)


def test_plan_covers_every_step_stage_and_is_valid_json(
    question: Program, fleet: Fleet, models: Models
) -> None:
    plan = propose(question, None, fleet, models)
    names = [stage.name for stage in question.walk() if stage.op not in ("constant", "compute")]
    assert [row.stage for row in plan.stages] == [n for n in names if n not in CONTROL]
    document = json.loads(json.dumps(plan.to_json()))
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert Plan.from_json(document) == plan


CONTROL = {"drafts", "repairs"}


def test_total_usd_is_the_sum_of_visits(question: Program, fleet: Fleet, models: Models) -> None:
    plan = propose(question, None, fleet, models)
    assert plan.usd == pytest.approx(sum(row.usd * row.visits for row in plan.stages))
    assert plan.stage("draft.decode").visits == 3
    assert plan.stage("repair.decode").visits == 1.5


def test_interval_contains_the_expectation(question: Program, fleet: Fleet, models: Models) -> None:
    for row in propose(question, None, fleet, models).stages:
        assert 0 < row.low_s <= row.seconds <= row.high_s
        assert row.source in ("probed", "spec", "declared", "calibrated")


def test_critical_path_goes_through_the_drafts_and_the_repair(
    question: Program, fleet: Fleet, models: Models
) -> None:
    path = propose(question, None, fleet, models).critical_path
    assert path[0] == "read_schema"
    assert path.index("draft.prefill") < path.index("execute") < path.index("repair.decode")


def test_a_deadline_moves_the_model_to_the_faster_device_and_keeps_tools_on_the_cpu(
    question: Program, fleet: Fleet, models: Models
) -> None:
    # The card is faster and, at this price, dearer.
    fleet = repriced(fleet, card=2000.0)
    relaxed = propose(question, None, fleet, models)
    assert {row.device for row in relaxed.stages} == {"host"}
    hurried = propose(question, None, fleet, models, deadline_s=0.3 * relaxed.seconds)
    assert hurried.stage("draft.decode").device == "card"
    assert hurried.stage("execute").device == "host"
    assert hurried.seconds <= 0.3 * relaxed.seconds
    assert hurried.usd > relaxed.usd


def test_prefill_and_decode_split_only_over_a_link(
    question: Program, fleet: Fleet, models: Models
) -> None:
    plan = propose(question, None, replace(fleet, links=()), models)
    assert len({row.device for row in plan.stages if row.op in ("prefill", "decode")}) == 1
    unsplit = propose(question, None, fleet, models, split=False)
    assert len({row.device for row in unsplit.stages if row.op in ("prefill", "decode")}) == 1


@pytest.fixture
def halves(fleet: Fleet) -> Fleet:
    """The halves of a call want different devices: compute is on the card, bandwidth not."""
    host, card = fleet.devices
    host = replace(host, spec=replace(host.spec, memory_bytes_per_s=4e12))
    return replace(fleet, devices=(host, card))


def test_a_slow_link_costs_time(question: Program, halves: Fleet, models: Models) -> None:
    slow = replace(halves, links=tuple(replace(link, latency_s=5.0) for link in halves.links))
    split = propose(question, None, halves, models)
    assert split.stage("draft.prefill").device == "card"
    assert split.stage("draft.decode").device == "host"
    assert propose(question, None, slow, models).seconds > split.seconds + 5.0


def test_a_link_the_wrong_way_does_not_carry_the_kv_cache(
    question: Program, halves: Fleet, models: Models
) -> None:
    back = replace(halves, links=tuple(x for x in halves.links if x.source == "host"))
    plan = propose(question, None, back, models)
    assert len({row.device for row in plan.stages if row.op in ("prefill", "decode")}) == 1


def test_infeasible_deadline_names_the_stage_and_the_nearest_deadline(
    question: Program, fleet: Fleet, models: Models
) -> None:
    with pytest.raises(InfeasibleError) as caught:
        propose(question, None, fleet, models, deadline_s=0.01)
    assert "decode" in caught.value.where
    match = re.search(r"Ask for ([\d.]+) s", caught.value.next_step)
    assert match
    nearest = float(match[1])
    assert propose(question, None, fleet, models, deadline_s=nearest).seconds <= nearest
    with pytest.raises(InfeasibleError):
        propose(question, None, fleet, models, deadline_s=nearest - 0.005)


def test_infeasible_budget_names_a_budget_that_is_feasible(
    question: Program, fleet: Fleet, models: Models
) -> None:
    with pytest.raises(InfeasibleError) as caught:
        propose(question, None, fleet, models, budget_usd=1e-9)
    match = re.search(r"Allow \$([\d.e-]+)", caught.value.next_step)
    assert match
    assert propose(question, None, fleet, models, budget_usd=float(match[1]))


def test_not_strict_gives_the_nearest_plan(question: Program, fleet: Fleet, models: Models) -> None:
    plan = propose(question, None, fleet, models, deadline_s=0.01, strict=False)
    assert plan.seconds > 0.01
    assert plan.deadline_s == 0.01


def test_a_tool_needs_cores(question: Program, fleet: Fleet, models: Models) -> None:
    gpus = replace(fleet, devices=fleet.devices[1:], links=())
    with pytest.raises(InfeasibleError, match=r"'read_schema' is a tool.*cpu"):
        propose(question, None, gpus, models)


def test_a_model_must_fit_the_memory(question: Program, fleet: Fleet, models: Models) -> None:
    devices = tuple(
        replace(device, spec=replace(device.spec, memory_bytes=4_000_000_000))
        for device in fleet.devices
    )
    with pytest.raises(InfeasibleError, match=r"'large'.*4\.0 GB"):
        propose(question, None, replace(fleet, devices=devices), models)


def test_an_unknown_model_is_named_with_its_neighbours(
    question: Program, fleet: Fleet, models: Models
) -> None:
    others = {"larger": models["large"]}
    with pytest.raises(ModelError, match=r"'large'.*larger"):
        propose(question, None, fleet, others)


def test_program_deadline_holds_unless_another_is_given(
    question: Program, fleet: Fleet, models: Models
) -> None:
    hurried = replace(question, deadline_s=0.01)
    with pytest.raises(InfeasibleError):
        propose(hurried, None, fleet, models)
    assert propose(hurried, None, fleet, models, deadline_s=1000.0).deadline_s == 1000.0


def test_remote_endpoint_is_priced_per_token(
    question: Program, fleet: Fleet, models: Models, cpu: Any
) -> None:
    api = replace(cpu, type="api", kind="api", cores=0, flops={}, efficiency={"ttft_s": 0.4})
    remote = FleetDevice("remote", api, usd_per_mtok_in=0.5, usd_per_mtok_out=2.0)
    host = fleet.devices[0]
    tiny = replace(host, spec=replace(host.spec, memory_bytes=1_000_000_000))
    plan = propose(question, None, Fleet("f", (tiny, remote)), models)
    decode, prefill = plan.stage("draft.decode"), plan.stage("draft.prefill")
    assert decode.device == "remote"
    assert decode.usd == pytest.approx(decode.output_tokens * 2.0 / 1e6)
    assert prefill.usd == pytest.approx(prefill.prompt_tokens * 0.5 / 1e6)
    assert prefill.seconds >= 0.4


def test_propose_is_deterministic(question: Program, fleet: Fleet, models: Models) -> None:
    first = propose(question, None, fleet, models)
    assert all(propose(question, None, fleet, models) == first for _ in range(3))


@shared_fixtures
@given(deadlines=st.tuples(st.floats(0.2, 60), st.floats(0.2, 60)), price=st.floats(0.1, 3000))
def test_a_looser_deadline_never_costs_more(
    question: Program,
    fleet: Fleet,
    models: Models,
    deadlines: tuple[float, float],
    price: float,
) -> None:
    tight, loose = sorted(deadlines)
    priced = repriced(fleet, card=price)
    try:
        hurried = propose(question, None, priced, models, deadline_s=tight)
    except InfeasibleError:
        return
    relaxed = propose(question, None, priced, models, deadline_s=loose)
    assert relaxed.usd <= hurried.usd * (1 + 1e-9)
    assert hurried.seconds <= tight


@shared_fixtures
@given(prices=st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)))
def test_a_dearer_device_never_makes_a_job_cheaper(
    question: Program, fleet: Fleet, models: Models, prices: tuple[float, float]
) -> None:
    low, high = sorted(prices)
    cheap = propose(question, None, repriced(fleet, card=low), models)
    dear = propose(question, None, repriced(fleet, card=high), models)
    assert cheap.usd <= dear.usd * (1 + 1e-9)


def test_jobs_in_flight_share_decode_steps(question: Program, fleet: Fleet, models: Models) -> None:
    alone = propose(question, Profile(), fleet, models)
    busy = propose(question, Profile(jobs_in_flight=8.0), fleet, models)
    assert busy.stage("repair.decode").usd < 0.5 * alone.stage("repair.decode").usd


def test_planning_a_written_workflow_takes_milliseconds(
    question: Program, fleet: Fleet, models: Models
) -> None:
    propose(question, None, fleet, models)
    start = time.process_time()
    propose(question, None, fleet, models)
    assert time.process_time() - start < 0.2
