"""The public predictor: every operation on every device, arrays as scalars, and refusals."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from gangline.ir.errors import ConfigError
from gangline.planner import predict, predict_with_source
from gangline.planner.catalogue import catalogue, find_type
from gangline.planner.costs.dtypes import peak

HEADS = {"n_heads": 32, "n_kv_heads": 8, "head_dim": 128}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "gemm": {"dtype": "bf16", "m": 64, "n": 4096, "k": 4096},
    "attention_prefill": {"dtype": "bf16", "batch": 2, "isl": 1024, **HEADS},
    "attention_decode": {"dtype": "bf16", "batch": 16, "context": 2048, **HEADS},
    "collective": {"kind": "all_reduce", "bytes": 1e6, "n": 8},
    "throughput": {"model": "llama-3.1-8b", "dtype": "bf16", "tp": 1, "isl": 1024, "osl": 128},
}
DEPLOYMENT: dict[str, Any] = {
    "model": "llama-3.1-70b", "dtype": "fp8", "tp": 4, "pp": 1, "dp": 1,
    "isl": 1024, "osl": 1024, "concurrency": 32,
}  # fmt: skip
LAST = {
    "gemm": "m",
    "attention_prefill": "isl",
    "attention_decode": "context",
    "collective": "bytes",
    "throughput": "isl",
}


@pytest.mark.parametrize("op", ARGUMENTS)
def test_plain_numbers_give_a_float_within_its_interval(op: str) -> None:
    mid = predict("H200-SXM-141", op=op, **ARGUMENTS[op])
    assert isinstance(mid, float) and mid > 0.0
    found = predict("H200-SXM-141", op=op, interval=True, **ARGUMENTS[op])
    assert isinstance(found, tuple) and found[0] == mid
    assert found[1] < mid < found[2]


@pytest.mark.parametrize("op", ARGUMENTS)
def test_arrays_give_what_their_entries_give(op: str) -> None:
    values = np.array([[16, 512, 4096], [1, 33, 20000]])
    several = predict(op=op, interval=True, **{**ARGUMENTS[op], LAST[op]: values})
    for part in several:
        assert part.shape == values.shape
    for place in np.ndindex(values.shape):
        one = predict(op=op, interval=True, **{**ARGUMENTS[op], LAST[op]: int(values[place])})
        assert [part[place] for part in several] == pytest.approx(list(one), rel=1e-9)


def test_sizes_broadcast_against_each_other() -> None:
    grid = predict(
        op="attention_decode",
        **{**ARGUMENTS["attention_decode"], "batch": np.array([[1], [64]]), "context": [128, 9999]},
    )
    assert grid.shape == (2, 2) and grid[1, 1] > grid[0, 0]


@pytest.mark.parametrize("op", ARGUMENTS)
def test_every_device_of_the_catalogue_answers(op: str) -> None:
    for name, row in catalogue().items():
        if row.spec.kind == "api":
            continue
        dtype = next(form for form in ("bf16", "fp16", "fp32") if peak(row.spec, form))
        given = {**ARGUMENTS[op], "dtype": dtype}
        if op == "collective":
            del given["dtype"]
        seconds, low, high = predict(name, op=op, interval=True, **given)
        assert np.isfinite([seconds, low, high]).all(), name
        # A model may not fit into a device; everything else takes time everywhere.
        assert seconds > 0.0 or op == "throughput", name


def test_arrays_of_devices_and_formats_are_grouped_and_lacking_ones_are_nan() -> None:
    devices = ["A100-SXM-80", "H100-SXM-80", "A100-SXM-80", "GB200"]
    rows = np.array([16, 16, 4096, 4096])
    got = predict(devices, op="gemm", dtype=["fp8", "fp8", "bf16", "nvfp4"], m=rows, n=4096, k=512)
    assert np.isnan(got[0]) and np.isfinite(got[1:]).all()
    one = predict("H100-SXM-80", op="gemm", dtype="fp8", m=16, n=4096, k=512)
    assert got[1] == pytest.approx(one)
    assert got[2] == pytest.approx(
        predict("A100-SXM-80", op="gemm", dtype="bf16", m=4096, n=4096, k=512)
    )


def test_one_device_in_a_list_still_gives_an_array() -> None:
    got = predict(["L40S"], op="gemm", **ARGUMENTS["gemm"])
    assert got.shape == (1,) and got[0] == predict("L40S", op="gemm", **ARGUMENTS["gemm"])


def test_names_of_formats_have_synonyms() -> None:
    for spelled, plain in (("bfloat16", "bf16"), ("half", "fp16"), ("FP8_E4M3", "fp8")):
        assert predict(op="gemm", dtype=spelled, m=8, n=512, k=512) == predict(
            op="gemm", dtype=plain, m=8, n=512, k=512
        )
    given = {**ARGUMENTS["attention_decode"], "context": 30000}
    assert predict(op="attention_decode", **given) == predict(
        op="attention_decode", **given, kv_dtype="bfloat16"
    )
    assert predict(op="attention_decode", **given, kv_dtype="fp8") < 0.8 * predict(
        op="attention_decode", **given
    )


def test_a_spec_of_ones_own_is_a_device_too() -> None:
    spec = find_type("MI325X").spec
    assert predict(spec, op="gemm", **ARGUMENTS["gemm"]) == predict(
        "MI325X", op="gemm", **ARGUMENTS["gemm"]
    )


def test_sources_say_what_an_estimate_rests_on() -> None:
    seen = predict_with_source("H100-SXM-80", "attention_decode", **ARGUMENTS["attention_decode"])
    unseen = predict_with_source("MI325X", "attention_decode", **ARGUMENTS["attention_decode"])
    assert (seen.source, unseen.source) == ("fitted", "spec")
    width = seen.high / seen.low
    assert unseen.high / unseen.low > width
    several = predict_with_source(
        np.array(["H100-SXM-80", "MI325X"]), "attention_decode", **ARGUMENTS["attention_decode"]
    )
    assert list(several.source) == ["fitted", "spec"]


def test_a_deployment_gives_pairs() -> None:
    ttft, tpot = predict("H100-SXM-80", op="deployment", **DEPLOYMENT)
    assert isinstance(ttft, float) and 0.0 < tpot < ttft
    mid, low, high = predict("H100-SXM-80", op="deployment", interval=True, **DEPLOYMENT)
    assert mid == (ttft, tpot)
    assert all(low[part] < mid[part] < high[part] for part in range(2))
    users = {**DEPLOYMENT, "concurrency": np.array([1, 32, 256])}
    several = predict("H100-SXM-80", op="deployment", **users)
    assert several[1].shape == (3,) and several[1][1] == pytest.approx(tpot)
    assert np.all(np.diff(several[1]) > 0.0)


def test_a_split_deployment_takes_prefill_and_decode_workers() -> None:
    split = predict(
        "H100-SXM-80", op="deployment", **DEPLOYMENT,
        prefill={"workers": 2, "tp": 2, "pp": 1, "dp": 1},
        decode={"workers": 1, "tp": 8, "pp": 1, "dp": 1},
    )  # fmt: skip
    assert split[0] > 0.0 and split[1] > 0.0
    assert split != predict("H100-SXM-80", op="deployment", **DEPLOYMENT)


def test_deployments_of_several_devices_are_pairs_of_arrays() -> None:
    ttft, tpot = predict(["H100-SXM-80", "A100-SXM-80"], op="deployment", **DEPLOYMENT)
    assert np.isnan([ttft[1], tpot[1]]).all()  # no fp8 there
    assert (ttft[0], tpot[0]) == pytest.approx(
        predict("H100-SXM-80", op="deployment", **DEPLOYMENT)
    )


def test_a_format_the_device_lacks_is_refused_naming_those_it_has() -> None:
    with pytest.raises(ConfigError, match=r"A100-SXM-80 cannot.*fp8") as refused:
        predict("A100-SXM-80", op="gemm", **{**ARGUMENTS["gemm"], "dtype": "fp8"})
    assert refused.value.where == "dtype" and "bf16" in refused.value.next_step
    with pytest.raises(ConfigError, match="cannot"):
        predict("H100-SXM-80", op="attention_decode", **ARGUMENTS["attention_decode"] | {
            "dtype": "nvfp4"
        })  # fmt: skip


@pytest.mark.parametrize(
    ("device", "op", "change", "where"),
    [
        ("H100-SXM-80", "convolution", {}, "op"),
        ("H100", "gemm", {}, "device"),
        ("openai-api", "gemm", {}, "device"),
        ("H100-SXM-80", "gemm", {"m": 0}, "m"),
        ("H100-SXM-80", "gemm", {"m": -3}, "m"),
        ("H100-SXM-80", "gemm", {"m": [16, 0]}, "m"),
        ("H100-SXM-80", "gemm", {"n": float("nan")}, "n"),
        ("H100-SXM-80", "gemm", {"n": float("inf")}, "n"),
        ("H100-SXM-80", "gemm", {"k": "wide"}, "k"),
        ("H100-SXM-80", "gemm", {"k": None}, "k"),
        ("H100-SXM-80", "gemm", {"dtype": "int3"}, "dtype"),
        ("H100-SXM-80", "gemm", {"batch": 3}, "gemm"),
        ("H100-SXM-80", "attention_decode", {"n_kv_heads": 64}, "n_kv_heads"),
        ("H100-SXM-80", "attention_prefill", {"past": -1}, "past"),
        ("H100-SXM-80", "attention_prefill", {"kv_dtype": "int3"}, "kv_dtype"),
        ("H100-SXM-80", "collective", {"kind": "gossip"}, "kind"),
        ("H100-SXM-80", "throughput", {"tp": 1.5}, "tp"),
        ("H100-SXM-80", "throughput", {"model": "no-such-model"}, "model"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    device: str, op: str, change: dict[str, Any], where: str
) -> None:
    given = {**ARGUMENTS.get(op, {}), **change}
    with pytest.raises(ConfigError) as refused:
        predict(device, op=op, **given)
    assert refused.value.where == where and refused.value.next_step


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(ConfigError, match="gemm lacks k"):
        predict(op="gemm", dtype="bf16", m=1, n=1)


def test_shapes_that_do_not_broadcast_are_named() -> None:
    with pytest.raises(ConfigError, match=r"m \(2,\), n \(3,\)"):
        predict(op="gemm", dtype="bf16", m=[1, 2], n=[1, 2, 3], k=64)
    with pytest.raises(ConfigError, match=r"device \(2,\), m \(3,\)"):
        predict(["T4", "L4"], op="gemm", dtype="bf16", m=[1, 2, 3], n=64, k=64)


def test_importing_the_planner_stays_light() -> None:
    code = (
        "import sys, gangline.planner as p; assert 'numpy' not in sys.modules;"
        "p.predict(op='gemm', dtype='bf16', m=1, n=64, k=64);"
        "assert 'scipy' not in sys.modules and 'torch' not in sys.modules;"
        "assert callable(p.predict)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
