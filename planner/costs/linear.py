"""Seconds of the small operations of a layer: norm, rotary, activation, add and embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from gangline.ir.errors import ConfigError
from gangline.ir.specs.device import DeviceSpec

from .constants import constants
from .gemm import REFERENCE_CLOCK_HZ, balance, group_of, traits

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Operation:
    """One small operation on [rows, width] elements.

    Attributes:
        passes: times an element of the result is read or written, as common kernels do it.
        by_row: one block of threads works on one row, so that few rows leave units idle.
    """

    passes: float
    by_row: bool


OPERATIONS: Mapping[str, Operation] = {
    "embedding": Operation(passes=2.0, by_row=False),
    "norm": Operation(passes=3.0, by_row=True),  # the row is read twice: its size, then itself
    "rope": Operation(passes=2.0, by_row=True),
    "activation": Operation(passes=3.0, by_row=True),  # gate and value in, product out
    "plain_activation": Operation(passes=2.0, by_row=False),  # one in, one out
    "add": Operation(passes=3.0, by_row=False),
}


def elementwise_s(
    spec: DeviceSpec,
    operation: str,
    rows: npt.ArrayLike,
    width: npt.ArrayLike,
    *,
    element_bytes: float = 2.0,
) -> Array:
    """Seconds of one operation of `OPERATIONS` on [rows, width] elements; arrays broadcast.

    `width` counts elements of one row of the result: of all heads for `rope`, of the inner width
    for `activation`.
    """
    return elementwise_with(
        constants("linear")["values"], spec, operation, rows, width, element_bytes=element_bytes
    )


def elementwise_with(
    values: Mapping[str, float],
    spec: DeviceSpec,
    operation: str,
    rows: npt.ArrayLike,
    width: npt.ArrayLike,
    *,
    element_bytes: float = 2.0,
) -> Array:
    """Seconds under given fitted values (benchmarks/fit_cost_model/linear.py).

    A launch, then memory and threads at once: memory reads what the cache does not hold at a
    share of the bandwidth; every unit handles so many bytes per clock.
    """
    chosen = operation_named(operation)
    bandwidth, units, clock, cache, _ = traits(spec)
    rows, width = np.asarray(rows, dtype=float), np.asarray(width, dtype=float)
    row_bytes = width * element_bytes * chosen.passes
    moved = rows * row_bytes
    stream = bandwidth * values["stream"]
    cached = max(values["cache_bytes_per_clock"] * units * clock, stream)
    miss = 1 - 1 / (1 + (moved / cache) ** 4)
    memory = moved * (miss / stream + (1 - miss) / cached)
    waves = np.maximum(rows, units) / units if chosen.by_row else rows / units
    threads = row_bytes * waves / (values[operation] * clock)
    launch = values["launch_s"] * (clock / REFERENCE_CLOCK_HZ) ** values["launch_clock"]
    blend = values["blend"]
    return np.asarray(launch + (memory**blend + threads**blend) ** (1 / blend))


def elementwise_interval(spec: DeviceSpec) -> tuple[float, float]:
    """Factors (low, high) on `elementwise_s` meant to hold 90 % of measured times."""
    low, high = constants("linear")["interval"][elementwise_source(spec)]
    return float(low), float(high)


def elementwise_source(spec: DeviceSpec) -> Literal["fitted", "spec"]:
    """`fitted` where the generation was measured, else `spec`."""
    groups = constants("linear")["groups"]
    return "spec" if group_of(spec.generation, balance(spec), groups) is None else "fitted"


def operation_named(name: str) -> Operation:
    """One of `OPERATIONS`; ConfigError for another name."""
    found = OPERATIONS.get(name)
    if found is None:
        raise ConfigError(
            f"No operation of a layer is called {name!r}",
            where="elementwise_s",
            next_step=f"Take one of {', '.join(OPERATIONS)}.",
        )
    return found
