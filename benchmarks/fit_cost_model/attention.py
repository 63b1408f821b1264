"""Fits attention: constants per kernel family and generation, scored by leaving devices out.

Rows: prompt calls of more than one token, and decode calls, of every system with a table. The
families of kernels named in a table are joined as an engine picks them by device and cache
format (`attention.kernel_of`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.costs.attention import (
    Kernel,
    decode_with,
    kernel_of,
    prefill_with,
)
from gangline.planner.costs.dtypes import peak
from gangline.planner.costs.interval import errors, long_error, ratio_interval, transfer_interval

from .data import device, provenance, read, select, systems_with
from .positive import fit_positive, thin

Array = npt.NDArray[np.float64]
Constants = Mapping[str, float]

TABLES = {"prefill": "context_attention", "decode": "generation_attention"}
FORMATS = {"kv16": "bf16", "kv8": "fp8"}
SHARED_FAMILIES = ("fa2", "flashinfer")
"""Families that several generations run; the others belong to one."""

ROWS_PER_SYSTEM = 1200
ROWS_PER_MEMBER = 500
"""Rows of each system where several are fitted together, as often happens for an interval."""

TRANSFER_WIDEN = 1.3
"""Intervals of a fit in sample are widened by this for other boards of the generation."""

START: Mapping[str, dict[str, tuple[float, float, float, float]]] = {
    # name: start, spread of its log, least, most
    "decode": {
        "launch_s": (8e-6, 0.3, 1e-6, 2e-4),
        "block_s": (2e-6, 0.5, 1e-7, 1e-5),
        "tile_s": (5e-7, 0.8, 2e-8, 1e-5),
        "bandwidth_share": (0.88, 0.1, 0.5, 0.97),
        "cache_bytes_per_cycle": (25.0, 0.3, 2.0, 200.0),
        "cache_share": (0.85, 0.15, 0.1, 2.0),
        "join_s": (1e-6, 0.7, 1e-7, 2e-5),
        "sharpness": (2.0, 0.2, 1.0, 6.0),
        "blocks_per_unit": (2.0, 0.5, 1.0, 8.0),
        "row_share": (0.15, 0.5, 0.01, 1.0),
        "reorder_s": (4e-6, 0.5, 1e-7, 2e-5),
        "sequence_s": (2e-8, 0.5, 1e-9, 2e-7),
    },
    "prefill": {
        "launch_s": (9e-6, 0.3, 1e-6, 2e-4),
        "block_s": (1.5e-6, 0.7, 1e-8, 2e-5),
        "compute_share": (0.6, 0.3, 0.1, 0.95),
        "chain": (0.7, 0.7, 0.1, 5.0),
        "bandwidth_share": (0.8, 0.2, 0.3, 0.97),
        "cache_bytes_per_cycle": (25.0, 0.3, 2.0, 200.0),
        "cache_share": (0.85, 0.3, 0.1, 2.0),
        "sharpness": (1.7, 0.2, 1.0, 8.0),
        "token_s": (8e-10, 0.8, 1e-12, 1e-8),
        "token_width": (1024.0, 0.4, 64.0, 65536.0),
    },
}


@dataclass(frozen=True, slots=True)
class Rows:
    """Measured calls of one system with one cache format."""

    system: str
    spec: DeviceSpec
    kernel: Kernel
    width: str
    batch: Array
    tokens: Array
    heads: Array
    kv_heads: Array
    head_dim: Array
    seconds: Array

    @property
    def key(self) -> str:
        """Key of the generation's entry."""
        return f"{self.kernel.family}/{self.spec.generation}/{self.width}"

    def predicted(self, phase: str, fitted: Constants, chosen: npt.NDArray[Any]) -> Array:
        """Seconds of the chosen rows with given constants."""
        batch, tokens, heads, kv_heads, width = (
            column[chosen]
            for column in (self.batch, self.tokens, self.heads, self.kv_heads, self.head_dim)
        )
        rate = peak(self.spec, "bf16") or np.nan
        element = 1.0 if self.width == "kv8" else 2.0
        common = (self.spec, self.kernel, fitted, rate, element, batch, tokens)
        if phase == "decode":
            return decode_with(*common, heads, kv_heads, width)
        return prefill_with(*common, 0.0 * tokens, heads, kv_heads, width)


def load(phase: str) -> list[Rows]:
    """Rows of every system and cache format, in a fixed order."""
    found = []
    for system in systems_with(TABLES[phase]):
        table = read(_file(system, phase))
        if phase == "prefill":
            table = select(table, table["isl"] > 1.0)
        spec = device(system)
        for stored in ("bfloat16", "fp8"):
            rows = select(table, table["kv_cache_dtype"] == stored)
            if rows["isl"].size:
                found.append(_rows(system, spec, "kv16" if stored == "bfloat16" else "kv8", rows))
    return found


def _rows(system: str, spec: DeviceSpec, width: str, table: Mapping[str, Any]) -> Rows:
    prompt = bool(np.any(table["isl"] > 1.0))
    return Rows(
        system, spec, kernel_of(spec, FORMATS[width]), width,
        table["batch_size"], table["isl"] if prompt else table["step"], table["num_heads"],
        table["num_key_value_heads"], table["head_dim"], table["latency_ms"] * 1e-3,
    )  # fmt: skip


def _file(system: str, phase: str) -> str:
    return f"aiconfigurator/{system}_{TABLES[phase]}.csv.gz"


def fit_rows(phase: str, members: Sequence[Rows], most: int = ROWS_PER_SYSTEM) -> dict[str, float]:
    """Constants fitted on several systems together, each with the same number of rows."""
    start = START[phase]
    unused = set() if any(rows.kernel.reorders for rows in members) else {"reorder_s"}
    unused |= set() if any(rows.kernel.planned for rows in members) else {"sequence_s"}
    names = [name for name in start if name not in unused]
    fixed = {name: start[name][0] for name in start if name not in names}
    picked = [(rows, thin(rows.seconds.size, most)) for rows in members]

    def off(trial: Mapping[str, float]) -> Array:
        full = fixed | dict(trial)
        return np.concatenate(
            [np.log(rows.predicted(phase, full, at) / rows.seconds[at]) for rows, at in picked]
        )

    def column(index: int) -> dict[str, float]:
        return {name: start[name][index] for name in names}

    bounds = {name: (start[name][2], start[name][3]) for name in names}
    return fixed | fit_positive(off, column(0), column(1), bounds)


def build(phase: str, tables: Sequence[Rows]) -> dict[str, dict[str, Any]]:
    """Every entry that can be fitted on these tables, with the interval of each."""
    keys = {rows.key for rows in tables}
    keys |= {f"{r.kernel.family}/{r.width}" for r in tables if r.kernel.family in SHARED_FAMILIES}
    keys |= {f"any/{width}" for width in FORMATS}
    return {key: entry(phase, tables, key) for key in sorted(keys)}


def entry(phase: str, tables: Sequence[Rows], key: str) -> dict[str, Any]:
    """Fit one entry: `family/generation/width`, `family/width` or `any/width`."""
    if key.count("/") == 2:
        return _seen(phase, [rows for rows in tables if rows.key == key])
    family, width = key.split("/")
    members = [rows for rows in tables if rows.width == width and rows.spec.vendor == "NVIDIA"]
    if family != "any":
        members = [rows for rows in members if rows.kernel.family == family]
    return _unseen(phase, members)


def nearest(tables: Sequence[Rows], rows: Rows) -> str:
    """Key of the entry that stands for these rows where only `tables` were fitted."""
    known = {other.key for other in tables} | {
        f"{other.kernel.family}/{other.width}"
        for other in tables
        if other.kernel.family in SHARED_FAMILIES
    }
    family = f"{rows.kernel.family}/{rows.width}"
    return next((key for key in (rows.key, family) if key in known), f"any/{rows.width}")


def _seen(phase: str, members: Sequence[Rows]) -> dict[str, Any]:
    fitted = fit_rows(phase, members)
    ratios = _in_sample(phase, fitted, members, TRANSFER_WIDEN)
    return _entry(fitted, ratios, seen=True)


def _unseen(phase: str, members: Sequence[Rows]) -> dict[str, Any]:
    """An entry for devices without rows: its interval comes from leaving each member out."""
    fitted = fit_rows(phase, members, ROWS_PER_MEMBER)
    systems = sorted({rows.system for rows in members})
    if len(systems) < 2:
        return _entry(fitted, _in_sample(phase, fitted, members, 4.0), seen=False)
    groups = []
    for system in systems:
        rest = [rows for rows in members if rows.system != system]
        others = fit_rows(phase, rest, ROWS_PER_MEMBER)
        groups += [
            (rows.predicted(phase, others, _all(rows)), rows.seconds)
            for rows in members
            if rows.system == system
        ]
    ratios = transfer_interval(groups)
    return _entry(fitted, ratios, seen=False)


def _in_sample(
    phase: str, fitted: Constants, members: Sequence[Rows], widen: float
) -> tuple[float, float]:
    predicted = np.concatenate([rows.predicted(phase, fitted, _all(rows)) for rows in members])
    actual = np.concatenate([rows.seconds for rows in members])
    return ratio_interval(predicted, actual, widen=widen)


def _entry(fitted: Constants, ratios: tuple[float, float], *, seen: bool) -> dict[str, Any]:
    stated = {"low_ratio": ratios[0], "high_ratio": ratios[1], "generation_seen": seen}
    return dict(fitted) | stated


def _all(rows: Rows) -> npt.NDArray[Any]:
    return np.arange(rows.seconds.size)


def fit() -> dict[str, Any]:
    """Give the constants fitted on all tables, with their provenance."""
    files = [_file(system, phase) for phase in TABLES for system in systems_with(TABLES[phase])]
    entries = {phase: build(phase, load(phase)) for phase in TABLES}
    return {"provenance": provenance(*files), **entries}


def score() -> list[dict[str, Any]]:
    """Errors of each system predicted by constants fitted without it, and in sample."""
    found = []
    for phase in TABLES:
        tables = load(phase)
        for rows in tables:
            rest = [other for other in tables if other.system != rows.system]
            for how, training in (("in sample", tables), ("left out", rest)):
                fitted = entry(phase, training, nearest(training, rows))
                found.append(_score(phase, rows, how, fitted))
    return found


def _score(phase: str, rows: Rows, how: str, fitted: Mapping[str, Any]) -> dict[str, Any]:
    predicted = rows.predicted(phase, fitted, _all(rows))
    about = {"table": f"attention_{phase}", "held_out": rows.spec.type, "how": how}
    ratios = (fitted["low_ratio"], fitted["high_ratio"])
    found = errors(predicted, rows.seconds, ratios) | long_error(predicted, rows.seconds)
    return about | {"dtype": rows.width} | found
