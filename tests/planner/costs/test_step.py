"""Engine steps: what must grow, shrink or stay equal, whatever the constants."""

from __future__ import annotations

import time

import numpy as np
import pytest

from gangline.ir.errors import ConfigError
from gangline.planner.catalogue import find_type
from gangline.planner.costs.layer_work import layer_work
from gangline.planner.costs.shape import find_shape
from gangline.planner.costs.step import StepConstants, step_cost, step_s

H200 = find_type("H200-SXM-141").spec
B200 = find_type("B200-SXM-180").spec
A100 = find_type("A100-SXM-80").spec
DENSE, MIXTURE = find_shape("Llama-3.1-70B"), find_shape("DeepSeek-V3")


def test_products_of_one_device_hold_the_weights_of_the_model() -> None:
    for name in ("Llama-3.1-8B", "phi-2", "DeepSeek-V3", "Qwen3.5-397B-A17B", "gpt-oss-20b"):
        shape = find_shape(name)
        work = layer_work(shape, 1)
        _, n, k = work.expert_products(np.array(1e9)) if shape.experts else (0, 0, 0)
        experts = shape.moe_layers * float(np.sum(np.asarray(n) * np.asarray(k)))
        router = shape.moe_layers * shape.hidden * shape.experts
        held = float(np.sum(work.n * work.k * work.count)) + experts + router
        heads = (1 if shape.tied else 2) * shape.embedding_params
        assert held == pytest.approx(shape.params - heads, rel=1e-6), name


def test_experts_hit_follow_chance() -> None:
    work = layer_work(MIXTURE, 1)
    assert float(work.experts_hit(1)) == pytest.approx(8.0)
    assert float(work.experts_hit(2)) == pytest.approx(256 * (1 - (1 - 8 / 256) ** 2))
    assert float(work.experts_hit(10_000)) == pytest.approx(256.0)
    # Attention groups that share experts hit them together.
    rows, _, _ = layer_work(MIXTURE, 1, 8).expert_products(np.array(64.0))
    alone, _, _ = layer_work(MIXTURE, 1, 1).expert_products(np.array(512.0))
    assert rows == pytest.approx(alone)
    # And each device of the group computes its share of them.
    whole, part = layer_work(MIXTURE, 1), layer_work(MIXTURE, 2, 4)
    for wide, narrow in zip(
        whole.expert_products(np.array(256.0))[1],
        part.expert_products(np.array(64.0))[1],
        strict=True,
    ):
        assert narrow == pytest.approx(wide / 8)


def test_decoding_is_bound_below_by_reading_weights_and_cache() -> None:
    cost = step_cost(H200, DENSE, "fp8", 4)
    cache = 64 * cost.kv_bytes_per_request(4096)
    least = (cost.weight_bytes - DENSE.embedding_params * 2 / 4 + cache) / H200.memory_bytes_per_s
    step = float(cost.decode_step_s(64, 4096))
    assert 0.9 * least < step < 3.0 * least


def test_a_prompt_is_bound_below_by_its_operations() -> None:
    cost = step_cost(H200, DENSE, "fp8", 4)
    least = 2.0 * (DENSE.active_params - DENSE.embedding_params) * 8192 / (4 * H200.flops["fp8"])
    assert 1.0 * least < float(cost.prefill_s(8192)) < 4.0 * least


@pytest.mark.parametrize("shape", [DENSE, MIXTURE], ids=["dense", "mixture"])
def test_more_work_never_takes_less_time(shape: object) -> None:
    cost = step_cost(B200, find_shape(shape), "fp8", 8)  # type: ignore[arg-type]
    batch = np.array([1.0, 2, 8, 32, 128, 512])
    assert np.all(np.diff(cost.decode_step_s(batch, 2048.0)) > 0)
    assert np.all(np.diff(cost.decode_step_s(64.0, np.array([128.0, 1024, 8192]))) > 0)
    assert np.all(np.diff(cost.prefill_s(np.array([16.0, 512, 4096, 32768]))) > 0)
    assert float(cost.prefill_s(8192, 6144)) < float(cost.prefill_s(8192))
    mixed = cost.mixed_step_s(2048, 0, 64, 2048)
    assert float(mixed) > float(cost.decode_step_s(64, 2048))
    assert float(mixed) > float(cost.prefill_s(2048))


def test_a_mixed_step_costs_less_than_its_two_halves() -> None:
    cost = step_cost(H200, DENSE, "fp8", 4)
    halves = float(cost.decode_step_s(32, 2048)) + float(cost.prefill_s(512))
    assert float(cost.mixed_step_s(512, 0, 32, 2048)) < halves


def test_arrays_equal_scalars_and_step_s_equals_the_record() -> None:
    cost = step_cost(H200, MIXTURE, "fp8", 8)
    batches = np.array([1.0, 16.0, 100.0])
    each = [float(cost.decode_step_s(float(batch), 1500.0)) for batch in batches]
    assert cost.decode_step_s(batches, 1500.0) == pytest.approx(each)
    found = step_s(
        H200,
        MIXTURE,
        "fp8",
        8,
        new_tokens=np.array([0.0, 512.0]),
        new_context=0.0,
        decode_batch=16.0,
        decode_context=1500.0,
    )
    wanted = [float(cost.decode_step_s(16, 1500)), float(cost.mixed_step_s(512, 0, 16, 1500))]
    assert found == pytest.approx(wanted)


def test_windows_linear_layers_and_sparse_attention_bound_the_context() -> None:
    def growth(name: str) -> float:
        cost = step_cost(H200, find_shape(name), "fp8", 8)
        short, long = cost.decode_step_s(32, np.array([4096.0, 65536.0]))
        return float(long / short)

    assert growth("gpt-oss-120b") < growth("Qwen3-30B-A3B")
    assert growth("DeepSeek-V3.2") == pytest.approx(1.0, abs=0.02)
    assert growth("Qwen3.5-397B-A17B") < growth("MiniMax-M2")


def test_splitting_layers_speeds_a_step_up_but_not_for_free() -> None:
    one, eight = (float(step_cost(B200, DENSE, "fp8", n).decode_step_s(16, 2048)) for n in (1, 8))
    assert 1.5 < one / eight < 8.0


def test_resident_bytes_and_max_batch() -> None:
    whole = step_cost(H200, MIXTURE, "fp8", 8)
    assert whole.weight_bytes == pytest.approx(MIXTURE.weight_bytes("fp8") / 8)
    apart = step_cost(H200, MIXTURE, "fp8", 1, dp=8)
    assert apart.weight_bytes > whole.weight_bytes  # attention is copied, experts are not
    assert apart.weight_bytes < 1.3 * whole.weight_bytes
    assert step_cost(H200, DENSE, "bf16", 1).max_batch(1024, 1024) == 0
    cost = step_cost(H200, DENSE, "fp8", 2)
    batch = cost.max_batch(1024, 1024)
    used = cost.weight_bytes + batch * cost.kv_bytes_per_request(2048)
    assert used <= 0.9 * H200.memory_bytes < used + cost.kv_bytes_per_request(2048)
    # Key/value heads are copied where there are fewer of them than devices.
    thin = find_shape("Qwen3-235B-A22B")
    four, eight = (step_cost(H200, thin, "fp8", n).kv_bytes_per_request(1000) for n in (4, 8))
    assert four == eight


def test_constants_apply_to_their_own_part() -> None:
    def seconds(**change: float) -> float:
        cost = step_cost(H200, MIXTURE, "fp8", 8, chosen=StepConstants(**change))
        return float(cost.decode_step_s(8, 2048))

    plain = seconds()
    assert seconds(step_s=0.001) == pytest.approx(plain + 0.001)
    assert seconds(sequence_s=1e-5) == pytest.approx(plain + 8e-5)
    assert seconds(layer_s=1e-5) == pytest.approx(plain + 61e-5)
    assert seconds(moe_layer_s=1e-5) == pytest.approx(plain + 58e-5)
    assert seconds(expert=2.0) > plain
    assert seconds(latency=2.0) > plain
    assert seconds(launch=2.0) > plain
    assert seconds(expert_fp4=2.0) == plain
    assert seconds(prompt_attention=2.0) == plain

    def prompt(**change: float) -> float:
        cost = step_cost(H200, MIXTURE, "fp8", 8, chosen=StepConstants(**change))
        return float(cost.prefill_s(8192))

    assert prompt(prompt_attention=2.0) > prompt() == prompt(attention=2.0)


def test_times_go_on_growing_beyond_the_priced_grid() -> None:
    cost = step_cost(H200, find_shape("Llama-3.1-8B"), "fp8", 1)
    for kind in (float, np.array):
        # Short prompts, so that products and not attention take the time.
        far, twice = (
            float(cost.mixed_step_s(kind(n), 0.0, 0.0, 0.0, kind(n / 100))) for n in (2e5, 4e5)
        )
        assert twice > 1.9 * far


def test_wrong_sizes_and_formats_are_refused() -> None:
    with pytest.raises(ConfigError, match="tp = 0"):
        step_cost(H200, DENSE, "fp8", 0)
    with pytest.raises(ConfigError, match="fp9"):
        step_cost(H200, DENSE, "fp9", 1)


def test_a_format_the_device_lacks_is_not_a_number() -> None:
    assert np.isnan(step_cost(A100, DENSE, "fp8", 4).decode_step_s(8, 1024))


def test_a_warm_call_is_cheap() -> None:
    spare = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(50):
            step_s(H200, MIXTURE, "fp8", 8, decode_batch=32.0, decode_context=2048.0)
        spare.append((time.perf_counter() - start) / 50)
    assert min(spare) < 1e-3  # 0.2 ms on an idle core; five times that on a busy one
