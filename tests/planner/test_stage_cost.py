"""Estimates of stages: which model prices what, memory over several devices, energy, batches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gangline.ir.errors import InfeasibleError
from gangline.ir.program import Program
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.ir.specs.model import ModelSpec
from gangline.planner.catalogue import catalogue
from gangline.planner.costs.shape import ModelShape, find_shape
from gangline.planner.costs.step import step_cost
from gangline.planner.engine_times import engine_times
from gangline.planner.profile import Amount, Profile, Sample, StageProfile
from gangline.planner.proposal import propose
from gangline.planner.stage_cost import Option, StageCosts

H100 = catalogue()["H100-SXM-80"].spec
SMALL = find_shape("llama-3.1-8b")
LARGE = find_shape("llama-3.1-70b")


def on(spec: DeviceSpec, count: int = 1, tp: int = 1, usd_per_hour: float = 2.0) -> Option:
    return Option(FleetDevice("card", spec, count=count, usd_per_hour=usd_per_hour), tp)


def work(output: float = 200.0, prompt: float = 1000.0) -> StageProfile:
    return StageProfile(
        "decode", prompt_tokens=Amount.exactly(prompt), output_tokens=Amount.exactly(output)
    )


def test_catalogue_devices_are_priced_by_the_fitted_model_and_probed_ones_by_their_roofline(
    cpu: DeviceSpec, models: Mapping[str, ModelSpec]
) -> None:
    cost = step_cost(H100, SMALL, "bf16")
    times = engine_times(H100, SMALL)
    assert times.source == "fitted"
    assert times.step_s(1024.0, 16.0) == float(cost.decode_step_s(16.0, 1024.0))
    assert times.prefill_s(900.0, 400.0) == float(cost.prefill_s(900.0, 400.0))
    assert engine_times(cpu, models["small"]).source == "probed"
    assert engine_times(replace(H100, source="probed here"), SMALL).source == "probed"


def test_a_generation_without_data_rests_on_its_spec_and_is_doubted_more() -> None:
    known, unknown = (
        engine_times(replace(H100, generation=name), SMALL) for name in ("hopper", "unheard")
    )
    assert (known.source, unknown.source) == ("fitted", "spec")
    width = [
        times.intervals["decode"][1] / times.intervals["decode"][0] for times in (known, unknown)
    ]
    assert width[0] < width[1]


def test_a_model_too_large_for_one_device_is_spread_over_several() -> None:
    alone, four = engine_times(H100, LARGE), engine_times(H100, LARGE, 4)
    assert alone.kv_tokens < 0.0 < four.kv_tokens
    assert four.weight_bytes == pytest.approx(alone.weight_bytes, rel=0.01)
    assert four.step_s(1024.0, 8.0) < 0.5 * alone.step_s(1024.0, 8.0)


def test_the_plan_spreads_a_model_that_needs_it(question: Program, cpu: DeviceSpec) -> None:
    host, cards = FleetDevice("host", replace(cpu, memory_bytes=8 * 10**9)), on(H100, 4).device
    models = {"large": _row(LARGE)}
    plan = propose(question, None, Fleet("f", (host, cards)), models)
    row = plan.stage("draft.decode")
    assert row.device == "card" and row.tp in (2, 4) and row.dtype == "bf16"
    with pytest.raises(InfeasibleError, match="fits no"):
        propose(question, None, Fleet("f", (host, cards)), models, max_tp=1)
    with pytest.raises(InfeasibleError, match="fits no"):
        propose(question, None, Fleet("f", (host, replace(cards, count=1))), models)


def _row(shape: ModelShape) -> ModelSpec:
    from gangline.planner.engine_times import model_spec

    return model_spec(shape)


def test_a_deadline_no_single_device_keeps_spreads_the_model(
    question: Program, cpu: DeviceSpec
) -> None:
    fleet = Fleet("f", (FleetDevice("host", cpu), on(H100, 8).device))
    models = {"large": _row(SMALL)}
    with pytest.raises(InfeasibleError) as caught:
        propose(question, None, fleet, models, deadline_s=0.01, max_tp=1)
    fastest_s = caught.value.advice["nearest_slo_s"]
    wide = propose(question, None, fleet, models, deadline_s=0.9 * fastest_s)
    assert wide.stage("draft.decode").tp > 1
    assert wide.seconds <= 0.9 * fastest_s


def price(option: Option, batch_rate: float = 0.0) -> Any:
    costs = StageCosts({}, tokens_per_s={"llama-3.1-8b": batch_rate} if batch_rate else {})
    from gangline.ir.program import Stage

    stage = Stage(0, "decode", "d.decode", attributes={"model": "llama-3.1-8b"})
    return costs.price(stage, work(), option)


def test_energy_and_money_are_shared_by_the_batch() -> None:
    alone, busy = price(on(H100)), price(on(H100), batch_rate=2000.0)
    assert busy.batch > 8.0
    assert busy.joules < 0.3 * alone.joules and busy.usd < 0.3 * alone.usd
    assert busy.seconds > alone.seconds
    for found in (alone, busy):
        assert found.low_joules < found.joules < found.high_joules
        watts = found.joules * found.batch / found.seconds
        assert 0.15 * H100.tdp_w < watts <= H100.tdp_w
        assert found.usd == pytest.approx(found.seconds / found.batch * 2.0 / 3600.0)


def test_a_spread_copy_costs_and_draws_what_its_devices_do() -> None:
    one, two = price(on(H100, 2)), price(on(H100, 2, tp=2))
    assert two.usd == pytest.approx(two.seconds * 2 * 2.0 / 3600.0)
    assert two.seconds < one.seconds < 2.0 * two.seconds
    assert two.joules > one.joules


def test_the_batch_follows_littles_law() -> None:
    times = engine_times(H100, SMALL)
    for rate in (50.0, 500.0, 3000.0):
        batch = times.batch_at(rate, 1000.0)
        assert batch == pytest.approx(max(1.0, rate * times.step_s(1000.0, batch)), rel=0.02)
    assert times.batch_at(1e6, 1000.0) == math.inf


def test_a_device_without_power_draws_none() -> None:
    assert price(on(replace(H100, tdp_w=0.0))).joules == 0.0


def test_a_plan_sums_the_energy_of_all_visits(question: Program, cpu: DeviceSpec) -> None:
    fleet = Fleet("f", (FleetDevice("host", cpu), on(H100, 8).device))
    plan = propose(question, None, fleet, {"large": _row(SMALL)}, deadline_s=5.0)
    assert plan.joules == pytest.approx(sum(row.joules * row.visits for row in plan.stages))
    assert plan.joules > 0.0


def test_what_a_simulation_measured_stands_before_the_model(
    question: Program, cpu: DeviceSpec
) -> None:
    fleet = Fleet("f", (FleetDevice("host", cpu),))
    models = {"large": _row(find_shape("llama-3.2-1b"))}
    plain = propose(question, None, fleet, models)
    seen = {("read_schema", "host", 1): 3.0}
    told = propose(question, None, fleet, models, observed=seen)
    assert told.seconds == pytest.approx(plain.seconds + 3.0 - plain.stage("read_schema").seconds)


def test_waits_grow_with_the_rate_and_end_in_overload(question: Program, cpu: DeviceSpec) -> None:
    fleet = Fleet("f", (FleetDevice("host", cpu), on(H100, 2).device))
    models = {"large": _row(SMALL)}
    times = [
        propose(question, None, fleet, models, rate=rate, strict=False).seconds
        for rate in (0.1, 4.0, 10.0)
    ]
    assert times == sorted(times) and times[0] < times[2] < math.inf
    with pytest.raises(InfeasibleError, match="cannot keep up"):
        propose(question, None, fleet, models, deadline_s=100.0, rate=1e5)


def test_long_prompts_are_corrected_by_long_prompts(question: Program, cpu: DeviceSpec) -> None:
    """Samples of two sizes in a profile: each prompt length gets its own correction."""
    costs = StageCosts({"large": _row(find_shape("llama-3.2-1b"))})
    option = Option(FleetDevice("host", cpu))
    rows = {}
    for prompt, ratio in ((64.0, 0.5), (4096.0, 3.0)):
        shape = Sample("host", 1.0, prompt)
        slow = ratio * costs.modelled_s("prefill", "large", option, shape)
        samples = tuple(replace(shape, seconds=slow) for _ in range(20))
        rows[prompt] = samples
    mixed = StageProfile(
        "prefill", prompt_tokens=Amount.exactly(4096.0), samples=rows[64.0] + rows[4096.0]
    )
    profile = Profile({"draft.prefill": mixed}, num_jobs=5)
    fleet = Fleet("f", (option.device,))
    plan = propose(question, profile, fleet, costs.models)
    modelled = costs.modelled_s("prefill", "large", option, Sample("", 0.0, 4096.0))
    assert plan.stage("draft.prefill").seconds == pytest.approx(3.0 * modelled, rel=0.2)


def test_every_figure_of_a_row_has_its_interval(question: Program, cpu: DeviceSpec) -> None:
    fleet = Fleet("f", (FleetDevice("host", cpu), on(H100, 8).device))
    plan = propose(question, None, fleet, {"large": _row(SMALL)}, deadline_s=5.0)
    row = plan.stage("draft.decode")
    assert 0.0 < row.low_usd < row.usd < row.high_usd
    assert 0.0 < row.low_joules < row.joules < row.high_joules
    assert 0.0 < row.low_memory_bytes < row.memory_bytes < row.high_memory_bytes
    assert row.high_usd / row.usd == pytest.approx(row.high_s / row.seconds)
    weights = 2.0 * SMALL.params
    assert weights < row.memory_bytes < 1.1 * weights


def test_tokens_of_an_endpoint_cost_what_they_cost_however_long_they_take() -> None:
    api = DeviceSpec("api", "api")
    option = Option(FleetDevice("remote", api, usd_per_mtok_out=10.0))
    found = price(option)
    assert found.usd == pytest.approx(200 * 10.0 / 1e6)
    assert found.usd_at(found.low_s) == found.usd_at(found.high_s) == pytest.approx(found.usd)


def test_memory_bounds_the_batch_and_so_the_rate(question: Program, cpu: DeviceSpec) -> None:
    """A model that leaves room for a few sequences only is overloaded, not refused as too large."""
    tight = replace(H100, memory_bytes=20 * 10**9)
    roomy, full = engine_times(H100, SMALL), engine_times(tight, SMALL)
    assert 1.0 < full.most_sequences(2000.0) < 10.0 < roomy.most_sequences(2000.0)
    assert price(on(tight), batch_rate=1e4).batch == full.most_sequences(1200.0)
    fleet = Fleet("f", (FleetDevice("host", replace(cpu, memory_bytes=10**9)), on(tight).device))
    with pytest.raises(InfeasibleError, match="cannot keep up"):
        propose(question, None, fleet, {"large": _row(SMALL)}, deadline_s=1e4, rate=1e3)
