"""What must hold of neighbouring predictions: formats of one device, sizes one apart, peers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gangline.planner import predict
from gangline.planner.catalogue import catalogue, find_type
from gangline.planner.costs.dtypes import FORMATS, MEASURED, peak

ROWS = {name: row.spec for name, row in catalogue().items() if row.spec.kind != "api"}


@pytest.mark.parametrize("device", ROWS)
def test_a_format_with_a_higher_peak_is_no_slower_where_products_bind(device: str) -> None:
    spec = ROWS[device]
    plain = "bf16" if peak(spec, "bf16") else "fp16"
    if not (rate := peak(spec, plain)):
        pytest.skip("no 16-bit products")
    whole: dict[str, Any] = {"m": 8192, "n": 8192, "k": 8192}
    base = predict(device, op="gemm", dtype=plain, **whole)
    for dtype in ("fp8", "int8", "nvfp4"):
        if other := peak(spec, dtype):
            share = predict(device, op="gemm", dtype=dtype, **whole) / base
            assert share < 1.05 * max(rate / other, 1.0), dtype


@pytest.mark.parametrize("device", ROWS)
@pytest.mark.parametrize("sizes", [(4096, 4096), (14336, 4096), (8192, 8192), (1024, 4096)])
def test_one_more_row_does_not_double_a_product(device: str, sizes: tuple[int, int]) -> None:
    rows = np.arange(1.0, 300.0)
    spec = ROWS[device]
    for dtype in FORMATS:
        if peak(spec, dtype) is None:
            continue
        seconds = predict(device, op="gemm", dtype=dtype, m=rows, n=sizes[0], k=sizes[1])
        steps = seconds[1:] / seconds[:-1]
        assert steps.min() > 0.99, dtype
        # A kernel that was measured has tiles of 128 rows; one more row starts another tile.
        assert steps.max() < (1.75 if dtype in MEASURED and spec.kind != "cpu" else 1.45), dtype


def test_an_interval_of_plain_sizes_is_that_of_arrays() -> None:
    for m in (1, 64, 8192):
        plain = predict("B200-SXM-180", op="gemm", dtype="fp8", interval=True, m=m, n=4096, k=4096)
        several = predict(
            "B200-SXM-180", op="gemm", dtype="fp8", interval=True, m=[m], n=4096, k=4096
        )
        assert plain == pytest.approx(tuple(float(part[0]) for part in several), rel=1e-12)


def test_wide_matrix_units_count_as_several() -> None:
    # Few of them must not mean few vectors to quantise with nor small buffers to reuse from.
    for device in ("Gaudi2", "Trainium2"):
        spec = find_type(device).spec
        pair = [
            predict(device, op="gemm", dtype=dtype, m=8192, n=8192, k=8192)
            for dtype in ("fp8", "bf16")
        ]
        assert pair[0] / pair[1] < 0.7, spec.type


HEADS = [(32, 8), (32, 32), (8, 1)]


def sixteen_bits(device: str) -> str:
    return "bf16" if peak(ROWS[device], "bf16") else "fp16"


@pytest.mark.parametrize("device", ROWS)
def test_more_sequences_and_longer_ones_never_decode_sooner(device: str) -> None:
    batch = np.unique(
        np.concatenate([np.arange(1, 50), np.geomspace(50, 6000, 20).round(), [992, 993]])
    ).astype(float)[:, None]
    context = np.unique(np.geomspace(1, 2e5, 20).round())[None, :]
    for heads, kv_heads in HEADS:
        given: dict[str, Any] = {"n_heads": heads, "n_kv_heads": kv_heads, "head_dim": 128}
        seconds = predict(
            device, op="attention_decode", dtype=sixteen_bits(device),
            batch=batch, context=context, **given,
        )  # fmt: skip
        assert (seconds[1:] / seconds[:-1]).min() > 0.97, (heads, kv_heads)
        assert (seconds[:, 1:] / seconds[:, :-1]).min() > 0.999, (heads, kv_heads)


@pytest.mark.parametrize("device", ROWS)
def test_a_second_token_over_a_long_past_costs_little_more_than_one(device: str) -> None:
    tokens = np.array([1.0, 2.0, 3.0, 4.0, 8.0, 16.0, 64.0, 128.0, 129.0, 1024.0])[:, None]
    past = np.array([0.0, 1.0, 128.0, 1024.0, 16384.0, 131072.0])[None, :]
    for heads, kv_heads in HEADS:
        given: dict[str, Any] = {"n_heads": heads, "n_kv_heads": kv_heads, "head_dim": 128}
        for batch in (1, 8):
            seconds = predict(
                device, op="attention_prefill", dtype=sixteen_bits(device), batch=batch,
                isl=tokens, past=past, **given,
            )  # fmt: skip
            assert (seconds[1:] / seconds[:-1]).min() > 0.99, (heads, batch)
            assert (seconds[:, 1:] / seconds[:, :-1]).min() > 0.99, (heads, batch)
            # Twice the products, where they bind.
            limit = 2.01 if ROWS[device].kind == "cpu" else 1.7
            assert (seconds[1, 4:] / seconds[0, 4:]).max() < limit, (heads, batch)


@pytest.mark.parametrize("device", ["A100-SXM-80", "H100-SXM-80", "L40S", "MI300X"])
def test_a_prompt_of_one_token_over_a_past_is_a_decode_call(device: str) -> None:
    past = np.array([1024.0, 16384.0, 131072.0])
    given: dict[str, Any] = {"dtype": "bf16", "batch": 1, "n_heads": 32, "n_kv_heads": 8}
    one = predict(device, op="attention_prefill", isl=1, past=past, head_dim=128, **given)
    same = predict(device, op="attention_decode", context=past, head_dim=128, **given)
    assert one == pytest.approx(same)


def test_short_prompts_of_a_cpu_do_not_fill_the_blocks_of_a_gpu() -> None:
    given: dict[str, Any] = {"n_heads": 32, "n_kv_heads": 8, "head_dim": 128}
    seconds = predict("cpu", op="attention_prefill", dtype="bf16", batch=1, isl=256, **given)
    assert 4.0 * 32 * 128 * 256**2 / 2.0 / seconds > 0.45 * (peak(ROWS["cpu"], "bf16") or 0.0)
