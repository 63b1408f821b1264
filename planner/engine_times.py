"""Seconds, memory and power of one model on one group of devices, whatever they rest on.

The cost model of `planner.costs` prices catalogue devices; a machine that was probed keeps the
roofline of what was measured on it. Both answer the same questions here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.model import ModelSpec

from .cost_model import Roofline, roofline, serving_dtype
from .costs.shape import ModelShape

MEMORY_SHARE = 0.9
"""Part of a device's memory that weights and KV blocks may take; the rest is for activations."""

MAX_BATCH = {"cpu": 32, "gpu": 256}
"""Sequences one engine decodes in a step at most, by kind of device (256: vLLM's default)."""

MAX_STEP_TOKENS = {"cpu": 512, "gpu": 2048}
"""Tokens one engine step computes at most (2048: vLLM's default for chunked prefill)."""

POWER_SHARE = {"prefill": 0.85, "decode": 0.6, "host": 0.5}
"""Assumed part of the design power a busy device draws. Prompts run close to it, tokens well
below (Patel et al., Splitwise, ISCA 2024, section III); the figures are assumptions, no fit."""

POWER_SPREAD = (0.7, 1.2)
"""90 % interval of actual over assumed power."""

SPREADS = {
    "probed": (0.6, 1.8),
    "fitted": (0.7, 1.45),
    "spec": (0.45, 2.5),
    "declared": (0.3, 3.0),
}
"""90 % interval of actual over modelled seconds by source, where a model gives none of its own. A
pure roofline on specs misses kernels by 53 % in the median; rates measured on the device itself
leave the engine's part."""

Seconds = Callable[..., float]


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """One model on one replica of `devices` devices (tensor times pipeline parallel).

    Attributes:
        prefill_s: seconds of a prompt: (prompt tokens, cached tokens).
        step_s: seconds of a decode step: (context tokens, sequences).
        mixed_s: seconds of a step with both: (new tokens, cached before them, sequences,
            their context).
        weight_bytes, kv_bytes_per_token: of the whole replica.
        low, high: 90 % interval of actual over these seconds.
    """

    source: str
    dtype: str
    tp: int
    pp: int
    prefill_s: Seconds
    step_s: Seconds
    mixed_s: Seconds
    weight_bytes: float
    kv_bytes_per_token: float
    memory_bytes: float
    watts: float
    max_batch: int
    max_step_tokens: int
    low: float = 0.45
    high: float = 2.5

    @property
    def devices(self) -> int:
        """Devices one replica takes."""
        return self.tp * self.pp

    @property
    def kv_tokens(self) -> float:
        """Tokens of KV cache that fit beside the weights; not positive where these do not."""
        left = MEMORY_SHARE * self.memory_bytes - self.weight_bytes
        return left / max(self.kv_bytes_per_token, 1e-9)

    def decode_s(self, prompt: float, output: float, batch: float) -> float:
        """Seconds from the first output token to the last; the first comes from the prefill."""
        steps = max(output - 1.0, 0.0)
        return steps * float(self.step_s(prompt + 0.5 * output, batch)) if steps else 0.0

    def batch_at(self, tokens_per_s: float, context: float) -> float:
        """Sequences that decode side by side where so many tokens are wanted a second.

        By Little's law it is the rate times the seconds of a step, which grow with the batch;
        infinite where even the largest batch is too slow.
        """
        full = float(self.max_batch)
        if tokens_per_s * float(self.step_s(context, full)) > full:
            return math.inf
        batch = 1.0
        # Invariant: the batch grows towards the smallest solution of batch = rate x step(batch).
        for _ in range(30):
            wanted = max(1.0, tokens_per_s * float(self.step_s(context, batch)))
            if wanted <= batch * 1.005:
                break
            batch = wanted
        return batch


def probed_times(spec: DeviceSpec, model: ModelSpec | ModelShape) -> EngineTimes:
    """Build the times of one device from its own roofline; PlanError if its row states no rates."""
    line = roofline(spec, model_spec(model))
    source = "probed" if spec.source.startswith("probed") else "spec"
    return EngineTimes(
        source=source,
        dtype=line.dtype,
        tp=1,
        pp=1,
        prefill_s=lambda prompt, cached: float(line.prefill_s(prompt, cached)),
        step_s=lambda context, batch: float(line.step_at(context, batch)),
        mixed_s=lambda *shape: _mixed(line, *shape),
        weight_bytes=line.resident_bytes,
        kv_bytes_per_token=line.kv_bytes_per_token,
        memory_bytes=float(spec.memory_bytes),
        watts=spec.tdp_w,
        max_batch=MAX_BATCH.get(spec.kind, MAX_BATCH["gpu"]),
        max_step_tokens=MAX_STEP_TOKENS.get(spec.kind, MAX_STEP_TOKENS["gpu"]),
        low=SPREADS[source][0],
        high=SPREADS[source][1],
    )


def _mixed(line: Roofline, new: float, past: float, batch: float, context: float) -> float:
    return float(line.mixed_s(new, past, batch, context))


def model_spec(model: ModelSpec | ModelShape) -> ModelSpec:
    """Give a shape as a row without a file; a mixture counts the weights a token visits."""
    if isinstance(model, ModelSpec):
        return model
    return ModelSpec(
        name=model.name,
        sources=(),
        sha256="",
        file_bytes=0,
        licence="",
        family="",
        num_layers=model.layers,
        hidden_size=model.hidden,
        num_heads=model.heads,
        num_kv_heads=model.kv_heads,
        head_dim=model.head_dim,
        ffn_size=model.ffn,
        vocab_size=model.vocab,
        context=1 << 20,
        tied_embedding=model.tied,
        params=model.params,
    )


def fitted_times(
    spec: DeviceSpec, shape: ModelShape, tp: int = 1, pp: int = 1, dtype: str | None = None
) -> EngineTimes:
    """Build the times of `tp` x `pp` devices of a type from the fitted cost model.

    Raises:
        PlanError: the row states no rate that a model could be served at.
        ConfigError: an unknown format.
    """
    from .costs.step import step_cost

    form = dtype or serving_dtype(spec)
    cost = step_cost(spec, shape, form, tp, pp)
    # Bytes per device, times the devices: what several keep a copy of counts as often.
    devices = tp * pp
    return EngineTimes(
        source="fitted",
        dtype=form,
        tp=tp,
        pp=pp,
        prefill_s=lambda prompt, cached: float(cost.prefill_s(prompt, cached)),
        step_s=lambda context, batch: float(cost.decode_step_s(batch, context)),
        mixed_s=lambda new, past, batch, context: float(
            cost.mixed_step_s(new, past, batch, context)
        ),
        weight_bytes=cost.weight_bytes * devices,
        kv_bytes_per_token=cost.kv_bytes_per_request(KV_CONTEXT) / KV_CONTEXT * devices,
        memory_bytes=float(spec.memory_bytes) * devices,
        watts=spec.tdp_w * devices,
        max_batch=MAX_BATCH["gpu"],
        max_step_tokens=MAX_STEP_TOKENS["gpu"],
        low=SPREADS["fitted"][0],
        high=SPREADS["fitted"][1],
    )


KV_CONTEXT = 4096.0
"""Context at which the KV bytes of a token are taken (windows and linear states are not linear)."""


def engine_times(
    spec: DeviceSpec,
    model: ModelSpec | ModelShape,
    tp: int = 1,
    pp: int = 1,
    dtype: str | None = None,
) -> EngineTimes:
    """Build the times of a model on a group of devices from the best that is known of the row."""
    if is_fitted(spec):
        shape = model if isinstance(model, ModelShape) else ModelShape.from_model_spec(model)
        return fitted_times(spec, shape, tp, pp, dtype)
    return probed_times(spec, model)


def is_fitted(spec: DeviceSpec) -> bool:
    """Tell whether the fitted cost model prices a row: a known maker's accelerator, not probed."""
    return spec.kind == "gpu" and bool(spec.vendor) and not spec.source.startswith("probed")
