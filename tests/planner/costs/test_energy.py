"""Watts and joules per token: anchors of public measurements, limits and orders."""

from __future__ import annotations

import numpy as np
import pytest

from gangline.planner.catalogue import catalogue
from gangline.planner.costs.energy import (
    idle_watts,
    watts,
)
from gangline.planner.costs.shape import find_shape
from gangline.planner.engine_times import fitted_times

H100 = catalogue()["H100-SXM-80"].spec
SMALL = find_shape("Llama-3.1-8B")


def test_the_published_anchors() -> None:
    assert 100 <= idle_watts(H100) <= 140
    # One request: memory at some three quarters of its rate, hardly any arithmetic.
    assert float(watts(H100, 0.01, 0.75)) == pytest.approx(300, rel=0.1)
    # Prompts at two thirds of peak.
    assert float(watts(H100, 0.67, 0.3)) == pytest.approx(700, rel=0.05)


def test_watts_stay_between_idle_and_tdp() -> None:
    shares = np.linspace(0.0, 1.0, 5)
    drawn = watts(H100, shares[:, None], shares[None, :])
    assert drawn.shape == (5, 5)
    assert drawn.min() == pytest.approx(idle_watts(H100)) and drawn.max() == H100.tdp_w
    assert np.all(np.diff(drawn, axis=0) >= 0) and np.all(np.diff(drawn, axis=1) >= 0)


def full(device: str, name: str, dtype: str, tp: int = 1) -> float:
    """Joules of one output token at the largest batch of 128-token prompts and 2048 answers."""
    times = fitted_times(catalogue()[device].spec, find_shape(name), tp, 1, dtype)
    context, batch = 128 + 0.5 * 2048, times.most_sequences(128 + 2048)
    step_s = times.step_s(context, batch)
    return times.power_w(batch, batch * context, step_s) * step_s / batch


def test_one_request_reads_all_weights() -> None:
    times = fitted_times(H100, SMALL, dtype="fp8")
    step_s = times.step_s(1024.0, 1.0)
    memory = times.weight_bytes / H100.memory_bytes_per_s / step_s
    assert memory > 0.25
    drawn = times.power_w(1.0, 1024.0, step_s)
    assert drawn == pytest.approx(float(watts(H100, 0.0, memory)), rel=0.05)


def test_joules_per_token_are_of_a_published_size_and_order() -> None:
    """An H100 at full load serves an 8B model at 0.01 to 0.1 J a token, a 70B at several times."""
    small = full("H100-SXM-80", "Llama-3.1-8B", "fp8")
    assert 0.01 < small < 0.1
    assert 4 * small < full("H100-SXM-80", "Llama-3.1-70B", "fp8", 4) < 40 * small
    newer = full("B200-SXM-180", "Llama-3.1-8B", "fp8")
    assert newer < small < full("A100-SXM-80", "Llama-3.1-8B", "fp16")


def test_prompts_keep_arithmetic_busier_than_answers() -> None:
    times = fitted_times(H100, SMALL, dtype="fp8")
    prompt = times.power_w(2048.0, 0.0, times.prefill_s(2048.0, 0.0))
    assert prompt > 1.2 * times.power_w(1.0, 1024.0, times.step_s(1024.0, 1.0))
