"""The parts of an engine step that grow with its tokens, priced once on a grid of token counts."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec

from .arithmetic import FLOATS, Arithmetic
from .collective import collective_s
from .dtypes import FORMATS, peak
from .gemm import gemm_s
from .layer_work import LayerWork, layer_work
from .shape import ModelShape

Array = npt.NDArray[np.float64]

GRID = np.unique(np.round(np.concatenate([np.arange(0, 65), np.geomspace(64, 131072, 220)])))
"""Token counts at which the products of a pass are priced; between them times are interpolated."""

_TOKENS: list[float] = GRID.tolist()


def token_parts(
    spec: DeviceSpec, shape: ModelShape, form: str, tp: int, pp: int, dp: int, attention_s: float
) -> dict[str, Array]:
    """Seconds at `GRID` tokens of every part of a pass but attention and head.

    Keys are the names of the step's constants that each part is multiplied by. `attention_s` is
    what the empty attention calls of a pass take.
    """
    work = layer_work(shape, tp, dp)
    tokens = np.maximum(GRID, 1.0)
    empty = empty_gemm_s(spec, form)
    products = gemm_s(spec, form, tokens[:, None], work.n, work.k) @ work.count
    moved = tokens * work.touched / spec.memory_bytes_per_s
    working = products - work.count.sum() * empty + moved
    busy = busy_share(spec, form, tokens)
    alone = _collectives(spec, work, pp, np.zeros(1))
    calls = work.count.sum() + 2.0 * shape.moe_layers
    parts = {
        "gemm": (1.0 - busy) * working,
        "gemm_busy": busy * working,
        "collective": _collectives(spec, work, pp, tokens) - alone,
        "launch": np.full(tokens.shape, calls * empty + attention_s),
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


def empty_gemm_s(spec: DeviceSpec, form: str) -> float:
    """Seconds of a product too small to compute or move anything."""
    return float(gemm_s(spec, form, 1.0, 64.0, 64.0))


def head_s(spec: DeviceSpec, shape: ModelShape, form: str, tp: int) -> Array:
    """Seconds of the output head at `GRID` rows; it stays in 16 bits in public checkpoints."""
    width = form if form in ("fp32", "fp16") else "bf16"
    seconds = gemm_s(spec, width, np.maximum(GRID, 1.0), shape.vocab / tp, shape.hidden)
    return np.where(GRID > 0.0, seconds, 0.0)


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


def at_tokens(ops: Arithmetic, table: Array, tokens: Array | float) -> Array | float:
    """Seconds at any number of tokens; beyond the grid they grow in proportion."""
    last = _TOKENS[-1]
    if ops is not FLOATS:
        inside = np.interp(tokens, GRID, table)
        return np.asarray(inside * np.maximum(np.asarray(tokens) / last, 1.0))
    size = float(tokens)
    if size >= last:
        return float(table[-1]) * size / last
    above = bisect_right(_TOKENS, size)
    left, right = _TOKENS[above - 1], _TOKENS[above]
    low, high = float(table[above - 1]), float(table[above])
    return low + (high - low) * (size - left) / (right - left)
