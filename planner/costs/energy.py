"""Watts of devices under load and joules per token, from the data sheet and how busy a step is.

A device draws an idle floor with a model loaded, and above it in proportion to how much of its
memory and its arithmetic a step keeps busy (a linear model: Fan, Weber and Barroso, ISCA 2007),
at most its thermal design power. The shares are public measurements on H100, A100, L40S and
H200, not fitted here: no table of ours holds watts. Expect 20 to 30 % either way.

Only devices are counted. Host, network and cooling are the caller's (`overhead`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec

from .dtypes import peak
from .shape import ModelShape
from .throughput import FullLoad, full_load

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


def joules(
    spec: DeviceSpec,
    seconds: npt.ArrayLike,
    *,
    devices: npt.ArrayLike = 1,
    compute: npt.ArrayLike = 0.0,
    memory: npt.ArrayLike = 0.0,
    overhead: float = 1.0,
) -> Array:
    """Joules of `devices` devices over `seconds` seconds at the shares of `watts`.

    `overhead` multiplies them for what is not counted here: 1.2 to 1.6 for host and cooling.
    """
    draw = watts(spec, compute, memory)
    return np.asarray(overhead * np.asarray(devices) * draw * np.asarray(seconds, float))


def load_shares(load: FullLoad) -> tuple[Array, Array]:
    """Shares of peak arithmetic and of memory bandwidth a group at full load keeps busy.

    Counts the products of the weights in use and one read of weights and cache per step.
    """
    cost, point = load.cost, load.point
    tokens = point.batch + point.new_tokens
    devices = cost.tp * cost.pp
    rate = peak(cost.spec, cost.dtype) or np.nan
    operations = 2.0 * cost.shape.active_params * tokens / devices
    lengths = np.asarray(point.context, float)
    cache = np.array([cost.kv_bytes_per_request(float(length)) for length in lengths.ravel()])
    # With pipeline stages each device is at work on every micro-batch in turn, pp of them a step.
    moved = cost.weight_bytes + point.batch * cache.reshape(lengths.shape)
    busy = cost.pp / np.where(point.batch > 0.0, load.step_s, np.inf)
    return (
        np.asarray(np.minimum(operations * busy / rate, 1.0)),
        np.asarray(np.minimum(moved * busy / cost.spec.memory_bytes_per_s, 1.0)),
    )


def joules_per_token(
    spec: DeviceSpec,
    shape: ModelShape,
    dtype: str,
    tp: int,
    isl: npt.ArrayLike,
    osl: npt.ArrayLike,
    *,
    pp: int = 1,
    overhead: float = 1.0,
) -> Array:
    """Joules of all devices of a group for one output token at full load, its prompt's counted.

    Infinite where the group serves nothing; arguments as of `throughput_tokens_per_s`.
    """
    load = full_load(spec, shape, dtype, tp, isl, osl, pp=pp)
    draw = overhead * tp * pp * watts(spec, *load_shares(load))
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(load.tokens_per_s > 0, draw, np.inf) / np.where(
            load.tokens_per_s > 0, load.tokens_per_s, 1.0
        ))  # fmt: skip
