"""Seconds of one attention call of one layer on one device, over a prompt or for one token."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec

from .dtypes import FORMATS, peak

Array = npt.NDArray[np.float64]


def prefill_s(
    spec: DeviceSpec,
    dtype: str,
    kv_dtype: str,
    batch: npt.ArrayLike,
    isl: npt.ArrayLike,
    past: npt.ArrayLike,
    n_heads: npt.ArrayLike,
    n_kv_heads: npt.ArrayLike,
    head_dim: npt.ArrayLike,
) -> Array:
    """Seconds of causal attention of `isl` new tokens each, over `past` cached tokens too."""
    batch, isl, past = (np.asarray(size, dtype=float) for size in (batch, isl, past))
    heads, kv_heads = (np.asarray(size, dtype=float) for size in (n_heads, n_kv_heads))
    width = np.asarray(head_dim, dtype=float)
    rate = peak(spec, dtype)
    flop = 4.0 * batch * heads * width * isl * (past + 0.5 * isl)
    kv = 2.0 * batch * (past + isl) * kv_heads * width * FORMATS[kv_dtype].weight_bytes
    moved = kv + 4.0 * batch * isl * heads * width
    if rate is None:
        return np.full(flop.shape, np.nan)
    return np.maximum(flop / (0.5 * rate), moved / (0.7 * spec.memory_bytes_per_s)) + 1e-5


def decode_s(
    spec: DeviceSpec,
    dtype: str,
    kv_dtype: str,
    batch: npt.ArrayLike,
    context: npt.ArrayLike,
    n_heads: npt.ArrayLike,
    n_kv_heads: npt.ArrayLike,
    head_dim: npt.ArrayLike,
) -> Array:
    """Seconds of attention of one new token per sequence over `context` cached tokens."""
    batch, context = (np.asarray(size, dtype=float) for size in (batch, context))
    heads, kv_heads = (np.asarray(size, dtype=float) for size in (n_heads, n_kv_heads))
    width = np.asarray(head_dim, dtype=float)
    rate = peak(spec, dtype)
    flop = 4.0 * batch * heads * width * context
    kv = 2.0 * batch * context * kv_heads * width * FORMATS[kv_dtype].weight_bytes
    moved = kv + 4.0 * batch * heads * width
    if rate is None:
        return np.full(flop.shape, np.nan)
    return np.maximum(flop / (0.5 * rate), moved / (0.7 * spec.memory_bytes_per_s)) + 1e-5
