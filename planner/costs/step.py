"""Seconds of one iteration of a serving engine: a batch of prompts, of decoding requests, or both.

An iteration is composed from the products, attention calls and collectives of one pass through
the layers, with a few constants fitted on whole deployments (`constants/deployment.json`). All methods
take floats or arrays of one shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec

from .attention import decode_s, prefill_s
from .collective import collective_s
from .constants import constants
from .dtypes import FORMATS, peak
from .gemm import gemm_s
from .layer_work import LayerWork, kv_heads_per_device, layer_work
from .shape import ModelShape

Array = npt.NDArray[np.float64]

DTYPES = {"fp4": "nvfp4", "int4": "w4a16", "half": "fp16", "bfloat16": "bf16", "float16": "fp16"}
"""Other names of number formats, as public tables use them."""

MEMORY_SHARE = 0.9
"""Share of a device's memory an engine may fill (vLLM's gpu_memory_utilization)."""

GRID = np.unique(np.round(np.concatenate([np.arange(0, 65), np.geomspace(64, 131072, 220)])))
"""Token counts at which the products of a pass are priced; between them times are interpolated."""


@dataclass(frozen=True, slots=True)
class StepConstants:
    """Fitted constants of an engine step; the first ten are factors of priced parts.

    Operations were measured one by one. In an engine their launches overlap in a graph and its
    collectives are of one kernel, so what an operation takes at no size is a part of its own.

    Attributes:
        gemm: of the products every token goes through, where reading weights takes the time.
        gemm_busy: of the same where computing takes the time.
        expert: of the grouped products of routed experts, where reading takes the time.
        expert_fp4: of those with weights in 4-bit floats, on top.
        expert_mixed: of those with weights narrower than their products, on top.
        expert_busy: of grouped products where computing takes the time.
        attention: of attention calls that decode.
        prompt_attention: of attention calls of prompts.
        collective: of collectives.
        launch: of empty products and attention calls.
        latency: of empty collectives.
        layer_s: seconds per layer that no operation explains (norms, launches, gaps).
        moe_layer_s: the same, more per mixture layer (routing, permuting).
        step_s: seconds per iteration (scheduling, sampling).
        sequence_s: seconds per request in an iteration.
    """

    gemm: float = 1.0
    gemm_busy: float = 1.0
    expert: float = 1.0
    expert_fp4: float = 1.0
    expert_mixed: float = 1.0
    expert_busy: float = 1.0
    attention: float = 1.0
    prompt_attention: float = 1.0
    collective: float = 1.0
    launch: float = 1.0
    latency: float = 1.0
    layer_s: float = 0.0
    moe_layer_s: float = 0.0
    step_s: float = 0.0
    sequence_s: float = 0.0


PARTS = tuple(part.name for part in fields(StepConstants))


@cache
def fitted_constants(generation: str = "") -> StepConstants:
    """Read the packaged constants: the common ones, with those of a generation that has its own."""
    packaged = constants("deployment")
    own = packaged["generations"].get(generation, {})
    common = packaged["step"]
    return StepConstants(**{name: float(common[name]) * own.get(name, 1.0) for name in PARTS})


def weight_format(dtype: str) -> str:
    """Give the format of a name; ConfigError for one that is not known."""
    name = DTYPES.get(dtype, dtype)
    if name not in FORMATS:
        raise ConfigError(
            f"No number format is called {dtype!r}",
            next_step=f"Formats: {', '.join([*FORMATS, *DTYPES])}.",
        )
    return name


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds of iterations of one model on one group of devices; build it with `step_cost`.

    Attributes:
        tp: devices that share every layer.
        pp: groups the layers are dealt over; an iteration passes all of them.
        dp: attention groups that share the experts (1 for dense models).
        weight_bytes: resident weights of one device.
        kv_dtype: format of the cache.
        empty_attention_s: seconds of empty attention calls of all layers (in `table` already).
        table: seconds of the token-wise parts at `GRID`, constants applied, shape [grid].
        head: the same of the output head by rows that need logits.
    """

    spec: DeviceSpec
    shape: ModelShape
    dtype: str
    kv_dtype: str
    tp: int
    pp: int
    dp: int
    weight_bytes: float
    empty_attention_s: float
    constants: StepConstants
    table: Array = field(repr=False)
    head: Array = field(repr=False)

    def mixed_step_s(
        self,
        new_tokens: npt.ArrayLike,
        new_context: npt.ArrayLike,
        decode_batch: npt.ArrayLike,
        decode_context: npt.ArrayLike,
        prompts: npt.ArrayLike = 1.0,
    ) -> Array:
        """Seconds of one iteration that computes prompt tokens and decodes at once.

        Args:
            new_tokens: prompt tokens computed, over all `prompts` of one attention group.
            new_context: tokens already cached before each prompt's new ones.
            decode_batch: requests that each get one token.
            decode_context: cached tokens of each of them.
            prompts: prompts the new tokens belong to.
        """
        new, batch, prompts = (np.asarray(x, float) for x in (new_tokens, decode_batch, prompts))
        prompts = np.where(new > 0.0, prompts, 0.0)
        fixed = self.constants
        prompt, decode = self.attention_s(new, new_context, batch, decode_context, prompts)
        total = _interpolate(self.table, new + batch) + _interpolate(self.head, batch + prompts)
        total = total + fixed.prompt_attention * prompt + fixed.attention * decode
        return np.asarray(total + fixed.step_s + fixed.sequence_s * (batch + prompts))

    def attention_s(
        self,
        new: Array,
        new_context: npt.ArrayLike,
        batch: Array,
        decode_context: npt.ArrayLike,
        prompts: Array,
    ) -> tuple[Array, Array]:
        """Seconds of attention of (prompts, decoding) beyond empty calls, factors not applied."""
        first, last, empty = np.zeros(()), np.zeros(()), self.empty_attention_s
        if np.any(new > 0.0):
            each = new / np.maximum(prompts, 1.0)
            past = np.asarray(new_context, float)
            seconds = prefill_attention_s(self, np.maximum(prompts, 1.0), each, past) - empty
            first = np.where(new > 0.0, np.maximum(seconds, 0.0), 0.0)
        if np.any(batch > 0.0):
            context = np.asarray(decode_context, float)
            seconds = decode_attention_s(self, np.maximum(batch, 1.0), context) - empty
            last = np.where(batch > 0.0, np.maximum(seconds, 0.0), 0.0)
        return np.asarray(first), np.asarray(last)

    def decode_step_s(self, batch: npt.ArrayLike, context: npt.ArrayLike) -> Array:
        """Seconds of one iteration in which `batch` requests of `context` tokens decode."""
        return self.mixed_step_s(0.0, 0.0, batch, context, 0.0)

    def prefill_s(self, tokens: npt.ArrayLike, cached: npt.ArrayLike = 0.0) -> Array:
        """Seconds to compute one prompt of `tokens`, `cached` of which are in the cache."""
        new = np.maximum(np.asarray(tokens, float) - np.asarray(cached, float), 1.0)
        return self.mixed_step_s(new, cached, 0.0, 0.0)

    def kv_bytes_per_request(self, context: float) -> float:
        """Bytes of cache a request of `context` tokens takes on each device of its group."""
        whole = self.shape.kv_bytes(context, self.kv_dtype)
        if self.shape.kv_lora_rank:
            return whole / self.pp  # the latent has one head: every device keeps all of it
        return whole * kv_heads_per_device(self.shape, self.tp) / self.shape.kv_heads / self.pp

    def max_batch(self, isl: float, osl: float) -> int:
        """Requests of one attention group whose whole contexts fit beside the weights; may be 0."""
        free = MEMORY_SHARE * self.spec.memory_bytes - self.weight_bytes
        return max(0, int(free / self.kv_bytes_per_request(isl + osl)))


def step_cost(
    spec: DeviceSpec,
    shape: ModelShape,
    dtype: str,
    tp: int = 1,
    pp: int = 1,
    *,
    dp: int = 1,
    kv_dtype: str | None = None,
    chosen: StepConstants | None = None,
) -> StepCost:
    """Price one model on one group of devices; the result is kept, so asking again is cheap.

    Args:
        dtype: format of the weights (`bf16`, `fp8`, `fp4`, `int4`, ...).
        dp: attention groups that share the experts of a mixture; ignored for dense models.
        kv_dtype: format of the cache; 16 bits for 16-bit weights, else 8.

    Raises:
        ConfigError: an unknown format or a group below 1.
    """
    for name, size in (("tp", tp), ("pp", pp), ("dp", dp)):
        if int(size) != size or size < 1:
            raise ConfigError(f"{name} = {size!r} is not a whole number of 1 or more")
    form = weight_format(dtype)
    cache_form = weight_format(kv_dtype) if kv_dtype else _cache_format(form)
    values = chosen or fitted_constants(spec.generation)
    key = (_key(spec), shape, form, cache_form, tp, pp, dp, values)
    found = _KEPT.get(key)
    if found is None:
        if len(_KEPT) >= 4096:
            _KEPT.clear()
        found = _build(spec, shape, form, cache_form, int(tp), int(pp), int(dp), values)
        _KEPT[key] = found
    return found


_KEPT: dict[Any, StepCost] = {}


def _key(spec: DeviceSpec) -> tuple[Any, ...]:
    """What of a device row the price depends on, hashable."""
    rates = (spec.memory_bytes, spec.memory_bytes_per_s, spec.link_bytes_per_s)
    rest = (spec.host_bytes_per_s, spec.units, spec.clock_hz, spec.cache_bytes, spec.kind)
    names = (spec.type, spec.vendor, spec.generation)
    return (*names, *rates, *rest, *spec.flops.items(), *spec.efficiency.items())


def _cache_format(form: str) -> str:
    return form if form in ("bf16", "fp16", "fp32", "w4a16", "w8a16") else "fp8"


def _build(
    spec: DeviceSpec,
    shape: ModelShape,
    form: str,
    cache_form: str,
    tp: int,
    pp: int,
    dp: int,
    chosen: StepConstants,
) -> StepCost:
    dp = dp if shape.experts else 1
    parts = token_parts(spec, shape, form, tp, pp, dp)
    table = sum(_factor(chosen, name) * seconds for name, seconds in parts.items())
    head = chosen.gemm * head_s(spec, shape, form, tp)
    weights = resident_bytes(shape, form, tp, pp, dp)
    empty = shape.softmax_layers * _empty_attention_s(spec, form)
    return StepCost(
        spec, shape, form, cache_form, tp, pp, dp, weights, empty, chosen, np.asarray(table), head
    )


def resident_bytes(shape: ModelShape, form: str, tp: int, pp: int, dp: int) -> float:
    """Bytes of weights each device keeps: experts are shared by `tp` x `dp`, the rest by `tp`."""
    whole = shape.weight_bytes(form)
    experts = shape.moe_layers * shape.experts * shape.expert_params
    experts_bytes = experts * FORMATS[form].weight_bytes
    return (experts_bytes / (tp * dp) + (whole - experts_bytes) / tp) / pp


def token_parts(
    spec: DeviceSpec, shape: ModelShape, form: str, tp: int, pp: int, dp: int
) -> dict[str, Array]:
    """Seconds at `GRID` tokens of every part of a pass but attention and head, by constant."""
    work = layer_work(shape, tp, dp)
    tokens = np.maximum(GRID, 1.0)
    empty = empty_gemm_s(spec, form)
    dense = gemm_s(spec, form, tokens[:, None], work.n, work.k) @ work.count
    calls = work.count.sum() + 2.0 * shape.moe_layers
    moved = tokens * work.touched / spec.memory_bytes_per_s
    alone = _collectives(spec, work, pp, np.zeros(1))
    attention = shape.softmax_layers * _empty_attention_s(spec, form)
    busy = busy_share(spec, form, tokens)
    working = dense - work.count.sum() * empty + moved
    parts = {
        "gemm": (1.0 - busy) * working,
        "gemm_busy": busy * working,
        "collective": _collectives(spec, work, pp, tokens) - alone,
        "launch": np.full(tokens.shape, calls * empty + attention),
        "latency": np.full(tokens.shape, alone[0]),
        "layer_s": np.full(tokens.shape, float(shape.layers)),
        "moe_layer_s": np.full(tokens.shape, float(shape.moe_layers)),
    }
    if shape.experts:
        rows, n, k = work.expert_products(tokens)
        grouped = gemm_s(spec, form, rows, n, k).sum(axis=-1)
        working = shape.moe_layers * (grouped - 2.0 * empty)
        busy = busy_share(spec, form, rows[..., 0])
        parts[expert_part(form)] = (1.0 - busy) * working
        parts["expert_busy"] = busy * working
    return parts


def busy_share(spec: DeviceSpec, form: str, rows: Array) -> Array:
    """Share of a product that counts as computing: half of it where both roofs meet."""
    rate = peak(spec, form) or 1.0
    ridge = rate * FORMATS[form].weight_bytes / (2.0 * spec.memory_bytes_per_s)
    return rows / (rows + ridge)


def expert_part(form: str) -> str:
    """Name of the constant that the experts' products of a format go with."""
    if FORMATS[form].rate == "fp4":
        return "expert_fp4"
    return "expert_mixed" if FORMATS[form].weight_bytes < 1.0 else "expert"


def _factor(chosen: StepConstants, name: str) -> float:
    """Factor of a part: kinds of expert products carry the common one as well."""
    common = chosen.expert if name in ("expert_fp4", "expert_mixed") else 1.0
    return common * float(getattr(chosen, name))


def empty_gemm_s(spec: DeviceSpec, form: str) -> float:
    """Seconds of a product too small to compute or move anything."""
    return float(gemm_s(spec, form, 1.0, 64.0, 64.0))


def _empty_attention_s(spec: DeviceSpec, form: str) -> float:
    rate = form if form in ("fp32", "fp16") else "bf16"
    return float(decode_s(spec, rate, rate, 1.0, 1.0, 1.0, 1.0, 128.0))


def _collectives(spec: DeviceSpec, work: LayerWork, pp: int, tokens: Array) -> Array:
    """Two all-reduces a layer; with attention groups, tokens travel to experts and back."""
    shape, state = work.shape, 2.0 * tokens * work.shape.hidden
    reduce_s = collective_s(spec, "all_reduce", state, work.tp)
    mixture = shape.moe_layers if work.dp > 1 else 0
    total = (2 * shape.layers - mixture) * reduce_s
    if mixture:
        copies = min(shape.experts_per_token, work.group)
        # Out in 8 bits, back in 16.
        there = collective_s(spec, "all_to_all", 0.5 * copies * state, work.group)
        back = collective_s(spec, "all_to_all", copies * state, work.group)
        total = total + mixture * (there + back)
    if pp > 1:
        total = total + (pp - 1) * collective_s(spec, "send_recv", state, 2)
    return np.asarray(total)


def head_s(spec: DeviceSpec, shape: ModelShape, form: str, tp: int) -> Array:
    """Seconds of the output head at `GRID` rows; it stays in 16 bits in every public checkpoint."""
    width = form if form in ("fp32", "fp16") else "bf16"
    seconds = gemm_s(spec, width, np.maximum(GRID, 1.0), shape.vocab / tp, shape.hidden)
    return np.where(GRID > 0.0, seconds, 0.0)


def _interpolate(table: Array, tokens: Array) -> Array:
    """Seconds at any number of tokens; beyond the grid they grow in proportion."""
    last = GRID[-1]
    inside = np.interp(tokens, GRID, table)
    return np.asarray(inside * np.maximum(tokens / last, 1.0))


def prefill_attention_s(cost: StepCost, prompts: Array, tokens: Array, past: Array) -> Array:
    """Seconds of attention of all layers for `prompts` prompts of `tokens` new tokens each."""
    shape, tp = cost.shape, cost.tp
    heads, kv_heads, width = shape.heads / tp, kv_heads_per_device(shape, tp), shape.head_dim
    if shape.kv_lora_rank:  # computed with whole keys and values: (qk + v) / 2 wide
        qk = shape.qk_nope_head_dim + shape.qk_rope_head_dim
        heads, kv_heads = heads * (qk + shape.v_head_dim) / 256.0, heads
        width = 128
    total = np.zeros(())
    for count, span in _spans(shape):
        # A window's rows see `span` tokens each; as a product: that many cached, none causal.
        seen = past if span is None else np.minimum(past, np.maximum(span - 0.5 * tokens, 0.0))
        length = tokens if span is None else np.minimum(tokens, 2.0 * span)
        calls = prompts if span is None else prompts * tokens / length
        form = "bf16" if cost.dtype not in ("fp32", "fp16") else cost.dtype
        each = prefill_s(
            cost.spec, form, cost.kv_dtype, calls, length, seen, heads, kv_heads, width
        )
        total = total + count * each
    return np.asarray(total + _linear_state_s(cost, prompts * tokens / 64.0))


def decode_attention_s(cost: StepCost, batch: Array, context: Array) -> Array:
    """Seconds of attention of all layers for one new token of each of `batch` requests."""
    shape, tp = cost.shape, cost.tp
    heads, kv_heads, width = shape.heads / tp, kv_heads_per_device(shape, tp), shape.head_dim
    if shape.kv_lora_rank:
        # Attention over the latent: `kv_lora + rope` wide scores, `kv_lora` wide values, one
        # cached row. Written as a 128-wide call of equal operations and bytes.
        latent = float(shape.kv_lora_rank)
        heads = heads * (2.0 * latent + shape.qk_rope_head_dim) / 256.0
        kv_heads, width = (latent + shape.qk_rope_head_dim) / 256.0, 128
    form = "bf16" if cost.dtype not in ("fp32", "fp16") else cost.dtype
    total = np.zeros(())
    for count, span in _spans(shape):
        seen = context if span is None else np.minimum(context, span)
        each = decode_s(cost.spec, form, cost.kv_dtype, batch, seen, heads, kv_heads, width)
        total = total + count * each
    return np.asarray(total + _linear_state_s(cost, batch))


def _spans(shape: ModelShape) -> list[tuple[int, float | None]]:
    """Layers by how far back they look; None for the whole context."""
    full = shape.softmax_layers - shape.window_layers
    far = float(shape.sparse_top_k) or None
    rows = [(full, far), (shape.window_layers, float(shape.window))]
    return [(count, span) for count, span in rows if count > 0]


def _linear_state_s(cost: StepCost, updates: Array) -> Array:
    """Seconds linear attention layers take to read and write their states `updates` times."""
    shape = cost.shape
    state = 8.0 * shape.linear_value_heads * shape.linear_head_dim**2 / cost.tp
    moved = shape.linear_layers * state * updates
    return np.asarray(moved / cost.spec.memory_bytes_per_s)


def step_s(
    spec: DeviceSpec,
    shape: ModelShape,
    dtype: str,
    tp: int,
    *,
    new_tokens: npt.ArrayLike = 0.0,
    new_context: npt.ArrayLike = 0.0,
    decode_batch: npt.ArrayLike = 0.0,
    decode_context: npt.ArrayLike = 0.0,
    prompts: npt.ArrayLike = 1.0,
    pp: int = 1,
    dp: int = 1,
    kv_dtype: str | None = None,
) -> Array:
    """Seconds of one engine iteration; see `StepCost.mixed_step_s` for the arguments."""
    cost = step_cost(spec, shape, dtype, tp, pp, dp=dp, kv_dtype=kv_dtype)
    return cost.mixed_step_s(new_tokens, new_context, decode_batch, decode_context, prompts)
