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
FINE = 2 * INT8_MAX
"""Fine parts of weights count in units this many times smaller: half a unit on either side."""
LOW_BYTE = 256
"""The same for activations, where the two parts are the two bytes of one number."""
UNSIGNED_ZERO = 128
"""Activations are stored as unsigned bytes around this zero, as AMX and VNNI want them."""

NARROW = 1024
"""Models with a smaller hidden size lose answers to int8 weights (SmolLM2, 576: argmax agreed
at 96 % of positions; Qwen 1.5B, 1536: 99 %), and little time to bfloat16."""


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


class PackedLinear:
    """bfloat16 weights in the block order of oneDNN, reordered once instead of in every call."""

    kernel = "onednn.linear.bfloat16"
    USUAL_ROWS = 256
    """Rows the order is chosen for; it was within 10 % of the best order at 1, 8 and 512."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        pack = torch.ops.mkldnn._reorder_linear_weight
        self._packed = pack(weight.contiguous(), self.USUAL_ROWS)
        self._bias = None if bias is None else bias.bfloat16()

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.bfloat16(), self._packed, self._bias, "none", [], ""
        )
        return y


def quantise_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Give int8 weights and one float32 scale per output row, so that W ~ q * scale."""
    scale = weight.abs().amax(dim=1).clamp_(min=1e-12).div_(INT8_MAX)
    quantised = (weight / scale[:, None]).round_().clamp_(-INT8_MAX, INT8_MAX)
    return quantised.to(torch.int8), scale


def fine_part(weight: Tensor, quantised: Tensor, scale: Tensor) -> Tensor:
    """Give what `quantise_rows` rounded away, as int8 in units of scale / 254."""
    left = weight / scale[:, None] - quantised
    return left.mul_(FINE).round_().clamp_(-INT8_MAX, INT8_MAX).to(torch.int8)


class Int8Linear:
    """int8 weights per output channel, activations quantised per row to 8 bits, twice.

    One 8-bit number per activation loses too much where a few channels are 100 times larger
    than the rest, so each row is split into a coarse part and a fine part (what the coarse one
    left over, 256 times smaller), and both go through one integer product of twice the rows.
    While decoding, time is reading weights, so the second part is nearly free. Weights may have
    a fine part of their own (twice the bytes), for layers whose rounding shows.
    """

    def __init__(
        self,
        weight: Tensor,
        scale: Tensor,
        bias: Tensor | None = None,
        fine: Tensor | None = None,
    ) -> None:
        self._rows = len(weight)
        if fine is not None:
            weight, scale = torch.cat((weight, fine)), torch.cat((scale, scale / FINE))
        self._packed = torch.ops.onednn.qlinear_prepack(weight.contiguous(), None)
        self._scale = scale.contiguous()
        self._zeros = torch.zeros(scale.numel(), dtype=torch.int32)
        self._bias = bias
        self.kernel = "onednn.qlinear.u8s8" + ("" if fine is None else ".fine")

    def __call__(self, x: Tensor) -> Tensor:
        x = x.float()
        # Two passes of amax cost a tenth of vector_norm(inf), which is not vectorised.
        low, high = x.amin(dim=-1, keepdim=True), x.amax(dim=-1, keepdim=True)
        scale = torch.maximum(high, low.neg_()).clamp_(min=1e-12).div_(INT8_MAX)
        y = self._product(_coarse_and_fine(x, scale))
        y = y[: len(x)].add_(y[len(x) :], alpha=1 / LOW_BYTE).mul_(scale)
        if y.shape[1] > self._rows:
            y = y[:, : self._rows] + y[:, self._rows :]
        return y if self._bias is None else y.add_(self._bias)

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


def _coarse_and_fine(x: Tensor, scale: Tensor) -> Tensor:
    """Give the two unsigned bytes of x / scale, one matrix of them below the other.

    x / scale in units of 1/256, moved above zero, is a 16-bit number; its high byte is the
    coarse part and its low byte the fine part, each around its own zero of 128.
    """
    rows = len(x)
    shift = torch.tensor(UNSIGNED_ZERO * (LOW_BYTE + 1) + 0.5)
    whole = torch.addcmul(shift, x, LOW_BYTE / scale).to(torch.int32)
    parts = torch.empty((2 * rows, x.shape[1]), dtype=torch.uint8)
    parts[rows:] = whole  # the conversion keeps the low byte
    parts[:rows] = whole.bitwise_right_shift_(8)
    return parts


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


@cache
def bf16_works() -> bool:
    """Tell whether this CPU multiplies bfloat16 natively and packed weights can be used."""
    try:
        if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        layer = PackedLinear(torch.ones((32, 64), dtype=torch.bfloat16))
        return bool((layer(torch.ones((3, 64))) == 64).all())
    except (RuntimeError, NotImplementedError, AttributeError):
        return False


def default_precision(device: torch.device, hidden_size: int = NARROW) -> str:
    """Name the fastest precision of a device that keeps the answers of a model this wide."""
    if device.type != "cpu":
        return "bf16"
    if hidden_size < NARROW:
        return "bf16" if bf16_works() else "fp32"
    return "int8" if int8_works() else "fp32"


def build(tensors: Mapping[str, Tensor], name: str) -> Linear:
    """Build a layer from its tensors `name`, `name.scale`, `name.fine` and `name.bias`."""
    weight, bias = tensors[name], tensors.get(f"{name}.bias")
    if weight.dtype == torch.int8:
        scale, fine = tensors[f"{name}.scale"], tensors.get(f"{name}.fine")
        if weight.device.type == "cpu" and int8_works():
            return Int8Linear(weight, scale, bias, fine)
        weight = _restored(weight, scale, fine)
    if weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and bf16_works():
        return PackedLinear(weight, bias)
    return DenseLinear(weight, bias)


def _restored(weight: Tensor, scale: Tensor, fine: Tensor | None) -> Tensor:
    """Undo `quantise_rows`, for a device without the integer kernel."""
    whole = weight.float() if fine is None else weight + fine / FINE
    return (whole * scale[:, None]).to(torch.bfloat16 if weight.is_cuda else torch.float32)
