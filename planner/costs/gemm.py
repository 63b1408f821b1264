"""Seconds of one matrix product [m, k] x [k, n] on one device, with a 90 % interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec

from .arithmetic import ARRAYS, FLOATS, Arithmetic
from .constants import constants
from .dtypes import FORMATS, MEASURED, peak

Array = npt.NDArray[np.float64]
Traits = tuple[float, float, float, float, float]

TILES = ((16.0, 64.0), (64.0, 64.0), (64.0, 128.0), (128.0, 128.0), (128.0, 256.0))
"""Output tiles (rows, columns) that a library chooses from; the quickest is taken."""

REFERENCE_CLOCK_HZ = 2e9
REFERENCE_BALANCE = 10.0
"""Bytes per clock of one unit at which the constants are stated."""

MOST_OF_BANDWIDTH = 0.97
"""Refresh and row changes take the rest: no memory streams faster."""

DEFAULT_UNITS, DEFAULT_CLOCK_HZ, DEFAULT_CACHE_BYTES = 100, 1.8e9, 4e7
"""Of a device whose row does not say: about an accelerator of 2020 to 2024."""

WIDEST_UNIT, WIDE_UNIT = 8192.5, 4096.0
"""16-bit operations a clock of the widest unit of a GPU (Blackwell) and of one before (Hopper).

What does more (Gaudi, TPU, Trainium) has few units, each with the matrix engine of several; how
fast its vectors and buffers are says no row. It counts as so many units of the latter size.
"""

ALIKE = 1.9
"""Two boards of a generation share constants up to this ratio of their balances: the die with
stacked memory and the die with graphics memory of one generation are different machines."""

LEAST_ROWS = {"cpu": 1.0}
"""Rows that fewer count as where rows count in proportion, by kind of device; 16 elsewhere.

Whole tiles are what was measured: tensor-core kernels of a few tile heights. Kernels of other
formats (SIMT, Marlin's blocks of 16 rows and its striped split, arXiv 2408.11743) and of CPUs come
in many heights and share out what a last wave leaves uneven.
"""

CHUNK = 32768
"""Products computed at a time, so that the temporaries stay in the processor's cache."""

REGIMES = ("launch", "memory", "compute")


@dataclass(frozen=True, slots=True)
class GemmCoefficients:
    """One device and format, everything that does not depend on the shape worked out.

    Times in seconds, rates per second, sizes in bytes; see docs/decisions/0009 for the form.
    `floor_s` is seconds of one multiplication and addition at the peak where the fitted values
    could exceed it, else 0; `least_rows` the rows that fewer count as, 0 for whole tiles.
    """

    weight_bytes: float
    activation_bytes: float
    units: float
    launch_s: float
    step_s: float
    tile_s: tuple[float, ...]
    prologue: float
    least_waves: float
    wave: float
    excess: float
    settle_s: float
    floor_s: float
    least_rows: float
    stream_s: float
    cached_s: float
    cache_turns: float
    sharpness: float
    reuse: float
    blend: float
    element_s: float
    row_elements: float
    host_s: float


def gemm_s(
    spec: DeviceSpec,
    dtype: str,
    m: npt.ArrayLike,
    n: npt.ArrayLike,
    k: npt.ArrayLike,
    *,
    captured: bool = False,
    streamed: bool = False,
) -> Array:
    """Seconds of [m, k] x [k, n]; arrays broadcast; NaN where the device lacks the format.

    Formats that quantise activations include that step. `captured` leaves out host time that a
    captured graph of launches hides (fp8_block). `streamed` takes the weights as never left in
    the cache by an earlier product, as in a model of many layers; by default a few matrices
    take turns, as in the measurements. Three plain numbers give one number, quickly.
    """
    found = coefficients(spec, dtype)
    if found is None:
        return np.full(np.broadcast(m, n, k).shape, np.nan)
    if captured or streamed:
        found = _adjusted(found, captured, streamed)
    if isinstance(m, (int, float)) and isinstance(n, (int, float)) and isinstance(k, (int, float)):
        return cast(Array, np.float64(_total(found, float(m), float(n), float(k), FLOATS)))
    return gemm_with(found, m, n, k)


def gemm_with(
    found: GemmCoefficients, m: npt.ArrayLike, n: npt.ArrayLike, k: npt.ArrayLike
) -> Array:
    """Seconds of products under worked-out coefficients; arrays broadcast."""
    sizes = np.broadcast_arrays(*(np.asarray(size, dtype=float) for size in (m, n, k)))
    rows, columns, depth = (np.ravel(size) for size in sizes)
    out = np.empty(rows.size)
    # Every chunk before `start` is done; no chunk reads another's part.
    for start in range(0, rows.size, CHUNK):
        part = slice(start, start + CHUNK)
        out[part] = _total(found, rows[part], columns[part], depth[part], ARRAYS)
    return out.reshape(sizes[0].shape)


def gemm_interval(
    spec: DeviceSpec, dtype: str, m: npt.ArrayLike, n: npt.ArrayLike, k: npt.ArrayLike
) -> tuple[Array, Array]:
    """Factors (low, high) on `gemm_s` that hold 90 % of the measured times of left-out devices.

    Cross-conformal by regime (what bounds the product), wider for a generation never measured.
    """
    found = coefficients(spec, dtype)
    if found is None:
        nothing = np.full(np.broadcast(m, n, k).shape, np.nan)
        return nothing, nothing
    family = constants("gemm")["families"][FORMATS[dtype].family]
    bounds = (_group(spec, dtype) or family)["interval"]
    if isinstance(m, (int, float)) and isinstance(n, (int, float)) and isinstance(k, (int, float)):
        parts = _regimes(found, float(m), float(n), float(k), FLOATS)
        low, high = bounds[REGIMES[parts.index(max(parts))]]
        return cast(Array, low), cast(Array, high)
    table = np.array([bounds[regime] for regime in REGIMES])[gemm_regime(found, m, n, k)]
    return table[..., 0], table[..., 1]


def gemm_regime(
    found: GemmCoefficients, m: npt.ArrayLike, n: npt.ArrayLike, k: npt.ArrayLike
) -> npt.NDArray[np.intp]:
    """Index into `REGIMES` of the largest part of the time; arrays broadcast."""
    m, n, k = (np.asarray(size, dtype=float) for size in (m, n, k))
    parts = np.stack(np.broadcast_arrays(*_regimes(found, m, n, k, ARRAYS)))
    return np.asarray(np.argmax(parts, axis=0))


def _regimes(found: GemmCoefficients, m: Any, n: Any, k: Any, ops: Arithmetic) -> tuple[Any, ...]:
    """Seconds of each of `REGIMES`."""
    fixed, memory, compute = _parts(found, m, n, k, ops)
    return ops.larger(fixed, found.host_s), memory, compute


def gemm_source(spec: DeviceSpec, dtype: str) -> Literal["fitted", "spec"]:
    """`fitted` where the generation was measured with this format, else `spec`."""
    return "spec" if _group(spec, dtype) is None else "fitted"


def _group(spec: DeviceSpec, dtype: str) -> Mapping[str, Any] | None:
    if dtype not in MEASURED:
        return None
    groups = constants("gemm")["families"][FORMATS[dtype].family]["groups"]
    return group_of(spec.generation, balance(spec), groups)


def coefficients(spec: DeviceSpec, dtype: str) -> GemmCoefficients | None:
    """The coefficients of a device and format, worked out once; None where it lacks the format."""
    rate = peak(spec, dtype)
    if rate is None:
        return None
    whole = dtype in MEASURED and spec.kind != "cpu"
    least = 0.0 if whole else LEAST_ROWS.get(spec.kind, 16.0)
    rate16 = peak(spec, "bf16") or rate
    return _cached(dtype, spec.generation, rate, rate16, traits(spec), least)


def traits(spec: DeviceSpec) -> Traits:
    """Bandwidth, units, clock, cache and TDP; stand-ins for all but TDP where a row is silent."""
    units, clock = float(spec.units or DEFAULT_UNITS), spec.clock_hz or DEFAULT_CLOCK_HZ
    each = (peak(spec, "bf16") or 0.0) / units / clock
    return (
        spec.memory_bytes_per_s,
        units if each <= WIDEST_UNIT else units * round(each / WIDE_UNIT),
        clock,
        float(spec.cache_bytes or DEFAULT_CACHE_BYTES),
        spec.tdp_w,
    )


@lru_cache(maxsize=4096)
def _cached(
    dtype: str, generation: str, rate: float, rate16: float, known: Traits, least_rows: float
) -> GemmCoefficients:
    family = constants("gemm")["families"][FORMATS[dtype].family]
    bandwidth, units, clock, *_ = known
    groups = family["groups"] if dtype in MEASURED else []
    group = group_of(generation, bandwidth / units / clock, groups)
    values = family["common"] if group is None else {**family["common"], **group["values"]}
    return derive(values, dtype, rate, rate16, known, least_rows)


def balance(spec: DeviceSpec) -> float:
    """Bytes of memory per clock of one unit: tells stacked from graphics memory."""
    bandwidth, units, clock, *_ = traits(spec)
    return bandwidth / units / clock


def group_of(
    generation: str, balance: float, groups: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The fitted group of a generation and a like balance; None where none was measured."""
    for group in groups:
        ratio = balance / group["balance"]
        if group["generation"] == generation and 1 / ALIKE <= ratio <= ALIKE:
            return group
    return None


def derive(
    values: Mapping[str, float],
    dtype: str,
    rate: float,
    rate16: float,
    known: Traits,
    least_rows: float = 0.0,
) -> GemmCoefficients:
    """Work out the coefficients from fitted values and the device's row.

    `rate` and `rate16` are peaks of the format and of 16 bits, per second; `known` is
    `traits(spec)`.
    """
    bandwidth, units, clock, cache, tdp = known
    form = FORMATS[dtype]
    tilt = (bandwidth / units / clock / REFERENCE_BALANCE) ** values["balance"]
    stream = bandwidth * min(values["stream"] * tilt, MOST_OF_BANDWIDTH)
    cached = max(values["cache_bytes_per_clock"] * units * clock, stream)
    # Power grows with the cube of the clock: a board that its TDP cannot feed at its boost clock
    # settles at the cube root of the share it can feed (smoothed near 1).
    need = values["power_pj"] * (clock / REFERENCE_CLOCK_HZ) ** 2 * 1e-12 * rate16
    slowed = (1 + (need / tdp) ** 4) ** (1 / 12) if tdp else 1.0
    unit_rate = rate * values["compute"] / units
    tiles = tuple(1 + 64 * values["tile"] * (1 / tm + 1 / tn) for tm, tn in TILES)
    return GemmCoefficients(
        weight_bytes=form.weight_bytes,
        activation_bytes=form.activation_bytes,
        units=units,
        launch_s=values["launch_s"] * (clock / REFERENCE_CLOCK_HZ) ** values["launch_clock"],
        step_s=values["step_clocks"] / clock,
        tile_s=tuple(
            2 * tm * tn * lost / unit_rate for (tm, tn), lost in zip(TILES, tiles, strict=True)
        ),
        prologue=values["prologue"],
        least_waves=1 / values["split"],
        wave=0.0 if least_rows else values["wave"],
        excess=slowed - 1,
        settle_s=values["settle_s"],
        floor_s=2 / rate if values["compute"] > min(tiles) else 0.0,
        least_rows=least_rows,
        stream_s=1 / stream,
        cached_s=1 / cached,
        cache_turns=values["turns"] / cache,
        sharpness=values["sharpness"],
        reuse=values["reuse"] * 128 * math.sqrt(units),
        blend=values["blend"],
        element_s=1 / (values["quantise"] * units * clock) if form.quantises else 0.0,
        row_elements=values["quantise_row"],
        host_s=values["host_s"],
    )


@lru_cache(maxsize=4096)
def _adjusted(found: GemmCoefficients, captured: bool, streamed: bool) -> GemmCoefficients:
    return replace(
        found,
        host_s=0.0 if captured else found.host_s,
        cached_s=found.stream_s if streamed else found.cached_s,
    )


def _total(found: GemmCoefficients, m: Any, n: Any, k: Any, ops: Arithmetic) -> Any:
    fixed, memory, compute = _parts(found, m, n, k, ops)
    blend = found.blend
    seconds = fixed + (compute**blend + memory**blend) ** (1 / blend)
    if found.floor_s:
        seconds = ops.larger(seconds, found.floor_s * m * n * k)
    return ops.larger(seconds, found.host_s) if found.host_s else seconds


def _parts(found: GemmCoefficients, m: Any, n: Any, k: Any, ops: Arithmetic) -> Any:
    """Fixed, memory and compute seconds; the latter two overlap."""
    weights = found.weight_bytes * n * k
    inputs = found.activation_bytes * m * k
    moved = weights + inputs + 2.0 * m * n
    miss = 1 - 1 / (1 + (found.cache_turns * moved) ** found.sharpness)
    byte_s = found.cached_s + (found.stream_s - found.cached_s) * miss
    # A wave of tiles covers about `reuse` rows and columns; further ones read operands again.
    again = ops.larger(m / found.reuse - 1, 0.0) * weights
    again = again + ops.larger(n / found.reuse - 1, 0.0) * inputs
    compute = _tiled(found, m, n, ops) * (k + found.prologue)
    compute = compute * (1 + found.excess * compute / (compute + found.settle_s))
    fixed = found.launch_s + found.step_s * k
    if found.element_s:
        fixed = fixed + found.element_s * m * (k + found.row_elements)
    return fixed, (moved + again) * byte_s, compute


def _tiled(found: GemmCoefficients, m: Any, n: Any, ops: Arithmetic) -> Any:
    """Seconds per unit of depth under the quickest tile, whole waves and split depth counted."""
    best: Any = None
    rows = ops.larger(m, found.least_rows) if found.least_rows else None
    # `best` is the least over the tiles seen so far.
    for (tm, tn), tile_s in zip(TILES, found.tile_s, strict=True):
        tall = ops.ceil(m / tm) if rows is None else rows / tm
        share = tall * ops.ceil(n / tn) / found.units
        waves = ops.ceil(share)
        uneven = found.wave * (waves - share) * (waves > 1)
        seconds = (ops.larger(share, found.least_waves) + uneven) * tile_s
        best = seconds if best is None else ops.smaller(best, seconds)
    return best
