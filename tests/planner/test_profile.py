"""Profiles: what history teaches, and that it survives JSON and merging."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.ir.program import Program
from gangline.ir.specs.event import StepRecord
from gangline.ir.specs.fleet import Fleet
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import Plan
from gangline.planner.profile import MAX_SAMPLES, Amount, Profile, observe
from gangline.planner.proposal import propose
from gangline.planner.workload import complete, default_profile

Models = Mapping[str, ModelSpec]


def step(stage: str, op: str, seconds: float, **fields: Any) -> StepRecord:
    plain: dict[str, Any] = {"id": stage, "parents": (), "device": "host/0"}
    plain |= {"status": "succeeded", "actual_s": seconds}
    return StepRecord(stage=stage, op=op, **{**plain, **fields})


def one_job(repairs: int = 0) -> list[StepRecord]:
    """Steps of a job that took twice what a naive model would say, without repairs."""
    drafts = [("draft", 900, 600 if index else 0, 40) for index in range(3)]
    calls = drafts + [("repair", 950, 900, 30)] * repairs
    steps = [step("read_schema", "tool", 0.004), step("execute", "tool", 0.2)]
    for name, prompt, cached, out in calls:
        tokens = {"prompt_tokens": prompt, "cached_tokens": cached}
        steps += [
            step(f"{name}.tokenize", "tokenize", 0.001, prompt_tokens=prompt),
            step(f"{name}.prefill", "prefill", 0.002 * (prompt - cached) + 0.01, **tokens),
            step(f"{name}.decode", "decode", 0.5 * out, prompt_tokens=prompt, output_tokens=out),
            step(f"{name}.detokenize", "detokenize", 0.001, output_tokens=out),
        ]
    return steps


def test_defaults_come_from_the_program(question: Program) -> None:
    profile = default_profile(question)
    assert profile.factors == {"drafts": 3.0, "repairs": 1.5}
    decode = profile.stages["draft.decode"]
    assert decode.visits == 3.0
    assert decode.output_tokens == Amount(40.0, 5.0, 100.0)
    prompt = profile.stages["draft.prefill"].prompt_tokens
    assert prompt.mean == pytest.approx(703 / 3.5 + 150)
    assert prompt.low < prompt.mean < prompt.high
    assert profile.stages["execute"].seconds is not None


def test_items_with_one_prompt_share_it(question: Program) -> None:
    """Drafts that differ only in their seed compute their prompt once."""
    row = default_profile(question).stages["draft.prefill"]
    assert row.cached_tokens.mean == pytest.approx(row.prompt_tokens.mean * 2 / 3)
    assert default_profile(question).stages["repair.prefill"].cached_tokens.mean == 0.0


def test_prompts_that_read_the_item_share_nothing(build: Any) -> None:
    items = build.add("constant", "items", value=[1, 2])
    each = build.region(lambda item: build.llm("ask", (item,), "large"))
    build.add("map", "asks", (items,), (each,))
    assert default_profile(build.program()).stages["ask.prefill"].cached_tokens.mean == 0.0


@pytest.mark.parametrize("fn", ["range", "list"])
def test_the_width_of_a_map_is_read_where_it_is_known(build: Any, fn: str) -> None:
    five = build.add("constant", "five", value=5)
    operands = (five,) if fn == "range" else (five,) * 5
    items = build.add("compute", "items", operands, fn=fn)
    each = build.region(lambda item: build.tool("look", (item,)))
    build.add("map", "looks", (items,), (each,))
    assert default_profile(build.program()).stages["look"].visits == 5.0


def test_branch_sides_share_the_visits(build: Any) -> None:
    asked = build.tool("ask")
    yes = build.region(lambda _: build.tool("yes"))
    no = build.region(lambda _: build.tool("no"))
    build.add("branch", "choose", (asked,), (yes, no))
    program = build.program()
    assert default_profile(program).stages["yes"].visits == 0.5
    seen = observe([step("ask", "tool", 1.0), step("no", "tool", 1.0)])
    learned = complete(program, default_profile(program).merge(seen))
    assert learned.factors["choose"] < 0.25
    assert learned.stages["no"].visits > 0.75


def test_a_side_never_taken_so_far_is_not_ruled_out(build: Any) -> None:
    asked = build.tool("ask")
    agent = build.region(lambda _: build.tool("long"))
    yes = build.region(lambda _: build.add("call", "agent", (), (agent,)))
    no = build.region(lambda _: build.tool("no"))
    build.add("branch", "choose", (asked,), (yes, no))
    program = build.program()
    short, full = ([step("ask", "tool", 1.0), step(name, "tool", 1.0)] for name in ("no", "long"))
    once = observe(short)
    assert 0.05 < complete(program, once).factors["choose"] < 0.3
    thrice = once.merge(observe(short)).merge(observe(full))
    assert thrice.stages["long"].visits == pytest.approx(1 / 3)
    assert complete(program, thrice).factors["choose"] == pytest.approx(1 / 3)


def test_observing_gives_means_and_quantiles() -> None:
    steps = [step("s", "tool", seconds) for seconds in (1.0, 2.0, 3.0)]
    row = observe(steps, num_jobs=3).stages["s"]
    assert row.visits == 1.0
    assert row.source == "observed"
    assert row.seconds is not None
    assert row.seconds.mean == 2.0
    assert row.seconds.low < 1.6
    assert row.seconds.high > 2.5


def test_how_long_a_person_thinks_is_not_learned() -> None:
    seen = observe([step("confirm", "ask", 86_400.0), step("look", "tool", 1.0)])
    assert list(seen.stages) == ["look"]


def test_failed_and_unmeasured_steps_teach_nothing() -> None:
    failed = step("s", "tool", 9.0, status="failed")
    unmeasured = replace(step("t", "tool", 0.0), actual_s=None)
    timed = replace(unmeasured, stage="u", start_s=1.0, end_s=3.0)
    seen = observe([failed, unmeasured, timed])
    assert set(seen.stages) == {"u"}
    assert seen.stages["u"].samples[0].seconds == 2.0


def test_a_stage_that_was_not_reached_becomes_less_likely_but_stays(question: Program) -> None:
    declared = default_profile(question)
    after_one = complete(question, declared.merge(observe(one_job())))
    visits = after_one.stages["repair.decode"].visits
    assert 0 < visits < 0.6 < declared.stages["repair.decode"].visits
    assert after_one.factors["repairs"] == pytest.approx(visits)
    profile = declared
    for _ in range(20):
        profile = profile.merge(observe(one_job()))
    assert 0 < profile.stages["repair.decode"].visits < 0.05


def test_history_alone_is_completed_with_defaults(question: Program) -> None:
    full = complete(question, observe(one_job()))
    assert set(full.stages) == set(default_profile(question).stages)
    assert full.stages["draft.prefill"].prompt_tokens.mean == 900


def test_declared_factors_override_the_defaults(question: Program) -> None:
    full = complete(question, Profile(factors={"drafts": 8.0}))
    assert full.stages["draft.decode"].visits == 8.0
    assert full.factors["repairs"] == 1.5


def test_samples_are_bounded() -> None:
    profile = Profile()
    for _ in range(40):
        profile = profile.merge(observe(one_job(repairs=3)))
    assert max(len(row.samples) for row in profile.stages.values()) == MAX_SAMPLES
    assert profile.num_jobs == 40


def test_json_round_trip(question: Program) -> None:
    profile = default_profile(question).merge(observe(one_job()))
    assert Profile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=30))
def test_amounts_are_ordered(values: Sequence[float]) -> None:
    amount = Amount.of(values)
    assert amount.low <= amount.mean <= amount.high


def error(plan: Plan, steps: Sequence[StepRecord]) -> float:
    """Mean relative error of the predicted seconds of a job's steps."""
    errors = [abs(plan.stage(s.stage).seconds / (s.actual_s or 1.0) - 1.0) for s in steps]
    return sum(errors) / len(errors)


def test_the_second_job_is_predicted_better_than_the_first(
    question: Program, fleet: Fleet, models: Models
) -> None:
    alone = replace(fleet, devices=fleet.devices[:1], links=())
    actual = one_job()
    first = propose(question, None, alone, models)
    second = propose(question, observe(actual), alone, models)
    assert error(second, actual) < 0.5 * error(first, actual)
    assert error(second, actual) < 0.25
    decode = second.stage("draft.decode")
    assert decode.source == "calibrated"
    assert decode.low_s < 20.0 < decode.high_s
    assert decode.high_s / decode.low_s < first.stage("draft.decode").high_s / (
        first.stage("draft.decode").low_s
    )


def test_a_stage_never_seen_profits_from_others_of_its_model(
    question: Program, fleet: Fleet, models: Models
) -> None:
    alone = replace(fleet, devices=fleet.devices[:1], links=())
    before = propose(question, None, alone, models).stage("repair.decode")
    after = propose(question, observe(one_job()), alone, models).stage("repair.decode")
    assert after.source == "calibrated"
    assert after.seconds > 2 * before.seconds


def test_measuring_one_device_teaches_nothing_about_another(
    question: Program, fleet: Fleet, models: Models
) -> None:
    cards = replace(fleet.devices[1], usd_per_hour=0.001)
    mixed = replace(fleet, devices=(fleet.devices[0], cards))
    plan = propose(question, observe(one_job()), mixed, models)
    assert plan.stage("draft.decode").device == "card"
    assert plan.stage("draft.decode").source == "spec"
