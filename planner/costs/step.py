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

from .arithmetic import FLOATS, Arithmetic, sizes
from .constants import constants
from .dtypes import FORMATS, peak
from .layer_work import kv_heads_per_device
from .shape import ModelShape
from .step_attention import StepAttention, step_attention
from .step_parts import at_tokens, head_s, token_parts

Array = npt.NDArray[np.float64]

DTYPES = {
    "fp4": "nvfp4",
    "mxfp4": "nvfp4",
    "int4": "w4a16",
    "int4_wo": "w4a16",
    "w4a16_mxfp4": "w4a16",
    "int8_wo": "w8a16",
    "half": "fp16",
    "float16": "fp16",
    "bfloat16": "bf16",
}
"""Other names of number formats, as public tables use them."""

UNPACKED = {"nvfp4": "w4a16", "fp8": "w8a16", "fp8_block": "w8a16"}
"""How engines serve weights in a format the device has no products for: unpacked to 16 bits."""

MEMORY_SHARE = 0.9
"""Share of a device's memory an engine may fill (vLLM's gpu_memory_utilization)."""


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


def served_format(spec: DeviceSpec, dtype: str) -> str:
    """Give the format a device serves such weights in; ConfigError where it cannot at all."""
    form = weight_format(dtype)
    for name in (form, UNPACKED.get(form, form)):
        if peak(spec, name) is not None:
            return name
    raise ConfigError(
        f"The device row {spec.type!r} states no operations per second for {dtype}",
        next_step="Give its `flops` table a rate for that format or for bf16.",
    )


@dataclass(frozen=True, slots=True)
class StepCost:
    """Seconds of iterations of one model on one group of devices; build it with `step_cost`.

    Attributes:
        tp: devices that share every layer.
        pp: groups the layers are dealt over; an iteration passes all of them.
        dp: attention groups that share the experts (1 for dense models).
        weight_bytes: resident weights of one device.
        kv_dtype: format of the cache.
        attention: attention of all layers; its empty calls are in `table` already.
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
    attention: StepAttention
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
        given = (new_tokens, new_context, decode_batch, decode_context, prompts)
        ops, (new, past, batch, context, prompts) = sizes(*given)
        prompts = ops.choose(new > 0.0, prompts, 0.0)
        fixed = self.constants
        first, last = self.attention_s(ops, new, past, batch, context, prompts)
        total: Any = at_tokens(ops, self.table, new + batch)
        total = total + at_tokens(ops, self.head, batch + prompts)
        total = total + fixed.prompt_attention * first + fixed.attention * last
        return np.asarray(total + fixed.step_s + fixed.sequence_s * (batch + prompts))

    def attention_s(
        self, ops: Arithmetic, new: Any, past: Any, batch: Any, context: Any, prompts: Any
    ) -> tuple[Any, Any]:
        """Seconds of attention of (prompts, decoding) beyond empty calls, factors not applied."""
        first: Any = 0.0
        last: Any = 0.0
        if new > 0.0 if ops is FLOATS else np.any(new > 0.0):
            some = ops.larger(prompts, 1.0)
            seconds = self.attention.prompt_s(ops, some, ops.larger(new / some, 1.0), past)
            first = ops.choose(new > 0.0, seconds, 0.0)
        if batch > 0.0 if ops is FLOATS else np.any(batch > 0.0):
            seconds = self.attention.decode_s(ops, ops.larger(batch, 1.0), context)
            last = ops.choose(batch > 0.0, seconds, 0.0)
        return first, last

    def decode_step_s(self, batch: npt.ArrayLike, context: npt.ArrayLike) -> Array:
        """Seconds of one iteration in which `batch` requests of `context` tokens decode."""
        return self.mixed_step_s(0.0, 0.0, batch, context, 0.0)

    def prefill_s(self, tokens: npt.ArrayLike, cached: npt.ArrayLike = 0.0) -> Array:
        """Seconds to compute one prompt of `tokens`, `cached` of which are in the cache."""
        ops, (whole, past) = sizes(tokens, cached)
        new = ops.larger(whole - past, 1.0)
        return self.mixed_step_s(new, past, 0.0, 0.0)

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
    attention = step_attention(spec, shape, form, cache_form, tp)
    parts = token_parts(spec, shape, form, tp, pp, dp, attention.empty_s)
    table = sum(_factor(chosen, name) * seconds for name, seconds in parts.items())
    head = chosen.gemm * head_s(spec, shape, form, tp)
    weights = resident_bytes(shape, form, tp, pp, dp)
    return StepCost(
        spec,
        shape,
        form,
        cache_form,
        tp,
        pp,
        dp,
        weights,
        attention,
        chosen,
        np.asarray(table),
        head,
    )


def _factor(chosen: StepConstants, name: str) -> float:
    """Factor of a part: kinds of expert products carry the common one as well."""
    common = chosen.expert if name in ("expert_fp4", "expert_mixed") else 1.0
    return common * float(getattr(chosen, name))


def resident_bytes(shape: ModelShape, form: str, tp: int, pp: int, dp: int) -> float:
    """Bytes of weights each device keeps: experts are shared by `tp` x `dp`, the rest by `tp`."""
    whole = shape.weight_bytes(form)
    experts = shape.moe_layers * shape.experts * shape.expert_params
    experts_bytes = experts * FORMATS[form].weight_bytes
    return (experts_bytes / (tp * dp) + (whole - experts_bytes) / tp) / pp


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
