"""Watts of devices under load, from the data sheet and how busy a step keeps them.

A device draws an idle floor with a model loaded, and above it in proportion to how much of its
memory and its arithmetic a step keeps busy (a linear model: Fan, Weber and Barroso, ISCA 2007),
at most its thermal design power. The shares are public measurements on H100, A100, L40S and
H200, not fitted here: no table of ours holds watts. Expect 20 to 30 % either way.

Only devices are counted, not the host, the network or the cooling.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec

Array = npt.NDArray[np.float64]

IDLE_SHARE = 0.18
"""Share of TDP drawn with a model loaded and nothing to do. arXiv 2605.23918: a context adds 26
to 66 W to the bare idle of H100, A100 and L40S; about 120 of 700 W on an H100."""

MEMORY_POWER_SHARE = 0.4
"""Share of the rest that memory at its full rate draws. ML.ENERGY v3 has an H100 at 300 W for one
request; arXiv 2605.11999 an H200 at 137 to 300 W in memory-bound decode."""

COMPUTE_POWER_SHARE = 1.4
"""The same of matrix units at their dense peak: prompts, at some two thirds of peak, already reach
TDP (Splitwise, arXiv 2311.18677), and an H100 600 W at 128 requests (ML.ENERGY v3)."""


def idle_watts(spec: DeviceSpec) -> float:
    """Watts of one device that holds a model and waits."""
    return IDLE_SHARE * spec.tdp_w


def watts(spec: DeviceSpec, compute: npt.ArrayLike, memory: npt.ArrayLike) -> Array:
    """Watts of one device.

    Args:
        compute: operations per second over the dense peak of their format, 0 to 1.
        memory: bytes per second over the memory's rate, 0 to 1.
    """
    busy = COMPUTE_POWER_SHARE * np.asarray(compute, float) + MEMORY_POWER_SHARE * np.asarray(
        memory, float
    )
    return np.asarray(spec.tdp_w * (IDLE_SHARE + (1.0 - IDLE_SHARE) * np.clip(busy, 0.0, 1.0)))
