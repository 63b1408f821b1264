"""The roofline: known answers, monotone, vectorised, fast."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gangline.ir.errors import PlanError
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.model import ModelSpec
from gangline.planner.catalogue import catalogue
from gangline.planner.model_work import CHUNK_TOKENS
from gangline.planner.roofline import roofline, serving_dtype

Models = Mapping[str, ModelSpec]
tokens = st.floats(1, 5000)
fixtures = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def ideal(gpu: DeviceSpec) -> DeviceSpec:
    return replace(gpu, efficiency={"mfu": 1.0, "mbu": 1.0})


def test_decode_of_one_sequence_reads_all_weights_once_per_token(
    ideal: DeviceSpec, models: Models
) -> None:
    model = models["large"]
    touched = model.params - model.vocab_size * model.hidden_size
    line = roofline(ideal, model)
    # 2 bytes a weight over 2 TB/s; 128 KiB of KV per token of context.
    step = (2 * touched + 131072 * 1000) / 2e12
    assert line.step_at(1000.0, 1.0) == pytest.approx(step)
    assert line.decode_s(995.0, 11.0, 1.0) == pytest.approx(10 * step, rel=1e-4)


def test_a_long_prefill_is_bound_by_compute(ideal: DeviceSpec, models: Models) -> None:
    model = models["large"]
    line = roofline(ideal, model)
    touched = model.params - 2 * model.vocab_size * model.hidden_size
    linear = 2.0 * touched * 4096
    attention = 4.0 * 32 * 4096 * 4096 * 2048
    head = 2.0 * model.vocab_size * model.hidden_size
    assert line.prefill_s(4096.0, 0.0) == pytest.approx((linear + attention + head) / 3e14)


def test_every_chunk_of_a_prefill_reads_the_weights(ideal: DeviceSpec, models: Models) -> None:
    starved = replace(ideal, flops={"bf16": 1e20})
    line = roofline(starved, models["large"])
    chunk = float(CHUNK_TOKENS)
    one, three = line.prefill_s(chunk, 0.0), line.prefill_s(3 * chunk, 0.0)
    assert three == pytest.approx(3 * one)


def test_the_first_output_token_comes_with_the_prefill(gpu: DeviceSpec, models: Models) -> None:
    assert roofline(gpu, models["small"]).decode_s(100.0, 1.0, 1.0) == 0.0


def test_overhead_is_per_step_and_per_layer(gpu: DeviceSpec, models: Models) -> None:
    slow = replace(gpu, efficiency={**gpu.efficiency, "step_s": 0.5, "layer_s": 0.25})
    fast = replace(gpu, efficiency={**gpu.efficiency, "step_s": 0.0})
    line, plain = (roofline(spec, models["small"]) for spec in (slow, fast))
    prompt = 2.0 * CHUNK_TOKENS
    assert line.prefill_s(prompt, 0.0) - plain.prefill_s(prompt, 0.0) == pytest.approx(3.0)
    assert line.decode_s(1.0, 3.0, 1.0) - plain.decode_s(1.0, 3.0, 1.0) == pytest.approx(3.0)


@fixtures
@given(prompt=tokens, more=tokens, share=st.floats(0, 1))
def test_more_work_never_takes_less_time(
    gpu: DeviceSpec, models: Models, prompt: float, more: float, share: float
) -> None:
    line = roofline(gpu, models["large"])
    cached = share * prompt
    assert line.prefill_s(prompt + more, cached) >= line.prefill_s(prompt, cached)
    assert line.decode_s(prompt + more, 9.0, 1.0) >= line.decode_s(prompt, 9.0, 1.0)
    assert line.decode_s(prompt, 9.0 + more, 1.0) >= line.decode_s(prompt, 9.0, 1.0)


@fixtures
@given(batch=st.floats(1, 64), more=st.floats(0, 64))
def test_a_larger_batch_is_slower_per_step_and_never_dearer_per_sequence(
    gpu: DeviceSpec, models: Models, batch: float, more: float
) -> None:
    line = roofline(gpu, models["large"])
    small, large = (line.step_at(500.0, size) for size in (batch, batch + more))
    assert large >= small
    assert large / (batch + more) <= small / batch * (1 + 1e-9)


def test_arrays_give_what_scalars_give(gpu: DeviceSpec, models: Models) -> None:
    line = roofline(gpu, models["large"])
    prompts, cached = np.array([1.0, 500.0, 4000.0]), np.array([0.0, 100.0, 3999.0])
    together = line.prefill_s(prompts, cached)
    one_by_one = [line.prefill_s(float(p), float(c)) for p, c in zip(prompts, cached, strict=True)]
    assert np.allclose(together, one_by_one, rtol=1e-12)


def test_a_warm_estimate_takes_under_50_microseconds(gpu: DeviceSpec, models: Models) -> None:
    line = roofline(gpu, models["large"])
    count = 2000
    start = time.process_time()
    for _ in range(count):
        line.prefill_s(500.0, 100.0)
        line.decode_s(500.0, 100.0, 4.0)
    assert (time.process_time() - start) / (2 * count) < 50e-6


def test_every_catalogue_type_is_priced_from_its_row_alone(models: Models) -> None:
    rows = [row.spec for row in catalogue().values() if row.spec.kind != "api"]
    assert len(rows) >= 13
    for spec in rows:
        assert 1e-4 < roofline(spec, models["large"]).step_at(100.0, 1.0) < 10.0


def test_an_unknown_type_is_priced_from_its_row_alone(models: Models) -> None:
    row = DeviceSpec("acme", "npu", {"bf16": 1e14}, 10**11, 1e12)
    assert roofline(row, models["large"]).prefill_s(100.0, 0.0) > 0


def test_newer_hardware_is_faster(models: Models) -> None:
    names = ("T4", "A10", "A100-SXM-80", "H100-SXM-80", "B200-SXM-180")
    times = [
        roofline(catalogue()[name].spec, models["large"]).decode_s(500.0, 100.0, 8.0)
        for name in names
    ]
    assert times == sorted(times, reverse=True)


def test_a_row_without_rates_is_refused(models: Models) -> None:
    with pytest.raises(PlanError, match="operations per second"):
        serving_dtype(DeviceSpec("empty", "gpu"))
    with pytest.raises(PlanError, match="bandwidth"):
        roofline(DeviceSpec("empty", "gpu", {"bf16": 1e12}), models["small"])


def test_a_cpu_serves_int8_and_an_old_gpu_fp16(cpu: DeviceSpec) -> None:
    assert serving_dtype(cpu) == "int8"
    assert serving_dtype(catalogue()["T4"].spec) == "fp16"
    assert serving_dtype(catalogue()["H100-SXM-80"].spec) == "bf16"
