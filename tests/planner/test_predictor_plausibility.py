"""What must hold of every prediction: physical floors, order of devices, smoothness, input forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gangline.ir.errors import ConfigError
from gangline.planner import predict, predict_with_source
from gangline.planner.catalogue import catalogue, find_type
from gangline.planner.costs.dtypes import FORMATS, peak
from gangline.planner.costs.shape import find_shape

Array = npt.NDArray[np.float64]

DEVICES = [name for name, row in catalogue().items() if row.spec.kind != "api"]
H100, B200 = "H100-SXM-80", "B200-SXM-180"

M = np.array([1, 2, 7, 16, 31, 64, 65, 128, 129, 513, 2048, 8192, 65536])[:, None, None]
N = np.array([128, 1024, 4096, 14336, 57344, 152064])[None, :, None]
K = np.array([128, 1024, 4096, 14336, 65536])[None, None, :]
BATCH = np.array([1, 2, 4, 8, 16, 64, 256, 512])[:, None]
CONTEXT = np.array([1, 16, 128, 1024, 4096, 16384, 131072])[None, :]
HEADS = {"n_heads": 64, "n_kv_heads": 8, "head_dim": 128}
ANY_CACHE = 5e8
"""Bytes beyond every last-level cache but that of one CPU: what is larger comes from memory."""


def operations(device: str) -> dict[str, Any]:
    """Arguments of every kernel on grids of sizes, formats left out."""
    del device
    return {
        "gemm": {"m": M, "n": N, "k": K},
        "attention_decode": {"batch": BATCH, "context": CONTEXT, **HEADS},
        "attention_prefill": {"batch": BATCH[:6], "isl": CONTEXT[:, 1:], **HEADS},
    }


def formats(device: str, op: str) -> list[str]:
    spec = find_type(device).spec
    among = FORMATS if op == "gemm" else ("bf16", "fp16", "fp8")
    return [form for form in among if peak(spec, form) is not None]


def first_format(device: str) -> str:
    return formats(device, "attention_decode")[0]


def drop(seconds: Array, axis: int) -> float:
    """Least ratio of a size's seconds to those of the next smaller one."""
    moved = np.moveaxis(seconds, axis, 0)
    return float(np.min(moved[1:] / moved[:-1]))


def closed_loop(device: str, concurrency: Any, **given: Any) -> tuple[Array, Array, Array]:
    """Times of a deployment and the output tokens per second its users see."""
    load = np.asarray(concurrency, float)
    ttft, tpot = predict(device, op="deployment", concurrency=load, **given)
    output = given["osl"]
    return ttft, tpot, load * output / (ttft + output * tpot)


@pytest.mark.parametrize("device", DEVICES)
def test_seconds_are_positive_and_inside_their_interval(device: str) -> None:
    for op, sizes in operations(device).items():
        for dtype in formats(device, op):
            mid, low, high = predict(device, op=op, dtype=dtype, interval=True, **sizes)
            assert np.isfinite([mid, low, high]).all(), (op, dtype)
            assert (low > 0.0).all() and (low <= mid).all() and (mid <= high).all(), (op, dtype)


@pytest.mark.parametrize("device", DEVICES)
def test_more_work_never_takes_much_less_time(device: str) -> None:
    for dtype in formats(device, "gemm"):
        seconds = predict(device, op="gemm", dtype=dtype, m=M, n=N, k=K)
        assert min(drop(seconds, axis) for axis in range(3)) > 0.95, dtype
    dtype = first_format(device)
    for op in ("attention_decode", "attention_prefill"):
        seconds = predict(device, op=op, dtype=dtype, **operations(device)[op])
        assert min(drop(seconds, axis) for axis in range(2)) > 0.9, op


@pytest.mark.parametrize("device", DEVICES)
def test_products_keep_to_the_peak_and_to_the_memory(device: str) -> None:
    spec = find_type(device).spec
    for dtype in formats(device, "gemm"):
        seconds = predict(device, op="gemm", dtype=dtype, m=M, n=N, k=K)
        form, rate = FORMATS[dtype], peak(spec, dtype) or 0.0
        assert np.max(2.0 * M * N * K / rate / seconds) < 1.0 + 1e-9, dtype
        moved = form.weight_bytes * N * K + form.activation_bytes * M * K + 2.0 * M * N
        share = moved / spec.memory_bytes_per_s / seconds
        assert np.max(share[moved > ANY_CACHE]) < 1.0, dtype


@pytest.mark.parametrize("device", DEVICES)
def test_attention_keeps_to_the_peak_and_to_the_memory(device: str) -> None:
    spec, dtype = find_type(device).spec, first_format(device)
    rate = peak(spec, dtype) or 0.0
    sizes = operations(device)
    decode = predict(device, op="attention_decode", dtype=dtype, **sizes["attention_decode"])
    moved = 2.0 * 2.0 * BATCH * CONTEXT * 8 * 128
    far = moved > ANY_CACHE
    assert np.max((moved / spec.memory_bytes_per_s / decode)[far]) < 1.0
    prompt = predict(device, op="attention_prefill", dtype=dtype, **sizes["attention_prefill"])
    flop = 2.0 * BATCH[:6] * CONTEXT[:, 1:] ** 2.0 * 64 * 128
    assert np.max(flop / rate / prompt) < 1.0


@pytest.mark.parametrize("device", DEVICES)
def test_formats_a_device_lacks_raise_alone_and_are_nan_in_arrays(device: str) -> None:
    able = formats(device, "gemm")
    several = predict(device, op="gemm", dtype=[*FORMATS], m=64, n=4096, k=4096)
    assert [form for form, s in zip(FORMATS, several, strict=True) if np.isfinite(s)] == able
    for form in set(FORMATS) - set(able):
        with pytest.raises(ConfigError, match="cannot compute") as caught:
            predict(device, op="gemm", dtype=form, m=64, n=4096, k=4096)
        assert caught.value.where == "dtype" and caught.value.next_step


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("GB200", B200),
        ("H200-SXM-141", H100),
        (H100, "H100-PCIE-80"),
        ("MI325X", "MI300X"),
        ("A100-SXM-80", "A100-SXM-40"),
        ("Gaudi3", "Gaudi2"),
        (H100, "A100-SXM-80"),
    ],
)
def test_a_device_better_in_every_figure_is_not_slower(better: str, worse: str) -> None:
    for op, sizes in operations(better).items():
        fast, slow = (predict(device, op=op, dtype="bf16", **sizes) for device in (better, worse))
        # A later generation launches a little later.
        assert np.max(fast / slow) < 1.15, op
        assert np.median(fast / slow) <= 1.0, op
    given: dict[str, Any] = {
        "model": "llama-3.1-70b",
        "dtype": "bf16",
        "tp": 8,
        "isl": 1024,
        "osl": 1024,
    }
    fast, slow = (predict(device, op="throughput", **given) for device in (better, worse))
    assert fast > slow
    for fast, slow in zip(
        *(closed_loop(d, [1, 64], **given)[:2] for d in (better, worse)), strict=True
    ):
        assert np.all(fast < slow)


SERVED = [
    (H100, "llama-3.1-70b", "fp8"),
    (H100, "Qwen3-32B", "bf16"),
    ("A100-SXM-80", "llama-2-70b", "bf16"),
    (B200, "llama-3.1-8b", "nvfp4"),
    ("GB200", "Qwen-72B", "fp8"),
    ("MI325X", "llama-3.1-70b", "fp8"),
]


@pytest.mark.parametrize(("device", "model", "dtype"), SERVED)
@pytest.mark.parametrize("tp", [4, 8])
def test_a_deployment_keeps_to_the_peak_and_to_the_memory(
    device: str, model: str, dtype: str, tp: int
) -> None:
    spec, shape = find_type(device).spec, find_shape(model)
    isl, osl = np.array([64, 1024, 16384])[:, None], np.array([256, 2048])[None, :]
    rate = tp * (peak(spec, dtype) or 0.0)
    weights = shape.active_params * FORMATS[dtype].weight_bytes / tp
    products = 2.0 * (shape.active_params - shape.embedding_params)
    for users in (1, 16, 128):
        given: dict[str, Any] = {"model": model, "dtype": dtype, "tp": tp, "isl": isl, "osl": osl}
        ttft, tpot, rate_seen = closed_loop(device, users, **given)
        assert np.all(tpot > weights / spec.memory_bytes_per_s)
        assert np.all(ttft > products * isl / rate)
        assert np.all(rate_seen / osl * (isl + osl) * products / rate < 1.0)
    full = predict(device, op="throughput", model=model, dtype=dtype, tp=tp, isl=isl, osl=osl)
    assert np.all(full / osl * (isl + osl) * products / rate < 1.0)
    assert np.all(np.diff(full, axis=0) < 0.0)


@pytest.mark.parametrize(("device", "model", "dtype"), SERVED)
def test_more_users_wait_longer_and_get_more_out_together(
    device: str, model: str, dtype: str
) -> None:
    users = np.unique(np.round(np.geomspace(1, 64, 40)))
    given: dict[str, Any] = {"model": model, "dtype": dtype, "tp": 8, "isl": 1024, "osl": 1024}
    ttft, tpot, together = closed_loop(device, users, **given)
    for times in (ttft, tpot, together):
        assert np.all(times[1:] / times[:-1] > 0.97)
    assert np.all(tpot[1:] / tpot[:-1] < users[1:] / users[:-1])


@pytest.mark.parametrize(("device", "model", "dtype"), SERVED)
def test_twice_the_devices_help_and_not_more_than_twice(
    device: str, model: str, dtype: str
) -> None:
    given: dict[str, Any] = {"model": model, "dtype": dtype, "isl": 1024, "osl": 1024}
    alone = [closed_loop(device, 8, tp=tp, **given)[1] for tp in (4, 8)]
    # A small model in 4 bits waits for launches and reductions, which do not shrink.
    assert 0.45 < alone[1] / alone[0] < 1.1
    full = [predict(device, op="throughput", tp=tp, **given) for tp in (4, 8)]
    # Weights shared by more devices leave more memory to caches: a little more than twice.
    assert 1.0 < full[1] / full[0] < 2.5
    copies = [closed_loop(device, 16 * dp, tp=4, dp=dp, **given)[1] for dp in (1, 4)]
    assert copies[1] == pytest.approx(copies[0])


@pytest.mark.parametrize("device", [H100, "H200-SXM-141", B200, "GB200", "MI325X"])
@pytest.mark.parametrize("model", ["llama-3.1-70b", "Qwen3-32B"])
def test_full_load_is_what_many_users_get(device: str, model: str) -> None:
    users = 2.0 ** np.arange(0, 12)
    for isl, osl in ((1024, 1024), (8192, 1024), (512, 4096)):
        given: dict[str, Any] = {"model": model, "dtype": "fp8", "tp": 8, "isl": isl, "osl": osl}
        most = closed_loop(device, users, **given)[2].max()
        assert 0.6 < predict(device, op="throughput", **given) / most < 1.7


def test_arrays_of_everything_give_what_plain_calls_give() -> None:
    rng = np.random.default_rng(7)
    count = 40

    def size(low: float, high: float) -> Array:
        return np.asarray(
            np.round(np.exp(rng.uniform(np.log(low), np.log(high), count))), np.float64
        )

    given: dict[str, Any] = {
        "model": rng.choice(["llama-3.1-8b", "gpt-oss-120b", "DeepSeek-R1"], count),
        "dtype": rng.choice(["bf16", "fp8", "nvfp4", "w4a16"], count),
        "tp": rng.choice([1.0, 2.0, 8.0], count),
        "isl": size(1, 3e4),
        "osl": size(1, 4e3),
    }
    devices = rng.choice(DEVICES, count)
    load = {"concurrency": size(1, 4096), "dp": rng.choice([1, 8], count)}
    for op, more in (("throughput", {}), ("deployment", load)):
        together = np.asarray(predict(devices, op=op, interval=True, **given, **more))
        for place in range(count):
            one = {name: values[place].item() for name, values in (given | more).items()}
            try:
                alone = np.asarray(predict(devices[place], op=op, interval=True, **one))
            except ConfigError:
                alone = np.full(together.shape[:-1], np.nan)
            assert together[..., place] == pytest.approx(alone, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("spelled", "plain"),
    [
        ("meta-llama/Llama-3.1-70B-Instruct", "llama-3.1-70b"),
        ("meta-llama/Llama-2-70b-hf", "llama2-70b"),
        ("Qwen/Qwen3-32B-FP8", "qwen3-32b"),
        ("Qwen/Qwen-72B-Chat", "Qwen-72B"),
        ("openai/gpt-oss-120b", "gpt-oss-120b"),
        ("zai-org/GLM-4.5-Air", "GLM-4.5-Air"),
        ("zai-org/GLM-5-FP8", "GLM-5"),
        ("mistralai/Mistral-7B-v0.1", "mistral-7b"),
        ("Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
        ("EleutherAI/gpt-j-6b", "gptj"),
        ("internlm/internlm-20b", "internlm-20b"),
        ("deepseek-ai/DeepSeek-R1-0528", "DeepSeek-R1"),
        ("moonshotai/Kimi-K2.5", "Kimi-K2"),
        ("MiniMaxAI/MiniMax-M2.5", "MiniMax-M2"),
    ],
)
def test_names_of_models_are_found_in_their_spellings(spelled: str, plain: str) -> None:
    one, other = (
        predict("MI325X", op="throughput", model=name, dtype="fp8", tp=8, isl=512, osl=512)
        for name in (spelled, plain)
    )
    assert one == other > 0.0


MIXTRAL = {
    "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
    "vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2,
    "sliding_window": None, "hidden_act": "silu", "rope_theta": 1e6,
}  # fmt: skip


@pytest.mark.parametrize(
    "table",
    [
        MIXTRAL,
        {key: np.int64(v) if isinstance(v, int) else v for key, v in MIXTRAL.items()},
        {key: float(v) if isinstance(v, int) else v for key, v in MIXTRAL.items()},
        {
            "layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336,
            "vocab": 32000, "experts": 8, "top_k": 2,
        },
    ],
)  # fmt: skip
def test_tables_of_sizes_are_as_good_as_names(table: dict[str, Any]) -> None:
    given: dict[str, Any] = {"dtype": "fp8", "tp": 2, "isl": 512, "osl": 256, "concurrency": 32}
    assert predict(H100, op="deployment", model=table, **given) == pytest.approx(
        predict(H100, op="deployment", model="Mixtral-8x7B", **given)
    )


def test_rows_of_tables_may_leave_empty_what_does_not_apply() -> None:
    given: dict[str, Any] = {
        "model": "llama-3.1-70b",
        "dtype": "fp8",
        "isl": 1024,
        "osl": 256,
        "concurrency": 64,
    }
    first, last = {"workers": 2, "tp": 2}, {"workers": 1, "tp": 4}
    plain = predict(H100, op="deployment", prefill=first, decode=last, **given)
    for empty in (None, float("nan")):
        again = predict(
            H100, op="deployment", tp=empty, pp=empty, dp=empty,
            prefill={**first, "pp": empty}, decode={**last, "dp": empty}, **given,
        )  # fmt: skip
        assert again == plain
        with pytest.raises(ConfigError, match="tp = "):
            predict(H100, op="deployment", tp=empty, **given)
    numbers = [{key: np.int64(size) for key, size in side.items()} for side in (first, last)]
    assert predict(H100, op="deployment", prefill=numbers[0], decode=numbers[1], **given) == plain
    together = predict(H100, op="deployment", tp=4, **given)
    assert predict(H100, op="deployment", tp=4, prefill=float("nan"), **given) == together
    with pytest.raises(ConfigError, match="no table of workers"):
        predict(H100, op="deployment", prefill="2x4", decode=last, **given)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"concurrency": 0.5}, "concurrency"),
        ({"concurrency": [2.0, 0.5]}, "concurrency"),
        ({"osl": 0.5}, "osl"),
        ({"prefill": {"workers": 2, "tp": 2}}, "decode"),
        ({"decode": {"workers": 2, "tp": 2}}, "prefill"),
        ({"prefill": {"worker": 2}, "decode": {"workers": 1}}, "prefill"),
        ({"prefill": {"workers": 2}, "decode": {"workers": 0.5}}, "decode"),
        ({"prefill": {"workers": 2}, "decode": {"tp": "x"}}, "decode"),
    ],
)
def test_bad_loads_and_workers_are_refused_where_they_are(
    change: dict[str, Any], where: str
) -> None:
    given: dict[str, Any] = {"model": "llama-3.1-70b", "dtype": "fp8", "isl": 1024, "osl": 256}
    with pytest.raises(ConfigError) as caught:
        predict(H100, op="deployment", **{**given, "concurrency": 64, **change})
    assert caught.value.where == where and caught.value.next_step


def test_what_does_not_fit_says_so() -> None:
    given: dict[str, Any] = {"model": "llama-3.1-70b", "dtype": "bf16", "isl": 128, "osl": 128}
    for op, load in (("deployment", {"concurrency": 8}), ("throughput", {})):
        alone, group = (predict_with_source(H100, op, tp=tp, **given, **load) for tp in (1, 4))
        assert not alone.fits and group.fits
        several = predict_with_source(H100, op, tp=[1, 4], **given, **load)
        assert np.asarray(several.fits).tolist() == [False, True]
    assert predict_with_source(H100, "gemm", dtype="bf16", m=1, n=64, k=64).fits


def test_what_does_not_fit_serves_nothing() -> None:
    given: dict[str, Any] = {
        "model": "llama-3.1-70b",
        "dtype": "bf16",
        "tp": 1,
        "isl": 128,
        "osl": 128,
    }
    assert predict(H100, op="throughput", interval=True, **given) == (0.0, 0.0, 0.0)
    held = predict("MI325X", op="throughput", **given)
    assert held > 0.0


def test_odd_input_is_refused_and_empty_input_gives_nothing() -> None:
    given: dict[str, Any] = {"dtype": "bf16", "m": 64, "n": 4096, "k": 4096}
    for op in (["gemm"], None, "gem"):
        with pytest.raises(ConfigError, match="No operation"):
            predict(H100, op=op, **given)  # type: ignore[arg-type]
    for size in (10**400, 1e200, float("inf"), "x", None, 1j):
        with pytest.raises(ConfigError, match="m must be greater than 0"):
            predict(H100, op="gemm", **{**given, "m": size})
    assert predict([], op="gemm", **given).shape == (0,)
    assert predict(H100, op="gemm", **{**given, "m": []}).shape == (0,)
