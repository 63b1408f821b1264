"""Matrix products: physical limits, waves of tiles, two regimes of constants, and measured rows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.fit_cost_model.__main__ import to_text
from benchmarks.fit_cost_model.data import find_shared_data
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import catalogue, find_type
from gangline.planner.costs.constants import CONSTANTS_PATH, constants
from gangline.planner.costs.dtypes import FORMATS, peak
from gangline.planner.costs.gemm import (
    CHUNK,
    coefficients,
    gemm_interval,
    gemm_regime,
    gemm_s,
    gemm_source,
)

NEEDS_DATA = pytest.mark.skipif(
    find_shared_data() is None, reason="the shared measurements are absent (GANGLINE_SHARED_DATA)"
)
DEVICES = [name for name, row in catalogue().items() if row.spec.kind != "api"]
SEEN = ["H100-SXM-80", "GB200", "A100-PCIE-80", "L4", "A40", "RTX-PRO-6000-BW", "RTX-3090"]
UNSEEN = ["MI325X", "Gaudi3", "T4", "TPU-v5e", "MI250", "Xeon-8480-56c"]

Array = npt.NDArray[np.float64]


def spec(name: str) -> DeviceSpec:
    return find_type(name).spec


def seconds(device: DeviceSpec, dtype: str, m: float, n: float, k: float) -> float:
    return float(gemm_s(device, dtype, m, n, k))


def grid() -> tuple[Array, Array, Array]:
    m = np.array([1.0, 7, 16, 64, 65, 128, 129, 500, 1000, 4096, 16384])
    n = np.array([512.0, 1024, 4096, 4100, 12288])
    k = np.array([512.0, 1024, 5120, 12288])
    return m[:, None, None], n[None, :, None], k[None, None, :]


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("dtype", ["bf16", "fp8", "nvfp4", "w4a16"])
def test_no_product_beats_the_peak_or_the_bandwidth(name: str, dtype: str) -> None:
    device, (m, n, k) = spec(name), grid()
    rate = peak(device, dtype)
    took = gemm_s(device, dtype, m, n, k, streamed=True)
    if rate is None:
        assert np.isnan(took).all()
        return
    flop = 2.0 * m * n * k / rate
    read = FORMATS[dtype].weight_bytes * n * k / device.memory_bytes_per_s
    assert (took > 0.95 * np.maximum(flop, read)).all()


@pytest.mark.parametrize("name", DEVICES)
def test_time_grows_with_every_size(name: str) -> None:
    took = gemm_s(spec(name), "bf16", *grid())
    for axis in range(3):
        assert (np.diff(took, axis=axis) >= 0).all()


def test_lacking_formats_are_nan_of_the_broadcast_shape() -> None:
    took = gemm_s(spec("A100-SXM-80"), "fp8", np.ones((4, 1)), np.ones(3), 64.0)
    assert took.shape == (4, 3)
    assert np.isnan(took).all()
    assert np.isnan(np.asarray(gemm_interval(spec("V100-SXM2-16"), "nvfp4", 1, 2, 3))).all()


@pytest.mark.parametrize("dtype", ["bf16", "fp8", "fp8_block", "nvfp4"])
def test_plain_numbers_and_arrays_agree_across_chunks(dtype: str) -> None:
    rng = np.random.default_rng(3)
    m = rng.integers(1, 9000, CHUNK + 5).astype(float)
    n, k = rng.integers(64, 13000, (2, CHUNK + 5)).astype(float)
    together = gemm_s(spec("B200-SXM-180"), dtype, m, n, k)
    for at in (0, 1, CHUNK - 1, CHUNK, CHUNK + 4):
        alone = seconds(spec("B200-SXM-180"), dtype, float(m[at]), float(n[at]), float(k[at]))
        assert alone == pytest.approx(together[at], rel=1e-12)


def test_one_tile_past_a_full_wave_costs_more_than_its_share() -> None:
    device = spec("H100-SXM-80")  # 132 units: 11 x 12 tiles of 128 x 256 fill one wave
    full = seconds(device, "bf16", 11 * 128, 12 * 256, 8192)
    wider = seconds(device, "bf16", 11 * 128 + 1, 12 * 256, 8192)
    before = seconds(device, "bf16", 11 * 128 - 1, 12 * 256, 8192)
    assert wider / full > 1.05
    assert full / before < 1.001


def test_two_boards_with_one_die_differ_by_their_memory_alone() -> None:
    h100, h200 = spec("H100-SXM-80"), spec("H200-SXM-141")
    reading = seconds(h100, "bf16", 1, 12288, 12288) / seconds(h200, "bf16", 1, 12288, 12288)
    computing = seconds(h100, "bf16", 8192, 8192, 8192) / seconds(h200, "bf16", 8192, 8192, 8192)
    assert reading == pytest.approx(4800 / 3350, rel=0.1)
    assert computing == pytest.approx(1.0, abs=0.03)


def test_a_board_short_of_power_slows_down_when_busy() -> None:
    board = spec("B200-SXM-180")
    fed = replace(board, tdp_w=3 * board.tdp_w)
    assert seconds(board, "bf16", 8192, 8192, 8192) > 1.1 * seconds(fed, "bf16", 8192, 8192, 8192)
    assert seconds(board, "bf16", 1, 8192, 8192) == pytest.approx(
        seconds(fed, "bf16", 1, 8192, 8192), rel=0.01
    )


def test_small_weights_stay_in_a_large_cache_unless_streamed() -> None:
    board = spec("L40S")
    small, large = (16, 2048, 2048), (16, 12288, 12288)
    for shape, gain in ((small, 1.15), (large, 1.0)):
        streamed = float(gemm_s(board, "bf16", *shape, streamed=True))
        assert streamed / seconds(board, "bf16", *shape) >= gain
    assert float(gemm_s(board, "bf16", *large, streamed=True)) == pytest.approx(
        seconds(board, "bf16", *large), rel=1e-3
    )


def test_a_captured_graph_hides_host_time_only() -> None:
    board = spec("B200-SXM-180")
    shape = (1, 4096, 4096)
    assert seconds(board, "fp8_block", *shape) > 1e-4
    assert float(gemm_s(board, "fp8_block", *shape, captured=True)) < 3e-5
    assert float(gemm_s(board, "bf16", *shape, captured=True)) == seconds(board, "bf16", *shape)


def test_weight_only_formats_help_reading_and_not_computing() -> None:
    board = spec("A100-SXM-80")
    assert seconds(board, "w4a16", 1, 8192, 8192) < 0.45 * seconds(board, "bf16", 1, 8192, 8192)
    assert seconds(board, "w4a16", 8192, 8192, 8192) == pytest.approx(
        seconds(board, "bf16", 8192, 8192, 8192), rel=0.1
    )


def test_quantising_activations_costs_with_rows_and_depth() -> None:
    board = spec("H200-SXM-141")
    narrow = seconds(board, "fp8", 16384, 1024, 1024) / seconds(board, "bf16", 16384, 1024, 1024)
    wide = seconds(board, "fp8", 16384, 12288, 12288) / seconds(board, "bf16", 16384, 12288, 12288)
    assert narrow > 1.5
    assert wide < 0.75


def test_sources_name_what_was_measured() -> None:
    assert {gemm_source(spec(name), "bf16") for name in SEEN} == {"fitted"}
    assert {gemm_source(spec(name), "bf16") for name in UNSEEN} == {"spec"}
    assert gemm_source(spec("H100-SXM-80"), "fp8") == "fitted"
    assert gemm_source(spec("H100-SXM-80"), "nvfp4") == "spec"
    assert gemm_source(spec("H100-SXM-80"), "int8") == "spec"
    assert gemm_source(spec("A100-SXM-80"), "w4a16") == "spec"


def test_a_board_of_another_balance_does_not_take_its_generations_constants() -> None:
    stacked = spec("H100-SXM-80")
    graphics = replace(stacked, memory_bytes_per_s=stacked.memory_bytes_per_s / 4)
    assert gemm_source(graphics, "bf16") == "spec"
    assert gemm_source(replace(stacked, generation="hopper-next"), "bf16") == "spec"


def test_constants_belong_to_generations_that_have_data() -> None:
    measured = {"volta", "ampere", "ada", "hopper", "blackwell", "blackwell-rtx", "xe2"}
    text = (CONSTANTS_PATH / "gemm.json").read_text(encoding="utf-8")
    assert len(text) < 20_000  # coefficients, not a table of shapes
    assert to_text(json.loads(text)) == text
    for family in constants("gemm")["families"].values():
        assert {group["generation"] for group in family["groups"]} <= measured
        assert all(len(group["values"]) <= 7 for group in family["groups"])


def test_intervals_are_wider_where_nothing_was_measured() -> None:
    for m in (1.0, 8192.0):
        low, high = gemm_interval(spec("H100-SXM-80"), "bf16", m, 8192, 8192)
        least, most = gemm_interval(spec("MI325X"), "bf16", m, 8192, 8192)
        assert least < low < 1 < high < most
    low, high = gemm_interval(spec("H100-SXM-80"), "bf16", np.ones((5, 1)), np.ones(3) * 512, 512)
    assert low.shape == high.shape == (5, 3)


def test_what_bounds_a_product_follows_its_shape() -> None:
    found = coefficients(spec("H200-SXM-141"), "bf16")
    assert found is not None
    m, nk = np.array([1.0, 16, 16384]), np.array([256.0, 12288, 12288])
    assert gemm_regime(found, m, nk, nk).tolist() == [0, 1, 2]


def test_coefficients_are_worked_out_once() -> None:
    assert coefficients(spec("L40S"), "bf16") is coefficients(replace(spec("L40S")), "bf16")
    assert coefficients(spec("L40S"), "bf16") is not coefficients(spec("L4"), "bf16")


@pytest.mark.parametrize("field", ["units", "clock_hz", "cache_bytes", "tdp_w"])
def test_a_row_that_is_silent_still_gives_an_estimate(field: str) -> None:
    whole = spec("H100-SXM-80")
    silent = replace(whole, **{field: type(getattr(whole, field))(0)})
    ratio = gemm_s(silent, "bf16", *grid()) / gemm_s(whole, "bf16", *grid())
    assert np.isfinite(ratio).all()
    assert 0.5 < np.median(ratio) < 2.0


@NEEDS_DATA
@pytest.mark.parametrize(("family", "most"), [("bf16", 0.08), ("fp8", 0.11), ("nvfp4", 0.13)])
def test_packaged_constants_meet_the_measured_rows(family: str, most: float) -> None:
    from benchmarks.fit_cost_model.gemm_tables import tables_of

    for table in tables_of(family):
        took = gemm_s(table.spec, family, table.m, table.n, table.k)
        assert np.median(np.abs(took / table.seconds - 1)) < most, table.system
        low, high = gemm_interval(table.spec, family, table.m, table.n, table.k)
        inside = (table.seconds >= low * took) & (table.seconds <= high * took)
        assert 0.85 < inside.mean() < 0.99, table.system


@NEEDS_DATA
def test_a_device_left_out_is_met_better_than_by_a_roofline_that_saw_it() -> None:
    from benchmarks.fit_cost_model.gemm import common_without
    from benchmarks.fit_cost_model.gemm_tables import tables_of

    values = common_without("bf16", "A100-SXM-80")
    table = next(table for table in tables_of("bf16") if table.system == "a100_sxm")
    off = np.abs(table.estimate(values) / table.seconds - 1)
    read = (table.n * table.k + table.m * table.k + table.m * table.n) * 2.0
    flop = 2.0 * table.m * table.n * table.k / (peak(table.spec, "bf16") or np.nan)
    plain = np.maximum(flop / 0.75, read / (0.78 * table.spec.memory_bytes_per_s)) + 5e-6
    toy = np.abs(plain / table.seconds - 1)  # its constants were fitted with this device
    assert np.median(off) < min(0.09, 0.9 * np.median(toy))
    assert np.quantile(off, 0.9) < 0.75 * np.quantile(toy, 0.9)
