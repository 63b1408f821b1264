"""Fits the constants of matrix products, and scores them by leaving devices out.

Two levels. Values common to all devices of a kernel family (bf16, fp8, ...) are fitted on every
table at once, around stated priors, so that a device never measured can be estimated from its
row. Then each measured generation gets its own values, shrunk towards the common ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.costs.dtypes import peak
from gangline.planner.costs.gemm import (
    REGIMES,
    GemmCoefficients,
    balance,
    derive,
    gemm_regime,
    gemm_with,
    traits,
)

from .data import device, provenance, read, select, systems_with

Array = npt.NDArray[np.float64]
Values = dict[str, float]

PRIORS: dict[str, tuple[float, float]] = {
    "launch_s": (2.5e-6, 0.3),
    "stream": (0.82, 0.2),
    "cache_bytes_per_clock": (10.0, 0.3),
    "compute": (1.0, 0.2),
    "power_pj": (1.1, 0.1),
    "power_excess": (0.35, 0.3),
    "tile": (0.2, 0.3),
    "prologue": (150.0, 0.3),
    "split": (4.0, 0.3),
    "wave": (0.5, 0.3),
    "turns": (6.0, 0.1),
    "sharpness": (10.0, 0.1),
    "reuse": (1.0, 0.3),
    "blend": (2.2, 0.2),
    "step_clocks": (0.4, 0.3),
    "quantise": (0.5, 0.7),
}
"""Centre and standard deviation (in logs) of every positive value before the data is seen."""

SLOPES: dict[str, tuple[float, float]] = {"launch_clock": (-2.0, 0.1), "balance": (0.0, 0.05)}
"""The same of the two exponents on device traits, which few devices can tell."""

HOST_S = 1.5e-4
"""Centre of the host time of a product whose launches no graph captured."""

OWN = ("launch_s", "stream", "compute", "blend", "step_clocks", "quantise", "host_s")
"""Values that a generation may have of its own, and how far (in logs) from the common ones."""
OWN_SD = {"launch_s": 1.0, "host_s": 2.0, "quantise": 0.7}
OWN_SD_ELSE = 0.3

SCALE = 0.1
"""Relative error at which a row starts to count as an outlier."""
EFFECTIVE_ROWS = 40
"""Rows of one table are alike: each table counts as this many independent ones."""
UNGRAPHED = {"v100_pcie", "b60"}
"""Tables timed without a captured graph: their launch times are their own, their weight a half."""
SETTLE_S = 2e-4
"""Busy seconds after which a board clocks down to its power limit."""


@dataclass(frozen=True, slots=True)
class Table:
    """Measured products of one system and format; sizes as floats, seconds."""

    system: str
    dtype: str
    spec: DeviceSpec
    m: Array
    n: Array
    k: Array
    seconds: Array

    def thinned(self, step: int) -> Table:
        """Every `step`-th row."""
        part = (values[::step] for values in (self.m, self.n, self.k, self.seconds))
        return Table(self.system, self.dtype, self.spec, *part)

    def coefficients(self, values: Mapping[str, float]) -> GemmCoefficients:
        """What the planner would work out from these values."""
        rate = peak(self.spec, self.dtype) or np.nan
        rate16 = peak(self.spec, "bf16") or rate
        return derive(values, self.dtype, rate, rate16, traits(self.spec))

    def residuals(self, values: Mapping[str, float]) -> Array:
        """Log of measured over estimated seconds."""
        estimate = gemm_with(self.coefficients(values), self.m, self.n, self.k)
        return np.asarray(np.log(self.seconds / estimate))


@cache
def tables() -> tuple[Table, ...]:
    """All measured products, one table per system and format."""
    found = [_v100()]
    for system in systems_with("gemm"):
        rows = read(f"aiconfigurator/{system}_gemm.csv.gz")
        for name in sorted(set(rows["gemm_dtype"])):
            part = select(rows, rows["gemm_dtype"] == name)
            dtype = {"bfloat16": "bf16"}.get(str(name), str(name))
            seconds = part["latency_ms"] * 1e-3
            sizes = (part["m"], part["n"], part["k"])
            found.append(Table(system, dtype, device(system), *sizes, seconds))
    return tuple(found)


def _v100() -> Table:
    """The V100 table where its sizes are those of language models."""
    rows = read("apex/v100_pcie_gemm_us.csv.gz")
    wide = (rows["n"] >= 512) & (rows["k"] >= 512) & (rows["k"] <= 16384)
    rows = select(rows, wide & (rows["m"] <= 16384) & (rows["n"] % 512 == 0))
    sizes = (rows["m"], rows["n"], rows["k"])
    return Table("v100_pcie", "bf16", device("v100_pcie"), *sizes, rows["time(us)"] * 1e-6)


def tables_of(family: str) -> list[Table]:
    """Tables of one kernel family."""
    return [table for table in tables() if table.dtype == family]


def _to_values(point: Array, names: Sequence[str], fixed: Values) -> Values:
    own = {
        name: x if name in SLOPES else float(np.exp(x))
        for name, x in zip(names, point, strict=True)
    }
    return {**fixed, **{name: float(x) for name, x in own.items()}}


def _robust(residuals: Array) -> Array:
    """Residuals whose squares grow like soft-L1: a few odd kernels must not steer the fit."""
    z = residuals / SCALE
    return np.asarray(np.sign(z) * np.sqrt(2 * (np.sqrt(1 + z * z) - 1)))


def _weighted(table: Table, values: Values) -> Array:
    weight = 0.5 if table.system in UNGRAPHED else 1.0
    weight *= float(np.sqrt(EFFECTIVE_ROWS / len(table.seconds)))
    return np.asarray(weight * _robust(table.residuals(values)))


def fit_common(family: str, train: Sequence[Table], base: Values | None = None) -> Values:
    """Values common to all devices, fitted on `train` around the priors (or around `base`)."""
    names = [*PRIORS, *SLOPES, *(["host_s"] if family == "fp8_block" else [])]
    if family == "bf16":
        names.remove("quantise")
    fixed = {"settle_s": SETTLE_S, "host_s": 0.0, "quantise": PRIORS["quantise"][0]}
    priors = {**PRIORS, **SLOPES, "host_s": (HOST_S, 1.0)}
    centre = np.array([_centre(name, priors[name][0], base) for name in names])
    spread = np.array([priors[name][1] for name in names])
    thin = [table.thinned(max(1, len(table.seconds) // 520)) for table in train]
    extra = [table.system for table in thin if table.system in UNGRAPHED]

    def objective(point: Array) -> Array:
        values = _to_values(point[: len(names)], names, fixed)
        parts = [(point[: len(names)] - centre) / spread, (point[len(names) :] - 1.5) * 0.1]
        for table in thin:
            own = dict(values)
            if table.system in extra:
                own["launch_s"] *= float(np.exp(point[len(names) + extra.index(table.system)]))
            parts.append(_weighted(table, own))
        return np.concatenate(parts)

    start = np.concatenate([centre, np.full(len(extra), 1.5)])
    return _to_values(least_squares(objective, start).x[: len(names)], names, fixed)


def _centre(name: str, prior: float, base: Values | None) -> float:
    value = prior if base is None or not base.get(name) else base[name]
    return value if name in SLOPES else float(np.log(value))


def fit_group(family: str, table: Table, common: Values) -> Values:
    """A generation's own values, shrunk towards the common ones."""
    names = [name for name in OWN if common[name] > 0 and (name, family) != ("quantise", "bf16")]
    centre = np.log([common[name] for name in names])
    spread = np.array([OWN_SD.get(name, OWN_SD_ELSE) for name in names])
    thin = table.thinned(2)

    def objective(point: Array) -> Array:
        values = _to_values(point, names, common)
        return np.concatenate([(point - centre) / spread, _weighted(thin, values)])

    found = _to_values(least_squares(objective, centre).x, names, common)
    return {name: found[name] for name in names}


def common_without(family: str, system: str = "") -> Values:
    """Common values fitted without one system ("" for none); other families start from bf16."""
    keep = [table for table in tables_of(family) if table.system != system]
    base = None if family == "bf16" else _cached_common("bf16", system)
    return fit_common(family, keep, base)


@cache
def _cached_common(family: str, system: str) -> Values:
    return common_without(family, system)


FAMILIES = ("bf16", "fp8", "fp8_block", "nvfp4")


def fit() -> dict[str, Any]:
    """Fit everything on all tables."""
    names = [f"aiconfigurator/{system}_gemm.csv.gz" for system in systems_with("gemm")]
    return {
        "provenance": provenance(*names, "apex/v100_pcie_gemm_us.csv.gz"),
        "families": {family: _family(family) for family in FAMILIES},
    }


def _family(family: str) -> dict[str, Any]:
    common = _cached_common(family, "")
    groups, inside = [], {}
    for table in tables_of(family):
        own = fit_group(family, table, common)
        groups.append(
            {"generation": table.spec.generation, "balance": balance(table.spec), "values": own}
        )
        inside[table.system] = float(np.median(np.abs(np.expm1(-table.residuals(common | own)))))
    return {
        "common": common,
        "groups": groups,
        "in_sample_median_error": inside,
        "interval": {"seen": _seen_interval(family), "unseen": unseen_interval(family)},
    }


@cache
def _left_out(family: str) -> dict[str, tuple[Array, npt.NDArray[np.intp]]]:
    """Residuals and regimes of every table, its device left out of the fit."""
    found = {}
    for table in tables_of(family):
        values = _cached_common(family, table.system)
        regime = gemm_regime(table.coefficients(values), table.m, table.n, table.k)
        found[table.system] = (table.residuals(values), regime)
    return found


def unseen_interval(family: str, without: str = "") -> dict[str, tuple[float, float]]:
    """Cross-conformal factors by regime: quantiles of left-out devices' residuals."""
    pools = [pool for system, pool in _left_out(family).items() if system != without]
    return _quantiles(pools)


def _seen_interval(family: str) -> dict[str, tuple[float, float]]:
    """Factors of measured generations."""
    pools = []
    common = _cached_common(family, "")
    for table in tables_of(family):
        values = common | fit_group(family, table, common)
        regime = gemm_regime(table.coefficients(values), table.m, table.n, table.k)
        pools.append((table.residuals(values), regime))
    return _quantiles(pools)


def _quantiles(
    pools: Sequence[tuple[Array, npt.NDArray[np.intp]]],
) -> dict[str, tuple[float, float]]:
    residuals = np.concatenate([pool[0] for pool in pools])
    regimes = np.concatenate([pool[1] for pool in pools])
    whole = np.quantile(residuals, (0.05, 0.95))
    found = {}
    for index, name in enumerate(REGIMES):
        part = residuals[regimes == index]
        low, high = np.quantile(part, (0.05, 0.95)) if len(part) >= 200 else whole
        found[name] = (float(np.exp(low)), float(np.exp(high)))
    return found


def score() -> list[dict[str, Any]]:
    """Errors and interval coverage of every table, its device left out of the fit."""
    rows = []
    for family in FAMILIES:
        for system, (residuals, regime) in _left_out(family).items():
            bounds = unseen_interval(family, without=system)
            table = np.log([bounds[name] for name in REGIMES])[regime]
            rows.append(
                {"table": f"{system} {family}", "held_out": system, "dtype": family}
                | errors(residuals, table[:, 0], table[:, 1])
            )
    return rows


def errors(residuals: Array, low: Array, high: Array, level: float = 0.9) -> dict[str, float]:
    """Median and p90 relative error, coverage, median width and Winkler score (in logs)."""
    relative = np.abs(np.expm1(-residuals))
    below, above = np.maximum(low - residuals, 0), np.maximum(residuals - high, 0)
    return {
        "rows": len(residuals),
        "median_error": float(np.median(relative)),
        "p90_error": float(np.quantile(relative, 0.9)),
        "bias": float(np.median(np.expm1(-residuals))),
        "coverage": float(np.mean((below == 0) & (above == 0))),
        "median_width": float(np.median(np.exp(high) - np.exp(low))),
        "winkler": float(np.mean(high - low + 2 / (1 - level) * (below + above))),
    }
