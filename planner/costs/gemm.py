"""Seconds of one matrix product [m, k] x [k, n] on one device."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec

from .dtypes import FORMATS, peak

Array = npt.NDArray[np.float64]


def gemm_s(
    spec: DeviceSpec, dtype: str, m: npt.ArrayLike, n: npt.ArrayLike, k: npt.ArrayLike
) -> Array:
    """Seconds of [m, k] x [k, n]; arrays broadcast; NaN where the device lacks the format."""
    m, n, k = (np.asarray(size, dtype=float) for size in (m, n, k))
    form, rate = FORMATS[dtype], peak(spec, dtype)
    if rate is None:
        return np.full(np.broadcast(m, n, k).shape, np.nan)
    flop = 2.0 * m * n * k
    moved = form.weight_bytes * n * k + form.activation_bytes * m * k + 2.0 * m * n
    return np.maximum(flop / (0.75 * rate), moved / (0.78 * spec.memory_bytes_per_s)) + 5e-6
