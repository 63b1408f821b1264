"""Seconds, memory and power of one model on one group of devices, whatever they rest on.

The cost model of `planner.costs` prices catalogue devices; a machine that was probed keeps the
roofline of what was measured on it. Both answer the same questions here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.model import ModelSpec

from .costs.constants import constants
from .costs.dtypes import EQUAL_RATES, FORMATS
from .costs.shape import ModelShape
from .roofline import Roofline, roofline, serving_dtype

MEMORY_SHARE = 0.9
"""Part of a device's memory that weights and KV blocks may take; the rest is for activations."""

OPS = ("prefill", "decode")

MAX_BATCH = {"cpu": 32, "gpu": 256}
"""Sequences one engine decodes in a step at most, by kind of device (256: vLLM's default)."""

MAX_STEP_TOKENS = {"cpu": 512, "gpu": 2048}
"""Tokens one engine step computes at most (2048: vLLM's default for chunked prefill)."""

POWER_SPREAD = (0.75, 1.3)
"""90 % interval of actual over modelled power (see `costs/energy.py`)."""

SPREADS = {
    "probed": (0.6, 1.8),
    "spec": (0.45, 2.5),
    "declared": (0.3, 3.0),
}
"""90 % interval of actual over modelled seconds by source, where a model gives none of its own. A
pure roofline on specs misses kernels by 53 % in the median; rates measured on the device itself
leave the engine's part."""

Seconds = Callable[..., float]

Ratios = tuple[float, float]
"""90 % interval of actual over modelled seconds."""


@dataclass(frozen=True, slots=True)
class EngineTimes:
    """One model on one replica of `devices` devices (tensor times pipeline parallel).

    Attributes:
        prefill_s: seconds of a prompt: (prompt tokens, cached tokens).
        step_s: seconds of a decode step: (context tokens, sequences).
        mixed_s: seconds of a step with both: (new tokens, cached before them, sequences,
            their context).
        power_w: watts of all its devices in a step: (tokens computed, cached tokens read,
            seconds of the step).
        weight_bytes, kv_bytes_per_token: of the whole replica.
        intervals: by op (`prefill`, `decode`).
    """

    source: str
    dtype: str
    tp: int
    pp: int
    prefill_s: Seconds
    step_s: Seconds
    mixed_s: Seconds
    power_w: Seconds
    weight_bytes: float
    kv_bytes_per_token: float
    memory_bytes: float
    max_batch: int
    max_step_tokens: int
    intervals: Mapping[str, Ratios]

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

    def most_sequences(self, tokens: float) -> float:
        """Sequences of so many tokens that one replica decodes at once: by memory and by limit."""
        return max(1.0, min(float(self.max_batch), self.kv_tokens // max(tokens, 1.0)))

    def batch_at(self, tokens_per_s: float, context: float, most: float | None = None) -> float:
        """Sequences that decode side by side where so many tokens are wanted a second.

        By Little's law it is the rate times the seconds of a step, which grow with the batch;
        infinite where even the largest batch (`most`) is too slow.
        """
        full = float(self.max_batch) if most is None else most
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
    row = model_spec(model)
    line = roofline(spec, row)
    source = "probed" if spec.source.startswith("probed") else "spec"
    return EngineTimes(
        source=source,
        dtype=line.dtype,
        tp=1,
        pp=1,
        prefill_s=lambda prompt, cached: float(line.prefill_s(prompt, cached)),
        step_s=lambda context, batch: float(line.step_at(context, batch)),
        mixed_s=lambda *shape: _mixed(line, *shape),
        power_w=_power(
            spec, line.dtype, 1, line.flop_per_token, line.weight_bytes, line.kv_bytes_per_token
        ),
        weight_bytes=line.resident_bytes,
        kv_bytes_per_token=line.kv_bytes_per_token,
        memory_bytes=float(spec.memory_bytes),
        max_batch=MAX_BATCH.get(spec.kind, MAX_BATCH["gpu"]),
        max_step_tokens=MAX_STEP_TOKENS.get(spec.kind, MAX_STEP_TOKENS["gpu"]),
        intervals=dict.fromkeys(OPS, SPREADS[source]),
    )


def _power(
    spec: DeviceSpec,
    dtype: str,
    devices: int,
    flop_per_token: float,
    weight_bytes: float,
    kv_bytes_per_token: float,
) -> Seconds:
    """Give the watts of a step from how busy it keeps arithmetic and memory."""
    rate = devices * max(spec.flops.get(dtype, 0.0), 1.0)
    bandwidth = devices * max(spec.memory_bytes_per_s, 1.0)

    def power_w(tokens: float, cached: float, seconds: float) -> float:
        from .costs.energy import watts

        if not spec.tdp_w or seconds <= 0.0:
            return 0.0
        compute = min(flop_per_token * tokens / seconds / rate, 1.0)
        moved = (weight_bytes + kv_bytes_per_token * cached) / seconds / bandwidth
        return devices * float(watts(spec, compute, min(moved, 1.0)))

    return power_w


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
    known = spec.generation in constants("deployment")["generations"]
    kv_bytes = cost.kv_bytes_per_request(KV_CONTEXT) / KV_CONTEXT * devices
    return EngineTimes(
        source="fitted" if known else "spec",
        dtype=form,
        tp=tp,
        pp=pp,
        prefill_s=lambda prompt, cached: float(cost.prefill_s(prompt, cached)),
        step_s=lambda context, batch: float(cost.decode_step_s(batch, context)),
        mixed_s=lambda new, past, batch, context: float(
            cost.mixed_step_s(new, past, batch, context)
        ),
        power_w=_power(
            spec,
            rate_name(spec, form),
            devices,
            2.0 * shape.active_params,
            cost.weight_bytes * devices,
            kv_bytes,
        ),
        weight_bytes=cost.weight_bytes * devices,
        kv_bytes_per_token=kv_bytes,
        memory_bytes=float(spec.memory_bytes) * devices,
        max_batch=MAX_BATCH["gpu"],
        max_step_tokens=MAX_STEP_TOKENS["gpu"],
        intervals=_intervals(shape, known),
    )


def _intervals(shape: ModelShape, known: bool) -> dict[str, Ratios]:
    """Intervals of fitted times: those of whole deployments with devices left out of the fit.

    A prompt's is that of the time to the first token, a decode's that of the time per token.
    """
    found = constants("deployment")["intervals"][f"{shape.family}_agg"]
    which = "known" if known else "unknown"
    return {
        op: (float(found[name][which][0]), float(found[name][which][1]))
        for op, name in (("prefill", "ttft"), ("decode", "tpot"))
    }


def rate_name(spec: DeviceSpec, dtype: str) -> str:
    """Name the peak of a device row that products of a format run at."""
    rate = FORMATS[dtype].rate
    return rate if rate in spec.flops else EQUAL_RATES.get(rate, rate)


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
