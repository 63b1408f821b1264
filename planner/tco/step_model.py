"""What the search asks of a cost model, and a plain roofline that answers with stated efficiencies.

`StepCost` (gangline.planner.costs.step) is the fitted one; `StatedRoofline` has two constants and
serves where a study states its efficiencies, as the reproduction of arXiv 2507.19635 does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.costs.dtypes import FORMATS, peak
from gangline.planner.costs.shape import ModelShape
from gangline.planner.costs.step import step_cost

Array = npt.NDArray[np.float64]


class StepModel(Protocol):
    """Seconds of engine iterations of one model on one replica (see `StepCost`)."""

    def mixed_step_s(
        self,
        new_tokens: npt.ArrayLike,
        new_context: npt.ArrayLike,
        decode_batch: npt.ArrayLike,
        decode_context: npt.ArrayLike,
        prompts: npt.ArrayLike = 1.0,
    ) -> Array:
        """Seconds of one iteration with prompt tokens and decoding requests."""

    def max_batch(self, isl: float, osl: float) -> int:
        """Requests whose whole contexts fit beside the weights; 0 if the weights do not fit."""


StepModels = Callable[[DeviceSpec, ModelShape, str, int, int], StepModel | None]
"""(device, shape, dtype, tp, pp) -> step model, or None where the device cannot run it."""


def fitted(spec: DeviceSpec, shape: ModelShape, dtype: str, tp: int, pp: int) -> StepModel | None:
    """Give the fitted step cost; None where the device lacks the format."""
    if peak(spec, dtype) is None or spec.memory_bytes_per_s <= 0.0:
        return None
    if shape.heads % tp or (tp > 1 and shape.kv_heads % tp and tp % shape.kv_heads):
        return None
    return step_cost(spec, shape, dtype, tp, pp)


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Fractions of peak that a stated roofline reaches.

    Attributes:
        compute, bandwidth: of dense peak operations and of memory bandwidth.
        link: of the ring bandwidth between the devices of a replica.
        memory: share of memory that weights and KV cache may fill.
        default_link: bytes per second per direction where a row states no link.
    """

    compute: float = 0.5
    bandwidth: float = 0.8
    link: float = 0.8
    memory: float = 0.9
    default_link: float = 3.2e10


@dataclass(frozen=True, slots=True)
class StatedRoofline:
    """max(operations / rate, bytes / bandwidth) + ring all-reduces; no overhead of its own.

    The output head counts with every decoded token and once per prompt; KV is kept in 16 bits
    or in the weights' format where that is 8 bits.
    """

    spec: DeviceSpec
    shape: ModelShape
    dtype: str
    tp: int
    pp: int
    flop_per_s: float
    efficiency: Efficiency

    @property
    def kv_bytes_per_token(self) -> float:
        """Bytes of KV cache of one token, over all devices of the replica."""
        return self.shape.kv_bytes_per_token("fp8" if self.dtype == "fp8" else "bf16")

    @property
    def weight_bytes(self) -> float:
        """Bytes of the weights, over all devices of the replica."""
        return self.shape.params * FORMATS[self.dtype].weight_bytes

    def mixed_step_s(
        self,
        new_tokens: npt.ArrayLike,
        new_context: npt.ArrayLike,
        decode_batch: npt.ArrayLike,
        decode_context: npt.ArrayLike,
        prompts: npt.ArrayLike = 1.0,
    ) -> Array:
        """Seconds of one iteration; arguments as in `StepCost.mixed_step_s`."""
        new, past, batch, context, prompts = (
            np.asarray(value, dtype=float)
            for value in (new_tokens, new_context, decode_batch, decode_context, prompts)
        )
        shape, devices = self.shape, self.tp * self.pp
        head = shape.embedding_params
        per_token = 4.0 * shape.layers * shape.heads * shape.head_dim
        each = new / np.maximum(prompts, 1.0)
        flop = 2.0 * (shape.active_params - head) * (new + batch) + 2.0 * head * (batch + prompts)
        flop = flop + per_token * (new * (past + 0.5 * each) + batch * context)
        kv = self.kv_bytes_per_token * (prompts * past + new + batch * context)
        moved = self.weight_bytes + kv
        busy = np.maximum(
            flop / (devices * self.efficiency.compute * self.flop_per_s),
            moved / (devices * self.efficiency.bandwidth * self.spec.memory_bytes_per_s),
        )
        # Stages of a pipeline each do their share, one after the other.
        return np.asarray(busy * self.pp + self._collective_s(new + batch))

    def _collective_s(self, tokens: Array) -> Array:
        """Two ring all-reduces a layer: 2 (n - 1) / n of the activations cross each link."""
        if self.tp == 1:
            return np.zeros_like(tokens)
        link = self.spec.link_bytes_per_s or self.efficiency.default_link
        nbytes = 2.0 * tokens * self.shape.hidden
        ring = 2.0 * (self.tp - 1.0) / self.tp
        return np.asarray(2.0 * self.shape.layers * ring * nbytes / (self.efficiency.link * link))

    def max_batch(self, isl: float, osl: float) -> int:
        """Requests whose whole contexts fit beside the weights."""
        memory = self.efficiency.memory * self.spec.memory_bytes * self.tp * self.pp
        free = memory - self.weight_bytes
        return max(0, math.floor(free / (self.kv_bytes_per_token * (isl + osl))))


def stated(efficiency: Efficiency = Efficiency()) -> StepModels:
    """Give step models with these efficiencies; None where a row lacks the format."""

    def build(
        spec: DeviceSpec, shape: ModelShape, dtype: str, tp: int, pp: int
    ) -> StepModel | None:
        rate = peak(spec, dtype)
        if rate is None:
            return None
        return StatedRoofline(spec, shape, dtype, tp, pp, rate, efficiency)

    return build
