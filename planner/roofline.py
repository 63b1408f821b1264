"""Seconds of prefill and decode by a roofline, for device rows that no fitted model prices.

CPUs, probed machines and types of unknown make are priced from their row alone, and measured
ratios (`calibration.py`) narrow the error afterwards; accelerators of known makers are priced by
`costs/step.py`. All methods take floats or numpy arrays of one shape and broadcast, so that a
search prices thousands of shapes in one call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gangline.ir.errors import PlanError
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.model import ModelSpec

from .model_work import ModelWork, Number, model_work

BYTES_PER_ELEMENT = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5}

SERVING_DTYPES = {"cpu": ("int8", "bf16", "fp32"), "gpu": ("bf16", "fp16", "fp32")}
"""Weight formats the engine serves in, best first, by kind of device."""

DEFAULT_MFU, DEFAULT_MBU = 0.5, 0.6
"""Used for rows that state no efficiency: between the op-level fit of 0.76 and 0.78 on data
center GPUs and what eager engines reach end to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline(ModelWork):
    """One model on one device, as coefficients; build it with `roofline`.

    Times follow max(operations / rate, bytes / bandwidth) + fixed overhead per engine step.
    """

    flop_per_s: float
    byte_per_s: float
    step_s: float
    resident_bytes: float
    dtype: str

    def prefill_s(self, prompt_tokens: Number, cached_tokens: Number) -> Number:
        """Seconds to compute a prompt of which `cached_tokens` are in the KV cache already.

        At least one token is always computed: the engine needs its logits.
        """
        flop, moved, steps = self.prefill_work(prompt_tokens, cached_tokens)
        busy = np.maximum(flop / self.flop_per_s, moved / self.byte_per_s)
        total: Number = busy + steps * self.step_s
        return total

    def step_at(self, context_tokens: Number, batch: Number) -> Number:
        """Seconds of one decode step for `batch` sequences that each have that much context."""
        flop, moved = self.step_work(context_tokens, batch)
        busy = np.maximum(flop / self.flop_per_s, moved / self.byte_per_s)
        total: Number = busy + self.step_s
        return total

    def decode_s(self, prompt_tokens: Number, output_tokens: Number, batch: Number) -> Number:
        """Seconds from the first output token to the last, in steps shared by `batch`.

        The first token comes from the prefill, so `output_tokens - 1` steps remain.
        """
        steps = np.maximum(output_tokens - 1.0, 0.0)
        total: Number = steps * self.step_at(prompt_tokens + 0.5 * output_tokens, batch)
        return total

    def mixed_s(self, new: Number, past: Number, batch: Number, context_tokens: Number) -> Number:
        """Seconds of one step that computes `new` prompt tokens behind `past` cached ones, and a
        token each of `batch` sequences that have `context_tokens` on average."""
        prompts = new * (self.flop_per_token - self.head_flop)
        flop = prompts + batch * self.flop_per_token + self.head_flop * (new > 0)
        flop += self.attention_flop * (new * (past + 0.5 * new) + batch * context_tokens)
        moved = self.weight_bytes + self.kv_bytes_per_token * (past + new + batch * context_tokens)
        busy = np.maximum(flop / self.flop_per_s, moved / self.byte_per_s)
        total: Number = busy + self.step_s
        return total


def serving_dtype(spec: DeviceSpec) -> str:
    """Choose the weight format a device serves in; PlanError when its row states no rate."""
    wanted = SERVING_DTYPES.get(spec.kind, SERVING_DTYPES["gpu"])
    for dtype in (*wanted, *spec.flops):
        if spec.flops.get(dtype, 0.0) > 0.0 and dtype in BYTES_PER_ELEMENT:
            return dtype
    raise PlanError(
        f"The device row {spec.type!r} states no operations per second",
        next_step="Give it a `flops` table, for example flops = { bf16 = 1e14 }.",
    )


def roofline(spec: DeviceSpec, model: ModelSpec, dtype: str | None = None) -> Roofline:
    """Reduce a device row and a model row to coefficients; PlanError if the row lacks rates."""
    chosen = dtype or serving_dtype(spec)
    if spec.memory_bytes_per_s <= 0.0 or spec.flops.get(chosen, 0.0) <= 0.0:
        raise PlanError(
            f"The device row {spec.type!r} states no memory bandwidth or no {chosen} rate",
            next_step="Give the row `memory_bytes_per_s` and `flops`.",
        )
    constants = spec.efficiency
    width = BYTES_PER_ELEMENT[chosen]
    work = model_work(model, width)
    overhead = constants.get("step_s", 0.0) + model.num_layers * constants.get("layer_s", 0.0)
    return Roofline(
        flop_per_s=spec.flops[chosen] * constants.get("mfu", DEFAULT_MFU),
        byte_per_s=spec.memory_bytes_per_s * constants.get("mbu", DEFAULT_MBU),
        step_s=overhead,
        flop_per_token=work.flop_per_token,
        head_flop=work.head_flop,
        attention_flop=work.attention_flop,
        weight_bytes=work.weight_bytes,
        kv_bytes_per_token=work.kv_bytes_per_token,
        resident_bytes=model.params * width,
        dtype=chosen,
    )
