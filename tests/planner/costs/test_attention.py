"""Attention: rooflines hold, kernel families differ as their code does, and devices left out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.fit_cost_model.data import find_shared_data
from gangline.ir.specs.device import DeviceSpec
from gangline.planner.catalogue import catalogue, find_type
from gangline.planner.costs.attention import (
    attention_source,
    decode_interval,
    decode_s,
    kernel_of,
    mla_decode_s,
    mla_prefill_s,
    prefill_interval,
    prefill_s,
)
from gangline.planner.costs.constants import CONSTANTS_PATH
from gangline.planner.costs.dtypes import peak

NEEDS_DATA = pytest.mark.skipif(
    find_shared_data() is None, reason="the shared measurements are absent (GANGLINE_SHARED_DATA)"
)
HEADS = (32, 8, 128)


def spec(name: str) -> DeviceSpec:
    return find_type(name).spec


@pytest.mark.parametrize("name", ["H100-SXM-80", "GB200", "MI325X", "L40S", "Gaudi3"])
def test_long_decode_is_bound_by_memory(name: str) -> None:
    device = spec(name)
    moved = 2.0 * 64 * 65536 * 8 * 128 * 2.0
    reached = moved / float(decode_s(device, "bf16", "bf16", 64, 65535, *HEADS))
    assert 0.6 < reached / device.memory_bytes_per_s < 0.97


@pytest.mark.parametrize("name", ["H100-SXM-80", "GB200", "A100-SXM-80", "MI325X"])
def test_long_prompt_is_bound_by_products(name: str) -> None:
    device = spec(name)
    flop = 2.0 * 4 * 32 * 128 * 32768.0**2
    reached = flop / float(prefill_s(device, "bf16", "bf16", 4, 32768, 0, *HEADS))
    assert 0.4 < reached / (peak(device, "bf16") or np.inf) < 0.8


def test_decode_seconds_follow_bytes_not_query_heads() -> None:
    device = spec("H100-SXM-80")
    one, wide, more_kv = (
        float(decode_s(device, "bf16", "bf16", 32, 32768, *heads))
        for heads in ((8, 8, 128), (32, 8, 128), (32, 16, 128))
    )
    assert wide == pytest.approx(one, rel=0.05)
    assert more_kv == pytest.approx(2.0 * wide, rel=0.05)


def test_eight_bit_cache_halves_a_long_decode() -> None:
    device = spec("GB200")
    wide = float(decode_s(device, "bf16", "bf16", 64, 32768, *HEADS))
    assert float(decode_s(device, "bf16", "fp8", 64, 32768, *HEADS)) == pytest.approx(
        0.5 * wide, rel=0.15
    )


def test_past_tokens_cost_their_share_of_a_prompt() -> None:
    device = spec("H100-SXM-80")
    fresh = float(prefill_s(device, "bf16", "bf16", 2, 8192, 0, *HEADS))
    later = float(prefill_s(device, "bf16", "bf16", 2, 8192, 8192, *HEADS))
    # Causal: half a square for the new tokens, a whole one against the old.
    assert later / fresh == pytest.approx(3.0, rel=0.1)


def test_flash_attention_2_does_not_split_a_cache_no_heads_share() -> None:
    # One sequence of 64k tokens: 8 blocks alone against as many as the device has units.
    ampere, hopper = spec("A100-SXM-80"), spec("H100-SXM-80")
    alone, shared = (
        float(decode_s(ampere, "bf16", "bf16", 1, 65535, heads, 8, 128)) for heads in (8, 32)
    )
    assert alone > 4.0 * shared
    alone, shared = (
        float(decode_s(hopper, "bf16", "bf16", 1, 65535, heads, 8, 128)) for heads in (8, 32)
    )
    assert alone == pytest.approx(shared, rel=0.1)


def test_a_small_cache_is_read_from_the_last_level_only_when_warm() -> None:
    device = spec("L40S")
    warm = float(decode_s(device, "bf16", "bf16", 8, 2047, *HEADS))
    cold = float(decode_s(device, "bf16", "bf16", 8, 2047, *HEADS, warm=False))
    bytes_s = 2.0 * 8 * 2048 * 8 * 128 * 2.0 / device.memory_bytes_per_s
    assert warm < bytes_s < cold
    large = (64, 32767, *HEADS)
    assert float(decode_s(device, "bf16", "bf16", *large)) == pytest.approx(
        float(decode_s(device, "bf16", "bf16", *large, warm=False)), rel=1e-3
    )


def test_a_prompt_of_one_token_is_a_decode() -> None:
    device = spec("B200-SXM-180")
    got = prefill_s(device, "bf16", "bf16", 4, np.array([1.0, 2.0]), 4096, *HEADS)
    assert got[0] == decode_s(device, "bf16", "bf16", 4, 4096, *HEADS)
    assert got[1] > 0.0


def test_seconds_grow_with_every_size() -> None:
    device = spec("H100-SXM-80")
    tokens = 2.0 ** np.arange(4, 18)
    for seconds in (
        decode_s(device, "bf16", "bf16", 16, tokens, *HEADS),
        decode_s(device, "bf16", "bf16", tokens[:8], 4096, *HEADS),
        prefill_s(device, "bf16", "bf16", 1, tokens, 0, *HEADS),
        prefill_s(device, "bf16", "bf16", 1, 256, tokens, *HEADS),
    ):
        assert np.all(np.diff(seconds) >= -1e-9)


def test_twice_the_bandwidth_is_never_slower_and_no_more_than_twice_as_fast() -> None:
    device = spec("H100-SXM-80")
    fast = replace(device, memory_bytes_per_s=2.0 * device.memory_bytes_per_s)
    tokens = 2.0 ** np.arange(0, 18)
    slow_s, fast_s = (decode_s(d, "bf16", "bf16", 16, tokens, *HEADS) for d in (device, fast))
    assert np.all(fast_s <= slow_s) and np.all(slow_s <= 2.0 * fast_s)


def test_latent_attention_reads_one_latent_and_pays_for_every_head() -> None:
    device = spec("H200-SXM-141")
    latent = float(mla_decode_s(device, "bf16", "bf16", 32, 16384, 16, 512, 64))
    bytes_s = 32 * 16385 * 576 * 2.0 / device.memory_bytes_per_s
    assert bytes_s < latent < 2.0 * bytes_s
    # 128 heads against one latent are bound by products, 16 are not.
    assert float(mla_decode_s(device, "bf16", "bf16", 32, 16384, 128, 512, 64)) > 1.5 * latent
    expanded = float(mla_prefill_s(device, "bf16", "bf16", 1, 16384, 0, 128, 512, 64))
    flop = 16384.0**2 * 128 * (192 + 128)
    assert 0.3 < flop / expanded / 9.89e14 < 0.8


def test_latent_attention_moves_queries_and_outputs_of_every_head() -> None:
    device = spec("H200-SXM-141")
    seconds = float(mla_decode_s(device, "bf16", "bf16", 512, 127, 128, 512, 64, warm=False))
    cached, queries = 512 * 128 * 576 * 2.0, 512 * 128 * (576 + 512) * 2.0
    assert seconds > (cached + queries) / device.memory_bytes_per_s > 2.5 * cached / 4.8e12


def test_flash_attention_3_packs_the_query_heads_of_a_key_head() -> None:
    # 16 new tokens of 32 heads: 4 blocks a sequence packed, 32 where every head has its own.
    ratios = []
    for name in ("H200-SXM-141", "B200-SXM-180"):
        packed, apart = (
            float(prefill_s(spec(name), "bf16", "bf16", 256, 16, 0, 32, kv_heads, 128))
            for kv_heads in (1, 32)
        )
        ratios.append(packed / apart)
    assert ratios[0] < 0.6 * ratios[1]


def test_eight_bit_queries_cost_what_was_measured_on_an_eight_bit_cache() -> None:
    sizes = (2, 4096, 0, *HEADS)
    for name in ("H100-SXM-80", "GB200", "L4"):
        assert prefill_s(spec(name), "fp8", "fp8", *sizes) == prefill_s(
            spec(name), "bf16", "fp8", *sizes
        )


def test_a_format_the_device_lacks_is_nan() -> None:
    ampere = spec("A100-SXM-80")
    assert np.isnan(decode_s(ampere, "fp8", "fp8", 1, 128, *HEADS))
    assert np.isnan(prefill_s(ampere, "nvfp4", "fp8", 1, [128, 256], 0, *HEADS)).tolist() == [
        True,
        True,
    ]
    assert decode_s(ampere, "bf16", "fp8", 1, 128, *HEADS) > 0.0


def test_every_device_of_the_catalogue_has_finite_seconds() -> None:
    for row in catalogue().values():
        if row.spec.kind == "api":
            continue
        dtype = next(d for d in ("bf16", "fp16", "fp32") if peak(row.spec, d))
        sizes = np.array([1.0, 7.0, 4096.0])
        prompt = prefill_s(row.spec, dtype, "bf16", sizes, 128 * sizes, 0, *HEADS)
        token = decode_s(row.spec, dtype, "bf16", sizes, 16 * sizes, *HEADS)
        assert np.all(np.isfinite(prompt)) and np.all(np.isfinite(token)), row.spec.type
        assert np.all(prompt > 0.0) and np.all(np.diff(token) > 0.0), row.spec.type


def test_kernels_and_sources_by_device_and_cache_format() -> None:
    wanted = {
        ("H100-SXM-80", "bf16"): ("fa3", "fitted"),
        ("GB200", "fp8"): ("trtllm", "fitted"),
        ("L4", "fp8"): ("flashinfer", "fitted"),
        ("A100-SXM-80", "fp8"): ("flashinfer", "spec"),
        ("T4", "bf16"): ("fa2", "spec"),
        ("MI325X", "bf16"): ("any", "spec"),
    }
    got = {
        (name, kv): (kernel_of(spec(name), kv).family, attention_source(spec(name), kv))
        for name, kv in wanted
    }
    assert got == wanted


def test_intervals_hold_the_estimate_and_are_wider_where_nothing_was_measured() -> None:
    for interval in (prefill_interval, decode_interval):
        low, high = interval(spec("H100-SXM-80"))
        wide_low, wide_high = interval(spec("MI325X"))
        assert wide_low < low < 1.0 < high < wide_high


def test_constants_name_no_device_and_stay_few() -> None:
    text = (CONSTANTS_PATH / "attention.json").read_text(encoding="utf-8")
    document = json.loads(text)
    names = {key for phase in ("prefill", "decode") for key in document[phase]}
    assert not any(part in name for name in names for part in ("h100", "gb200", "mi325"))
    assert all(len(entry) <= 15 for entry in document["decode"].values())
    assert document["provenance"]["rows"] > 10_000


@NEEDS_DATA
def test_constants_are_what_the_script_fits() -> None:
    from benchmarks.fit_cost_model import attention as fit

    stated = json.loads((CONSTANTS_PATH / "attention.json").read_text(encoding="utf-8"))
    members = [rows for rows in fit.load("decode") if rows.key == "fa3/hopper/kv16"]
    again = fit.fit_rows("decode", members)
    for name, value in again.items():
        assert stated["decode"]["fa3/hopper/kv16"][name] == pytest.approx(value, rel=1e-3), name


@NEEDS_DATA
@pytest.mark.parametrize(
    ("phase", "system", "width", "limit"),
    [
        ("prefill", "h200_sxm", "kv16", 0.055),
        ("prefill", "b200_sxm", "kv16", 0.05),
        ("prefill", "b200_sxm", "kv8", 0.07),
        ("decode", "h200_sxm", "kv16", 0.045),
        ("decode", "h200_sxm", "kv8", 0.045),
        ("decode", "b200_sxm", "kv16", 0.07),
        ("decode", "l40s", "kv8", 0.08),
    ],
)
def test_seen_generation_error(phase: str, system: str, width: str, limit: float) -> None:
    from benchmarks.fit_cost_model import attention as fit

    stated = json.loads((CONSTANTS_PATH / "attention.json").read_text(encoding="utf-8"))[phase]
    rows = next(r for r in fit.load(phase) if (r.system, r.width) == (system, width))
    predicted = rows.predicted(phase, stated[rows.key], np.arange(rows.seconds.size))
    assert np.median(np.abs(predicted / rows.seconds - 1.0)) < limit


@NEEDS_DATA
def test_left_out_prompt_error_is_within_20_percent() -> None:
    from benchmarks.fit_cost_model import attention as fit

    tables = [rows for rows in fit.load("prefill") if rows.width == "kv16"]
    left = next(rows for rows in tables if rows.system == "h200_sxm")
    others = [r for r in tables if r.system != "h200_sxm" and r.spec.vendor == "NVIDIA"]
    fitted = fit.fit_rows("prefill", others)
    predicted = left.predicted("prefill", fitted, np.arange(left.seconds.size))
    assert np.median(np.abs(predicted / left.seconds - 1.0)) < 0.20
