"""Deployments: laws of the closed loop, seams, and the measured runs where they are at hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from benchmarks.fit_cost_model.data import find_shared_data
from benchmarks.fit_cost_model.deployment_rows import Group, as_run
from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import find_type
from gangline.planner.costs.closed_loop import (
    LoopConstants,
    StepTimes,
    aggregated,
    disaggregated,
)
from gangline.planner.costs.deployment import (
    DeploymentTimes,
    Workers,
    deployment_s,
    deployment_times,
)
from gangline.planner.costs.shape import find_shape
from gangline.planner.costs.step import step_cost

H200 = find_type("H200-SXM-141").spec
DENSE, MIXTURE = find_shape("Llama-3.1-70B"), find_shape("DeepSeek-V3")


def ask(spec: DeviceSpec = H200, model: str = "Llama-3.1-70B", **load: object) -> DeploymentTimes:
    given = {"isl": 1024, "osl": 1024, "concurrency": 16, "tp": 4, **load}
    return deployment_times(spec, find_shape(model), "fp8", **given)  # type: ignore[arg-type]


def middles(**load: object) -> tuple[float, float]:
    found = ask(**load)  # type: ignore[arg-type]
    return float(found.ttft.mid), float(found.tpot.mid)


def times(**change: float) -> StepTimes:
    values = {
        "decode_s": 0.01,
        "prompt_s": 0.1,
        "added_s": 0.08,
        "packed_s": 0.05,
        "packed": 4.0,
        "fixed_s": 0.0,
        "running": 16.0,
        "waiting": 16.0,
        "groups": 1.0,
        "output": 100.0,
        **change,
    }
    return StepTimes(**{name: np.asarray(value) for name, value in values.items()})


def test_a_lone_request_waits_for_nobody() -> None:
    fitted = LoopConstants(front_s=0.02, send_steps=3.0)
    ttft, tpot = aggregated(times(running=1.0, waiting=1.0), fitted)
    assert float(tpot) == pytest.approx(0.01)
    assert float(ttft) == pytest.approx(0.02 + 0.1 + 0.01 + 3 * 0.01)


def test_a_first_token_waits_for_whole_iterations() -> None:
    """They are the loop's own, prompts of others included; where workers are apart, decoding's."""
    few, many = (LoopConstants(send_steps=steps) for steps in (2.0, 12.0))
    (early, tpot), (late, same) = (aggregated(times(), fitted) for fitted in (few, many))
    assert float(late - early) == pytest.approx(10 * float(tpot))
    assert float(tpot) == float(same) > 0.01
    apart = (np.asarray(8.0), np.asarray(0.0), np.asarray(16.0))
    early, late = (disaggregated(times(), *apart, fitted)[0] for fitted in (few, many))
    assert float(late - early) == pytest.approx(10 * 0.01)


def test_each_other_request_starts_one_prompt_while_one_decodes() -> None:
    fitted = LoopConstants(interference=1.0)
    _, tpot = aggregated(times(running=11.0, waiting=11.0), fitted)
    assert float(tpot) == pytest.approx(0.01 + 10 * 0.08 / 100)


def test_what_does_not_fit_waits_for_a_slot() -> None:
    fitted = LoopConstants()
    fits, tpot = aggregated(times(), fitted)
    waits, same = aggregated(times(waiting=32.0), fitted)
    assert float(same) == pytest.approx(float(tpot))
    # Twice as many users as slots: each waits as long as one whole request runs.
    life = float(fits) + 100 * float(tpot)
    assert float(waits) == pytest.approx(float(fits) + life)


def test_a_prefill_bottleneck_sets_the_throughput() -> None:
    fitted = LoopConstants(front_s=0.0, handover_s=0.0, handover_burst=0.0)
    users, servers = np.asarray(1000.0), np.asarray(2.0)
    ttft, tpot = disaggregated(times(), servers, np.asarray(0.0), users, fitted)
    rate = 1000.0 / (float(ttft) + 100 * float(tpot))
    assert rate == pytest.approx(2.0 / 0.05)


def test_more_users_wait_longer() -> None:
    users = np.array([1.0, 4, 16, 64, 256, 1024])
    for split in ({}, {"prefill": {"workers": 2, "tp": 4}, "decode": {"workers": 1, "tp": 8}}):
        ttft, tpot = deployment_s(
            H200, DENSE, "fp8", isl=2048, osl=512, concurrency=users, tp=4, **split
        )
        assert np.all(np.diff(ttft) > 0)
        assert np.all(np.diff(tpot) >= 0)
        # Users never make the whole slower.
        assert np.all(np.diff(users / (ttft + 512 * tpot)) > -1e-6)


def test_longer_prompts_and_answers() -> None:
    base = middles()
    longer = middles(isl=8192)
    assert longer[0] > 2 * base[0]
    assert longer[1] > base[1]
    assert middles(osl=128)[1] > base[1]  # fewer steps share each prompt's delay


def test_copies_of_a_dense_model_divide_the_users() -> None:
    one, four = ask(concurrency=16), ask(concurrency=64, dp=4)
    assert float(four.tpot.mid) == pytest.approx(float(one.tpot.mid))
    assert float(four.ttft.mid) == pytest.approx(float(one.ttft.mid))


def test_attention_groups_of_a_mixture_share_its_experts() -> None:
    load: dict[str, Any] = {"isl": 4096, "osl": 8192, "concurrency": 128}
    tight = ask(model="DeepSeek-V3", tp=8, dp=1, **load)
    wide = ask(model="DeepSeek-V3", tp=1, dp=8, **load)
    assert tight.fits and wide.fits
    # Latents cannot be split over a tensor group: groups of their own read each cache once.
    assert float(wide.tpot.mid) < 0.95 * float(tight.tpot.mid)
    # Eight copies of the whole model would not fit; eight attention groups do.
    assert not ask(model="DeepSeek-V3", tp=1, dp=1, concurrency=8).fits


def test_split_workers_decode_undisturbed() -> None:
    together = ask(isl=8192, concurrency=64, tp=8)
    apart = ask(
        isl=8192,
        concurrency=64,
        prefill={"workers": 1, "tp": 8},
        decode=Workers(count=1, tp=8),
    )
    assert float(apart.tpot.mid) < float(together.tpot.mid)
    more = ask(
        isl=8192, concurrency=64, prefill={"workers": 4, "tp": 8}, decode={"workers": 1, "tp": 8}
    )
    assert float(more.ttft.mid) < float(apart.ttft.mid)


def test_workers_that_only_prefill_pack_short_prompts() -> None:
    split = {"prefill": {"workers": 1, "tp": 8}, "decode": {"workers": 64, "tp": 8}}
    load = {"isl": 512, "osl": 64, "concurrency": 4096}
    ttft, tpot = deployment_s(H200, MIXTURE, "fp8", **load, **split)
    rate = 4096 / (float(ttft) + 64 * float(tpot))
    assert rate > 2.0 / float(step_cost(H200, MIXTURE, "fp8", 8).prefill_s(512))


def test_workers_may_be_of_other_devices() -> None:
    b200 = find_type("B200-SXM-180").spec
    one, other = Workers(tp=4), Workers(tp=4, spec=b200)
    slow = ask(isl=8192, prefill=one, decode=one)
    fast = ask(isl=8192, prefill=other, decode=one)
    assert float(fast.ttft.mid) < float(slow.ttft.mid)
    # Who waits less for a first token decodes in more company.
    assert float(fast.tpot.mid) == pytest.approx(float(slow.tpot.mid), rel=0.02)
    assert float(fast.tpot.mid) > float(slow.tpot.mid)


def test_tensor_parallelism_beyond_the_board_gains_nothing() -> None:
    assert middles(tp=64) == middles(tp=8)
    rack = find_type("GB300").spec
    assert middles(spec=rack, tp=16) != middles(spec=rack, tp=8)


def test_a_wider_group_is_believed_where_the_model_needs_it() -> None:
    h100 = find_type("H100-SXM-80").spec
    one, two = (ask(spec=h100, model="DeepSeek-V3", tp=tp, concurrency=64) for tp in (8, 16))
    assert not one.fits
    assert two.fits
    # What does not fit is priced as if it did, not as a queue for one place.
    assert float(one.ttft.mid) < 5.0


def test_intervals_hold_the_middle_and_widen_for_unknown_generations() -> None:
    known = ask()
    new = dataclasses.replace(H200, type="X1", generation="unheard-of")
    unknown = ask(spec=new)
    for found in (known.ttft, known.tpot, unknown.ttft, unknown.tpot):
        assert float(found.low) < float(found.mid) < float(found.high)
    assert (known.tpot.source, unknown.tpot.source) == ("fitted", "spec")
    for near, far in ((known.ttft, unknown.ttft), (known.tpot, unknown.tpot)):
        assert float(far.high / far.low) > float(near.high / near.low)


def test_a_format_without_products_is_unpacked() -> None:
    """Weights still take their own bytes, so decoding gains; a prompt computes in 16 bits."""
    a100 = find_type("A100-SXM-80").spec
    load = {"isl": 4096, "osl": 256, "concurrency": 4, "tp": 4}
    narrow, wide = (deployment_times(a100, DENSE, form, **load) for form in ("fp8", "bf16"))  # type: ignore[arg-type]
    assert float(narrow.tpot.mid) < 0.85 * float(wide.tpot.mid)
    assert float(narrow.ttft.mid) == pytest.approx(float(wide.ttft.mid), rel=0.15)
    oss = find_shape("gpt-oss-120b")
    assert np.isfinite(deployment_s(H200, oss, "mxfp4", isl=1024, osl=1024, concurrency=8)).all()
    blank = dataclasses.replace(a100, flops={"int8": 1e15})
    with pytest.raises(ConfigError, match=r"A100-SXM-80.*fp8"):
        deployment_times(blank, DENSE, "fp8", **load)  # type: ignore[arg-type]


def test_a_named_engine_moves_the_middle() -> None:
    first = {name: middles(engine=name)[0] for name in ("vllm", "sglang", "trtllm")}
    assert len(set(first.values())) == 3
    # Only the engine that sends tokens in blocks moves far from one that is not named.
    assert first["vllm"] == pytest.approx(middles()[0], rel=0.1)
    assert first["sglang"] > 1.2 * first["vllm"]
    with pytest.raises(ConfigError, match="llamacpp"):
        middles(engine="llamacpp")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prefill": {"tp": 4}}, "both prefill and decode"),
        ({"prefill": {"tp": 4}, "decode": {"tpp": 4}}, "'tpp'"),
        ({"prefill": {"tp": 0}, "decode": {"tp": 4}}, "tp = 0"),
        ({"prefill": {"tp": True}, "decode": {"tp": 4}}, "tp = True"),
        ({"concurrency": 0}, "concurrency = 0"),
        ({"osl": 0}, "osl = 0"),
        ({"isl": float("nan")}, "isl = nan"),
        ({"tp": 0}, "tp = 0"),
    ],
)
def test_bad_loads_are_refused_by_name(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        ask(**change)  # type: ignore[arg-type]


def test_a_product_of_parallelisms_is_read_as_one_board() -> None:
    assert as_run((Group(1, 64, 1, 1), 8, 8)) == Group(1, 8, 1, 1)
    assert as_run((Group(1, 1, 1, 64), 8, 8)) == Group(1, 1, 1, 8)
    assert as_run((Group(1, 4, 1, 4), 1, 16)) == Group(1, 4, 1, 1)
    for true in ((Group(1, 8, 1, 1), 8, 1), (Group(2, 1, 1, 32), 1, 32), (Group(1, 4, 1, 1), 2, 2)):
        assert as_run(true) == true[0]


needs_data = pytest.mark.skipif(find_shared_data() is None, reason="no shared measurements here")


@needs_data
def test_slopes_of_the_fit_are_its_differences() -> None:
    from benchmarks.fit_cost_model import deployment_fit as fitting
    from benchmarks.fit_cost_model.deployment_rows import rows

    some = rows()[::60]
    alone = np.ones(len(some))
    data = fitting._priced(some, alone, alone, alone)
    problem, series = fitting._problem(data, np.arange(len(some)))
    assert 1 < series.size < len(some)
    spot = problem.start + 0.1 * np.sin(np.arange(problem.start.size))
    slopes = problem.slopes(spot)
    for column in range(spot.size):
        step = np.zeros(spot.size)
        step[column] = 1e-4
        rise = (problem.residuals(spot + step) - problem.residuals(spot - step)) / 2e-4
        assert slopes[:, column] == pytest.approx(rise, abs=1e-3), column


@needs_data
def test_measured_runs_are_met() -> None:
    from benchmarks.fit_cost_model.deployment_rows import rows

    off: dict[tuple[str, str, str], list[float]] = {}
    inside: dict[tuple[str, str, str], list[bool]] = {}
    for row in rows()[::7]:
        load = {"isl": row.isl, "osl": row.osl, "concurrency": row.concurrency}
        workers = {
            name: {"workers": group.workers, "tp": group.tp, "pp": group.pp, "dp": group.dp}
            for name, group in (("prefill", row.prefill), ("decode", row.decode))
            if group
        }
        if row.agg:
            load |= {"tp": row.agg.tp, "pp": row.agg.pp, "dp": row.agg.dp}
        found = deployment_times(row.spec, row.shape, row.dtype, **load, **workers)  # type: ignore[arg-type]
        pairs = (("ttft", found.ttft, row.ttft_s), ("tpot", found.tpot, row.tpot_s))
        for quantity, estimate, measured in pairs:
            key = (row.family, row.mode, quantity)
            off.setdefault(key, []).append(abs(float(estimate.mid) / measured - 1.0))
            held = float(estimate.low) <= measured <= float(estimate.high)
            inside.setdefault(key, []).append(held)
    middle = {key: float(np.median(values)) for key, values in off.items()}
    assert middle["dense", "agg", "tpot"] < 0.12
    assert middle["moe_mla", "agg", "tpot"] < 0.15
    assert middle["moe_mla", "disagg", "tpot"] < 0.15
    assert middle["dense", "agg", "ttft"] < 0.30
    assert middle["moe_mla", "agg", "ttft"] < 0.32
    assert all(np.mean(values) > 0.8 for values in inside.values())
