"""Linear layers: one interface, several precisions, one kernel per device and precision."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

PRECISIONS = ("fp32", "bf16", "int8")
INT8_MAX = 127
UNSIGNED_ZERO = 128
"""Activations are stored as unsigned bytes around this zero, as AMX and VNNI want them."""


class Linear(Protocol):
    """y = x W^T + b, for x of shape [rows, in] in float32; y has shape [rows, out]."""

    kernel: str

    def __call__(self, x: Tensor) -> Tensor: ...


class DenseLinear:
    """Weights in float32 or bfloat16, as they are."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self._weight = weight
        self._bias = None if bias is None else bias.to(weight.dtype)
        self.kernel = f"torch.linear.{str(weight.dtype).removeprefix('torch.')}"

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x.to(self._weight.dtype), self._weight, self._bias)


def quantise_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Give int8 weights and one float32 scale per output row, so that W ~ q * scale."""
    scale = weight.abs().amax(dim=1).clamp_(min=1e-12).div_(INT8_MAX)
    quantised = (weight / scale[:, None]).round_().clamp_(-INT8_MAX, INT8_MAX)
    return quantised.to(torch.int8), scale


class Int8Linear:
    """int8 weights per output channel, activations quantised per row to 8 bits, twice.

    One 8-bit number per activation loses too much where a few channels are 100 times larger
    than the rest, so each row is split into a coarse part and a fine part (what the coarse one
    left over, 254 times smaller), and both go through one integer product of twice the rows.
    While decoding, time is reading weights, so the second part is nearly free.
    """

    kernel = "onednn.qlinear.u8s8"

    def __init__(
        self, weight: Tensor, scale: Tensor, bias: Tensor | None = None, parts: int = 2
    ) -> None:
        self._packed = torch.ops.onednn.qlinear_prepack(weight, None)
        self._scale = scale.contiguous()
        self._zeros = torch.zeros(scale.numel(), dtype=torch.int32)
        self._bias = bias
        self._parts = parts

    def __call__(self, x: Tensor) -> Tensor:
        x = x.float()
        amax = torch.linalg.vector_norm(x, float("inf"), dim=-1, keepdim=True)
        scale = amax.clamp_(min=1e-12).div_(INT8_MAX)
        y = self._coarse(x, scale) if self._parts == 1 else self._coarse_and_fine(x, scale)
        y.mul_(scale)
        return y if self._bias is None else y.add_(self._bias)

    def _coarse(self, x: Tensor, scale: Tensor) -> Tensor:
        # Adding 128.5 and cutting off rounds to nearest: the sum is never negative.
        return self._product((x / scale).add_(UNSIGNED_ZERO + 0.5).to(torch.uint8))

    def _coarse_and_fine(self, x: Tensor, scale: Tensor) -> Tensor:
        rows = x.shape[0]
        parts = x.new_empty((2 * rows, x.shape[1]))
        torch.div(x, scale, out=parts[:rows])
        coarse = parts[:rows].round()
        torch.sub(parts[:rows], coarse, out=parts[rows:])
        parts[rows:].mul_(2 * INT8_MAX).round_()
        parts[:rows] = coarse
        y = self._product(parts.add_(UNSIGNED_ZERO).to(torch.uint8))
        return torch.add(y[:rows], y[rows:], alpha=1 / (2 * INT8_MAX))

    def _product(self, quantised: Tensor) -> Tensor:
        result: Tensor = torch.ops.onednn.qlinear_pointwise(
            quantised,
            1.0,
            UNSIGNED_ZERO,
            self._packed,
            self._scale,
            self._zeros,
            None,
            1.0,
            0,
            torch.float32,
            "none",
            [],
            "",
        )
        return result


@cache
def int8_works() -> bool:
    """Try the integer kernel on extreme values: false where it is absent or saturates."""
    try:
        weight = torch.full((32, 64), INT8_MAX, dtype=torch.int8)
        layer = Int8Linear(weight, torch.ones(32))
        x = torch.ones((3, 64))
        return bool(torch.allclose(layer(x), torch.full((3, 32), 64.0 * INT8_MAX), rtol=1e-3))
    except (RuntimeError, NotImplementedError, AttributeError):
        return False


def default_precision(device: torch.device) -> str:
    """Name the fastest precision of a device that keeps answers: int8, bf16 or fp32."""
    if device.type != "cpu":
        return "bf16"
    return "int8" if int8_works() else "fp32"


def build(tensors: Mapping[str, Tensor], name: str) -> Linear:
    """Build the layer `name` from its stored tensors: `name`, `name.scale`, `name.bias`."""
    weight, bias = tensors[name], tensors.get(f"{name}.bias")
    if weight.dtype == torch.int8:
        return Int8Linear(weight, tensors[f"{name}.scale"], bias)
    return DenseLinear(weight, bias)
