"""Full-load throughput: what memory allows, what prompts cost, and the published tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.fit_cost_model.data import find_shared_data
from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import catalogue
from gangline.planner.costs.shape import ModelShape, find_shape
from gangline.planner.costs.throughput import (
    KV_SHARE,
    MAX_BATCH,
    MAX_TOKENS,
    full_load,
    load_constants,
    load_cost,
    throughput_estimate,
    throughput_tokens_per_s,
    working_point,
)

SMALL, LARGE = find_shape("Llama-3.1-8B"), find_shape("Llama-3.1-70B")


def board(name: str) -> DeviceSpec:
    return catalogue()[name].spec


def rate(name: str, shape: ModelShape, dtype: str, tp: int, isl: float, osl: float) -> float:
    return float(throughput_tokens_per_s(board(name), shape, dtype, tp, isl, osl))


def batch(spec: DeviceSpec, shape: ModelShape, tp: int, isl: float, osl: float) -> float:
    known = load_constants()
    cost = load_cost(spec, shape, "fp8", tp, 1, known.engine)
    point = working_point(cost, isl, osl, held=known.held, reserve_bytes=known.reserve_bytes)
    return float(point.batch)


def test_arrays_and_numbers_agree() -> None:
    isl, osl = np.array([128.0, 2048.0, 20000.0]), np.array([2048.0, 128.0, 2000.0])
    together = throughput_tokens_per_s(board("A100-SXM-80"), SMALL, "fp16", 1, isl, osl)
    alone = [rate("A100-SXM-80", SMALL, "fp16", 1, *pair) for pair in zip(isl, osl, strict=True)]
    assert together == pytest.approx(alone, rel=1e-9)


def test_what_does_not_fit_serves_nothing() -> None:
    assert rate("A100-SXM-80", LARGE, "fp16", 1, 128, 128) == 0.0
    assert rate("A100-SXM-80", LARGE, "fp16", 2, 128, 128) > 0.0
    # The weights fit, a prompt as long as this does not.
    assert rate("H100-SXM-80", LARGE, "fp8", 1, 1e6, 128) == 0.0


def test_the_batch_is_what_the_cache_holds() -> None:
    """Twice the memory beside the weights doubles the batch, up to the engine's limits."""
    spec = board("H200-SXM-141")
    weights = LARGE.weight_bytes("fp8") + load_constants().reserve_bytes
    free = spec.memory_bytes - weights
    half = replace(spec, memory_bytes=int(weights + free / 2))
    assert batch(spec, LARGE, 1, 2048, 2048) == pytest.approx(
        2 * batch(half, LARGE, 1, 2048, 2048), rel=1e-6
    )
    assert batch(spec, SMALL, 8, 1, 1e9) < 1.0
    huge = replace(spec, memory_bytes=10**14)
    assert batch(huge, SMALL, 1, 128, 2048) == pytest.approx(
        min(MAX_BATCH, MAX_TOKENS / (1 + 128 / 2048))
    )


def test_a_step_of_the_steady_state() -> None:
    """Each request is counted with its held length, decodes at its mean length, and is replaced."""
    cost = load_cost(board("H200-SXM-141"), LARGE, "fp8", 1, 1, load_constants().engine)
    point = working_point(cost, 4000.0, 500.0, held=0.5, reserve_bytes=1e9)
    free = KV_SHARE * (cost.spec.memory_bytes - cost.weight_bytes - 1e9)
    assert float(point.batch) == pytest.approx(free / cost.kv_bytes_per_request(4250.0))
    assert float(point.context) == 4250.0
    assert float(point.new_tokens) == pytest.approx(8 * float(point.batch))
    assert float(point.prompts) == pytest.approx(float(point.batch) / 500)
    assert float(point.past) == pytest.approx((4000 - float(point.new_tokens)) / 2)


def test_a_step_has_room_for_so_many_tokens() -> None:
    spec = replace(board("H200-SXM-141"), memory_bytes=10**14)
    cost = load_cost(spec, SMALL, "fp8", 1, 1, load_constants().engine)
    point = working_point(cost, 2048.0, 128.0, held=1.0, reserve_bytes=0.0)
    assert float(point.batch + point.new_tokens) == pytest.approx(MAX_TOKENS)


def test_stages_share_out_the_batch() -> None:
    whole = load_cost(board("H200-SXM-141"), SMALL, "fp8", 1, 1, load_constants().engine)
    halves = load_cost(board("H200-SXM-141"), SMALL, "fp8", 1, 2, load_constants().engine)
    memory = {"held": 1.0, "reserve_bytes": 0.0}
    one, two = (float(working_point(c, 4000, 4000, **memory).batch) for c in (whole, halves))
    # Half the weights beside half the cache of each request, and two micro-batches.
    assert one < two < 1.1 * one


def test_small_weights_keep_a_small_cache_where_the_device_can() -> None:
    engine = load_constants().engine
    assert load_cost(board("B200-SXM-180"), SMALL, "fp4", 1, 1, engine).kv_dtype == "fp8"
    assert load_cost(board("L40S"), SMALL, "bf16", 1, 1, engine).kv_dtype == "bf16"
    assert load_cost(board("L40S"), SMALL, "int4", 1, 1, engine).kv_dtype == "bf16"


def test_a_generation_is_slower_by_its_factor() -> None:
    """Only the factor, of all that is known of AMD's generation, comes from these tables."""
    spec = board("MI300X")
    factor = load_constants().generations["cdna3"]
    assert factor > 1.2
    assert float(full_load(spec, LARGE, "fp8", 1, 500, 500).step_s) == pytest.approx(
        factor * _step_s(spec)
    )


def _step_s(spec: DeviceSpec) -> float:
    known = load_constants()
    cost = load_cost(spec, LARGE, "fp8", 1, 1, known.engine)
    memory = {"held": known.held, "reserve_bytes": known.reserve_bytes}
    return float(working_point(cost, 500, 500, **memory).step_s(cost))


def test_near_the_end_of_memory_the_cache_decides() -> None:
    """A board with a few GB beside the weights loses most of its rate; a plain roofline none."""
    roomy = board("H200-SXM-141")
    tight = replace(roomy, memory_bytes=int(LARGE.weight_bytes("fp8") + 6e9))
    wide = float(throughput_tokens_per_s(roomy, LARGE, "fp8", 1, 128, 2048))
    narrow = float(throughput_tokens_per_s(tight, LARGE, "fp8", 1, 128, 2048))
    assert narrow < 0.3 * wide


def test_prompts_take_their_share() -> None:
    """Long prompts bound the output: the token rate in all, not the output's, stays alike."""
    short = rate("H200-SXM-141", SMALL, "fp8", 1, 128, 128)
    prompted = rate("H200-SXM-141", SMALL, "fp8", 1, 2048, 128)
    assert prompted < short / 6
    assert prompted * (2048 + 128) / 128 == pytest.approx(2 * short, rel=0.35)


def test_long_prompts_pay_attention_to_all_their_tokens() -> None:
    """Attention of a prompt grows with its square: cut into short ones the rate would be higher."""
    long = rate("L40S", SMALL, "fp8", 1, 20000, 500) * 20500 / 500
    cut = rate("L40S", SMALL, "fp8", 1, 2000, 50) * 2050 / 50
    assert long < 0.8 * cut


def test_a_peer_link_beats_the_host_link() -> None:
    spec = board("A100-SXM-80")
    bare = replace(spec, link_bytes_per_s=0.0)
    linked = float(throughput_tokens_per_s(spec, LARGE, "fp16", 8, 1000, 1000))
    assert float(throughput_tokens_per_s(bare, LARGE, "fp16", 8, 1000, 1000)) < 0.6 * linked


def test_a_limit_on_requests_holds() -> None:
    spec = board("H200-SXM-141")
    one = float(throughput_tokens_per_s(spec, LARGE, "fp8", 4, 128, 2048, concurrency=1))
    full = float(throughput_tokens_per_s(spec, LARGE, "fp8", 4, 128, 2048))
    assert 20 < one < 200 < 10 * one < full
    many = throughput_tokens_per_s(spec, LARGE, "fp8", 4, 128, 2048, concurrency=np.inf)
    assert float(many) == full


def test_pipeline_stages_share_the_model() -> None:
    """Two stages hold a model one device cannot, and serve less than twice a board's rate."""
    spec = board("A100-SXM-80")
    staged = float(throughput_tokens_per_s(spec, LARGE, "fp16", 1, 128, 128, pp=2))
    joint = rate("A100-SXM-80", LARGE, "fp16", 2, 128, 128)
    assert staged == pytest.approx(joint, rel=0.4)


def test_formats_by_any_spelling_and_none_else() -> None:
    assert rate("B200-SXM-180", LARGE, "FP4", 1, 128, 128) == rate(
        "B200-SXM-180", LARGE, "nvfp4", 1, 128, 128
    )
    assert np.isnan(rate("A100-SXM-80", SMALL, "fp8", 1, 128, 128))
    with pytest.raises(ConfigError, match="fp7"):
        rate("H100-SXM-80", SMALL, "fp7", 1, 128, 128)


def test_the_interval_says_what_stands_behind_it() -> None:
    def found(name: str) -> tuple[float, str]:
        estimate = throughput_estimate(board(name), SMALL, "bf16", 1, 1000, 1000)
        assert estimate.low < estimate.mid < estimate.high
        return float((estimate.high - estimate.low) / estimate.mid), estimate.source

    own, source = found("H100-SXM-80")
    assert source == "fitted"
    unseen, source = found("H200-SXM-141")
    assert source == "fitted" and unseen == pytest.approx(own)
    benchmarked, source = found("MI325X")
    assert source == "fitted" and benchmarked > own
    foreign, source = found("Gaudi3")
    assert source == "spec" and foreign > 1.2 * benchmarked


needs_tables = pytest.mark.skipif(
    find_shared_data() is None, reason="the shared measurements are not beside this checkout"
)


@needs_tables
def test_the_published_tables_are_met_with_each_board_left_out() -> None:
    from benchmarks.fit_cost_model.throughput import score_tables

    rows = {row["held_out"]: row for row in score_tables()}
    boards = [row for held, row in rows.items() if held != "none"]
    assert len(boards) == 7
    for row in boards:
        assert row["median_error"] <= 0.14, row
    coverage = np.mean([row["coverage"] for row in boards[:5]])
    assert 0.85 <= coverage <= 0.97
    assert rows["none"]["median_error"] <= 0.07


@needs_tables
def test_the_packaged_constants_are_those_of_the_fit() -> None:
    """Fitted again on the same tables; operations refitted since may move a constant a little."""
    from benchmarks.fit_cost_model.throughput import fit

    again, packaged = fit(), load_constants()
    assert again["generations"] == pytest.approx(dict(packaged.generations), rel=0.05)
    assert again["memory"]["held"] == packaged.held
