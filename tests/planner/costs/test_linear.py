"""Small operations of a layer: bound by memory, by threads, or by one row per unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.fit_cost_model.data import find_shared_data
from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import catalogue, find_type
from gangline.planner.costs.linear import (
    OPERATIONS,
    elementwise_interval,
    elementwise_s,
    elementwise_source,
)

NEEDS_DATA = pytest.mark.skipif(
    find_shared_data() is None, reason="the shared measurements are absent (GANGLINE_SHARED_DATA)"
)
DEVICES = [name for name, row in catalogue().items() if row.spec.kind != "api"]


def spec(name: str) -> DeviceSpec:
    return find_type(name).spec


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_nothing_beats_the_bandwidth_and_time_grows(name: str, operation: str) -> None:
    rows, width = np.array([1.0, 16, 300, 4096, 65536])[:, None], np.array([2048.0, 8192, 28672])
    took = elementwise_s(spec(name), operation, rows, width)
    assert took.shape == (5, 3)
    assert (np.diff(took, axis=0) >= 0).all()
    assert (np.diff(took, axis=1) > 0).all()
    least = 65536 * 28672 * 2 * 2.0 / spec(name).memory_bytes_per_s
    assert took[-1, -1] > least


def test_a_long_add_runs_near_the_bandwidth() -> None:
    for name in ("A100-SXM-80", "A40", "MI325X"):
        took = float(elementwise_s(spec(name), "add", 65536, 8192))
        moved = 3 * 65536 * 8192 * 2.0
        assert 0.6 < moved / took / spec(name).memory_bytes_per_s < 0.95


def test_what_the_cache_holds_is_read_faster_than_memory() -> None:
    board = spec("L40S")  # 96 MB of cache
    inside, outside = 3 * 512 * 8192 * 2.0, 3 * 65536 * 8192 * 2.0
    assert float(elementwise_s(board, "add", 512, 8192)) < inside / board.memory_bytes_per_s
    assert float(elementwise_s(board, "add", 65536, 8192)) > outside / board.memory_bytes_per_s


def test_gathering_embeddings_is_bound_by_threads_not_by_memory() -> None:
    slow = spec("A100-SXM-80")
    fast = replace(slow, memory_bytes_per_s=2 * slow.memory_bytes_per_s)
    clocked = replace(slow, clock_hz=1.5 * slow.clock_hz)
    base = float(elementwise_s(slow, "embedding", 8192, 8192))
    assert float(elementwise_s(fast, "embedding", 8192, 8192)) > 0.97 * base
    assert float(elementwise_s(clocked, "embedding", 8192, 8192)) < 0.75 * base


def test_one_row_takes_as_long_as_a_row_on_every_unit() -> None:
    board = spec("A100-SXM-80")  # 108 units
    one, full = (float(elementwise_s(board, "activation", rows, 28672)) for rows in (1, 108))
    assert full < 1.2 * one
    assert one > 8e-6
    assert float(elementwise_s(board, "add", 1, 28672)) < 4e-6


def test_wider_elements_take_longer() -> None:
    board = spec("H100-SXM-80")
    half = elementwise_s(board, "add", 65536, 8192)
    whole = elementwise_s(board, "add", 65536, 8192, element_bytes=4.0)
    assert float(whole / half) == pytest.approx(2.0, rel=0.02)


def test_an_unknown_operation_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="softmax") as caught:
        elementwise_s(spec("A40"), "softmax", 1, 1)
    assert "rope" in str(caught.value.next_step)


def test_sources_and_intervals_follow_what_was_measured() -> None:
    assert elementwise_source(spec("A100-SXM-80")) == elementwise_source(spec("A10")) == "fitted"
    assert elementwise_source(spec("H100-SXM-80")) == "spec"
    low, high = elementwise_interval(spec("A40"))
    least, most = elementwise_interval(spec("MI325X"))
    assert least < low < 1 < high < most


@NEEDS_DATA
def test_packaged_values_meet_the_measured_layers() -> None:
    from benchmarks.fit_cost_model.gemm_tables import layer_rows
    from benchmarks.fit_cost_model.linear import operations

    for system, most in (("a100", 0.08), ("a40", 0.11)):
        ours, plain = [], []
        for part in operations(system, layer_rows(system)):
            took = part.times * elementwise_s(part.spec, part.operation, part.rows, part.width)
            moved = part.rows * part.width * 2 * OPERATIONS[part.operation].passes * part.times
            ours.append(np.abs(took / part.seconds - 1))
            roof = moved / (0.8 * part.spec.memory_bytes_per_s) + 3e-6
            plain.append(np.abs(roof / part.seconds - 1))
        assert np.median(np.concatenate(ours)) < most
        assert np.median(np.concatenate(ours)) < 0.6 * np.median(np.concatenate(plain))
