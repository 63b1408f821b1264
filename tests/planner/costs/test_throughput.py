"""Full-load throughput: what memory allows, what prompts cost, and the published tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.fit_cost_model.data import find_shared_data
from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import catalogue
from gangline.planner.costs.deployment import deployment_s
from gangline.planner.costs.dtypes import peak
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
MIXTURE, LATENT = find_shape("Mixtral-8x7B"), find_shape("DeepSeek-R1")


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


def test_experts_cost_more_than_products_of_all_tokens() -> None:
    """Half the rate of one sixth of a mixture's products; a dense model pays nothing for it."""
    spec, known = board("H200-SXM-141"), load_constants()
    assert 1.5 < known.engine.expert_busy / known.engine.gemm_busy < 4.0
    cheap = replace(known.engine, expert_busy=known.engine.gemm_busy)
    for shape, least, most in ((MIXTURE, 0.5, 0.75), (SMALL, 1.0, 1.0)):
        steps = []
        for engine in (cheap, known.engine):
            cost = load_cost(spec, shape, "fp8", 1, 1, engine)
            point = working_point(cost, 500, 500, held=1.0, reserve_bytes=1e9)
            steps.append(float(point.step_s(cost)))
        assert least <= steps[0] / steps[1] <= most, shape.name


def test_a_mixture_that_does_not_fit_serves_nothing() -> None:
    """All experts have to be there: 93 GB in 16 bits, though each token visits a quarter."""
    assert rate("H100-SXM-80", MIXTURE, "bf16", 1, 250, 145) == 0.0
    assert rate("H100-SXM-80", MIXTURE, "bf16", 2, 250, 145) > 0.0
    assert rate("H100-SXM-80", MIXTURE, "fp8", 1, 250, 145) > 0.0
    assert rate("H200-SXM-141", LATENT, "fp8", 4, 250, 145) == 0.0


def test_less_is_known_of_mixtures() -> None:
    def ends(name: str, shape: ModelShape) -> tuple[float, float]:
        low, high = load_constants().interval(board(name), shape)
        assert low < 1.0 < high
        return low, high

    for name in ("H200-SXM-141", "Gaudi3"):
        dense, mixture, latent = (ends(name, shape) for shape in (SMALL, MIXTURE, LATENT))
        assert mixture[0] < 0.97 * dense[0] and mixture[1] > 1.1 * dense[1]
        # Engines that deal requests out over devices copy no latents: only upwards.
        assert latent[0] <= mixture[0] and latent[1] > 1.3 * mixture[1]
    assert ends("Gaudi3", MIXTURE)[0] < ends("H200-SXM-141", MIXTURE)[0]


@pytest.mark.parametrize(
    ("name", "model", "dtype", "tp"),
    [
        ("H200-SXM-141", "Llama-3.1-8B", "fp8", 1),
        ("H100-SXM-80", "Llama-3.1-70B", "fp8", 4),
        ("B200-SXM-180", "Llama-3.1-70B", "nvfp4", 2),
        ("MI300X", "Llama-3.1-70B", "fp8", 2),
        ("H200-SXM-141", "Mixtral-8x7B", "fp8", 1),
        ("H100-SXM-80", "Mixtral-8x7B", "fp8", 2),
        ("MI300X", "Mixtral-8x7B", "fp8", 1),
        ("RTX-PRO-6000-BW", "Mixtral-8x7B", "fp8", 1),
        ("B200-SXM-180", "gpt-oss-120b", "nvfp4", 1),
        ("H200-SXM-141", "MiniMax-M2.5", "fp8", 4),
        ("B200-SXM-180", "Qwen3-235B-A22B", "fp8", 4),
        ("B200-SXM-180", "DeepSeek-R1", "nvfp4", 8),
        ("H200-SXM-141", "DeepSeek-R1", "fp8", 8),
    ],
)
def test_full_load_is_near_what_many_users_get(name: str, model: str, dtype: str, tp: int) -> None:
    """Two models of one machine, fitted on different tables, agree within about a factor of 2."""
    shape, users = find_shape(model), 2.0 ** np.arange(4, 13)
    for isl, osl in ((1024, 1024), (4096, 512), (8192, 1024), (1024, 8192)):
        ttft, tpot = deployment_s(
            board(name), shape, dtype, isl=isl, osl=osl, concurrency=users, tp=tp
        )
        most = float(np.max(users * osl / (ttft + osl * tpot)))
        assert 0.5 < rate(name, shape, dtype, tp, isl, osl) / most < 2.25, (isl, osl)


@pytest.mark.parametrize("shape", [SMALL, MIXTURE], ids=lambda shape: shape.name)
def test_every_device_computes_at_a_believable_share_of_its_peak(shape: ModelShape) -> None:
    """Also those of few, wide units (TPU, Gaudi, Trainium), whatever tiles were measured on."""
    shares = {}
    for name, kind in catalogue().items():
        spec = kind.spec
        dtype = next((form for form in ("fp8", "bf16", "fp16") if form in spec.flops), "fp16")
        roomy = spec.memory_bytes > shape.weight_bytes(dtype) + 2e10
        if spec.kind == "gpu" and roomy:
            # Four prompt tokens beside each token of an answer.
            products = 10.0 * shape.active_params * rate(name, shape, dtype, 1, 1000, 250)
            shares[name] = products / (peak(spec, dtype) or 1.0)
    assert {"Gaudi2", "Gaudi3", "Trainium2", "MI250"} <= set(shares)
    assert all(0.2 < share < 0.75 for share in shares.values()), shares


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
    assert again["engine"]["expert_busy"] == pytest.approx(packaged.engine.expert_busy, rel=0.05)
    assert again["memory"]["held"] == packaged.held


@needs_tables
def test_mixtures_are_met_by_experts_of_other_boards() -> None:
    """MLPerf's Mixtral, each generation's left out; then other mixtures that many users load."""
    from benchmarks.fit_cost_model.throughput import score_mixtures

    rows = score_mixtures()
    boards = [row for row in rows if row["table"] == "mlperf experts"]
    assert len(boards) == 3
    for row in boards:
        assert row["median_error"] <= 0.2 and row["coverage"] == 1.0, row
    loaded = [row for row in rows if row["table"].startswith("silicon")]
    assert sum(row["rows"] for row in loaded) > 60
    for row in loaded:
        latent = "latent" in row["table"]
        assert row["median_error"] <= (0.3 if latent else 0.15), row
        assert 0.8 <= row["coverage"] <= 1.0, row


@needs_tables
def test_benchmarks_are_met_with_the_packaged_constants() -> None:
    from benchmarks.fit_cost_model.mlperf import MODELS, results

    found = [result for result in results() if result.scenario == "Offline"]
    for model, most in (("mixtral-8x7b", 0.2), ("llama3.1-8b", 0.2), ("llama2-70b", 0.2)):
        name, isl, osl = MODELS[model]
        for result in [result for result in found if result.model == model]:
            shape, form = find_shape(name), result.dtype
            guesses = [rate(result.device, shape, form, tp, isl, osl) / tp for tp in (1, 2, 4, 8)]
            assert max(guesses) == pytest.approx(result.rate, rel=most), result


@needs_tables
def test_the_constant_of_experts_is_the_one_that_meets_a_result() -> None:
    from benchmarks.fit_cost_model.mixtures import EXPERTS, needed, with_experts
    from benchmarks.fit_cost_model.mlperf import Result, rate_per_device
    from benchmarks.fit_cost_model.throughput_rows import best_fit

    dense = best_fit()
    known = replace(dense, terms=dense.terms.copy())
    known.terms[EXPERTS] = 3.0
    given = [
        Result("v0", name, "mixtral-8x7b", "fp8", "Offline", 1.0, 1)
        for name in ("H200-SXM-141", "MI300X", "RTX-PRO-6000-BW")
    ]
    found = [replace(result, rate=rate_per_device(known, result)) for result in given]
    assert [needed(dense, result, 1.0) for result in found] == pytest.approx([3.0] * 3)
    # A generation counts once, whatever number of its boards, and boards left out not at all.
    slow = replace(found[0], device="H100-SXM-80", rate=found[0].rate / 100)
    fit = with_experts(dense, {}, [*found, slow], ("H100-SXM-80",))
    assert fit.terms[EXPERTS] == pytest.approx(3.0)
    assert fit.terms[:EXPERTS] == pytest.approx(dense.terms[:EXPERTS])
