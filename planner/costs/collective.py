"""Seconds of one collective among the devices of one node."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec

Array = npt.NDArray[np.float64]

TRAFFIC = {
    "all_reduce": lambda n: 2.0 * (n - 1.0) / n,
    "all_gather": lambda n: n - 1.0,
    "reduce_scatter": lambda n: (n - 1.0) / n,
    "all_to_all": lambda n: (n - 1.0) / n,
    "send_recv": lambda n: 1.0 + 0.0 * n,
}
"""Bytes that cross a device's link per byte of its message, in a ring."""


def collective_s(spec: DeviceSpec, kind: str, nbytes: npt.ArrayLike, n: npt.ArrayLike) -> Array:
    """Seconds of a collective of `nbytes` per rank among `n` devices; 0 for one device."""
    size, n = np.asarray(nbytes, dtype=float), np.asarray(n, dtype=float)
    link = spec.link_bytes_per_s or spec.host_bytes_per_s or 1.6e10
    seconds: Array = 5e-6 + TRAFFIC[kind](n) * size / (0.7 * link)
    return np.where(n > 1.0, seconds, 0.0)
