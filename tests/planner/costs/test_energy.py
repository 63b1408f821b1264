"""Watts and joules per token: anchors of public measurements, limits and orders."""

from __future__ import annotations

import numpy as np
import pytest

from gangline.planner.catalogue import catalogue
from gangline.planner.costs.energy import (
    idle_watts,
    joules,
    joules_per_token,
    load_shares,
    watts,
)
from gangline.planner.costs.shape import find_shape
from gangline.planner.costs.throughput import full_load

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


def test_joules_are_watts_times_seconds_devices_and_overhead() -> None:
    found = joules(H100, np.array([1.0, 10.0]), devices=4, memory=0.5, overhead=1.3)
    assert found == pytest.approx(float(watts(H100, 0.0, 0.5)) * 4 * 1.3 * np.array([1, 10]))


def test_a_full_load_is_busier_with_long_prompts() -> None:
    decode = full_load(H100, SMALL, "fp8", 1, 128, 2048)
    prompts = full_load(H100, SMALL, "fp8", 1, 2048, 128)
    for load in (decode, prompts):
        compute, memory = load_shares(load)
        assert 0.0 < compute < 0.95 and 0.0 < memory < 1.0
    assert load_shares(prompts)[0] > 1.5 * load_shares(decode)[0]
    assert load_shares(decode)[1] > load_shares(prompts)[1]


def test_one_request_reads_all_weights() -> None:
    load = full_load(H100, SMALL, "fp8", 1, 128, 2048, concurrency=1)
    memory = float(load_shares(load)[1])
    read = SMALL.weight_bytes("fp8") / H100.memory_bytes_per_s / float(load.step_s)
    assert memory == pytest.approx(read, rel=0.05) and memory > 0.25


def test_joules_per_token_are_of_a_published_size_and_order() -> None:
    """An H100 at full load serves an 8B model at 0.01 to 0.1 J a token, a 70B at several times."""
    small = float(joules_per_token(H100, SMALL, "fp8", 1, 128, 2048))
    large = float(joules_per_token(H100, find_shape("Llama-3.1-70B"), "fp8", 4, 128, 2048))
    assert 0.01 < small < 0.1
    assert 4 * small < large < 40 * small
    newer = joules_per_token(catalogue()["B200-SXM-180"].spec, SMALL, "fp8", 1, 128, 2048)
    older = joules_per_token(catalogue()["A100-SXM-80"].spec, SMALL, "fp16", 1, 128, 2048)
    assert float(newer) < small < float(older)


def test_what_serves_nothing_costs_without_end() -> None:
    lengths = np.array([128.0, 1e9])
    found = joules_per_token(H100, SMALL, "fp8", 1, lengths, 128)
    assert np.isfinite(found[0]) and np.isinf(found[1])
