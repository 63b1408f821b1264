"""Fits the constants of matrix products, and scores them by leaving devices out.

Two levels. Values common to all devices of a kernel family (bf16, fp8, ...) are fitted on every
table at once, around stated priors, so that a device never measured can be estimated from its
row. Then each measured generation gets its own values, shrunk towards the common ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from gangline.planner.costs.gemm import REGIMES, balance
from gangline.planner.costs.interval import transfer_interval

from .data import provenance, systems_with
from .gemm_tables import LAYERS, V100, Table, tables_of

Array = npt.NDArray[np.float64]
Values = dict[str, float]
Interval = dict[str, tuple[float, float]]
Pools = dict[str, list[tuple[Array, Array]]]

PRIORS: dict[str, tuple[float, float]] = {
    "launch_s": (2.5e-6, 0.3),
    "stream": (0.82, 0.2),
    "cache_bytes_per_clock": (10.0, 0.3),
    "compute": (1.0, 0.2),
    "power_pj": (1.1, 0.3),
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
    "quantise_row": (500.0, 0.7),
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

STARTS = {"bf16": "", "fp8": "bf16", "fp8_block": "fp8", "nvfp4": "fp8"}
"""Kernel families, and whose common values each takes for its prior."""

SCALED_SPLIT = 1.3
"""Centre of `split` in the scaled families: their CUTLASS kernels hardly split the depth."""

SCALE = 0.1
"""Relative error at which a row starts to count as an outlier."""
ROWS = 520
"""Rows of each table that a fit looks at."""
LEAST_ROWS = 50
"""Rows of one regime that a table must have to count there."""
EFFECTIVE_ROWS = 40
"""Rows of one device are alike: each device counts as this many independent ones."""
UNGRAPHED = {"v100_pcie", "b60"}
"""Tables timed without a captured graph: the host's time bounds theirs; their weight is a half."""
UNGRAPHED_S = 2e-5
"""Centre of that host time."""
SETTLE_S = 2e-4
"""Busy seconds after which a board clocks down to its power limit."""


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


def _weighted(table: Table, values: Values, sisters: int = 1) -> Array:
    """Weighted residuals; `sisters` tables of one device share its weight."""
    weight = (0.5 if table.system in UNGRAPHED else 1.0) / np.sqrt(sisters)
    weight *= float(np.sqrt(EFFECTIVE_ROWS / len(table.seconds)))
    return np.asarray(weight * _robust(table.residuals(values)))


def fit_common(family: str, train: Sequence[Table], base: Values | None = None) -> Values:
    """Values common to all devices, fitted on `train` around the priors (or around `base`)."""
    names = [*PRIORS, *SLOPES, *(["host_s"] if family == "fp8_block" else [])]
    if family == "bf16":
        names = [name for name in names if not name.startswith("quantise")]
    fixed = {"settle_s": SETTLE_S, "host_s": 0.0, "quantise": 0.5, "quantise_row": 0.0}
    priors = {**PRIORS, **SLOPES, "host_s": (HOST_S, 1.0)}
    base = base if base is None else base | {"split": SCALED_SPLIT}
    centre = np.array([_centre(name, priors[name][0], base) for name in names])
    spread = np.array([priors[name][1] for name in names])
    thin = [table.thinned(ROWS) for table in train]
    extra = [table.system for table in thin if table.system in UNGRAPHED]
    tail, types = np.log(UNGRAPHED_S), [table.type for table in thin]

    def objective(point: Array) -> Array:
        values = _to_values(point[: len(names)], names, fixed)
        parts = [(point[: len(names)] - centre) / spread, point[len(names) :] - tail]
        for table in thin:
            own = dict(values)
            if table.system in extra:
                own["host_s"] = float(np.exp(point[len(names) + extra.index(table.system)]))
            parts.append(_weighted(table, own, types.count(table.type)))
        return np.concatenate(parts)

    start = np.concatenate([centre, np.full(len(extra), tail)])
    point = least_squares(objective, start).x[: len(names)]
    if (
        base is not None
    ):  # devices differ as much as families: a few tables move the centre part way
        point = centre + (point - centre) * len(train) / (len(train) + 1)
    return _to_values(point, names, fixed)


def _centre(name: str, prior: float, base: Values | None) -> float:
    value = prior if base is None or not base.get(name) else base[name]
    return value if name in SLOPES else float(np.log(value))


def fit_group(family: str, members: Sequence[Table], common: Values) -> Values:
    """A generation's own values, from its tables, shrunk towards the common ones."""
    common = _hosted(members, common)
    names = [name for name in OWN if common[name] > 0 and (name, family) != ("quantise", "bf16")]
    centre = np.log([common[name] for name in names])
    spread = np.array([OWN_SD.get(name, OWN_SD_ELSE) for name in names])
    thin = [table.thinned(ROWS) for table in members]

    def objective(point: Array) -> Array:
        values = _to_values(point, names, common)
        parts = [(point - centre) / spread, *(_weighted(table, values) for table in thin)]
        return np.concatenate(parts)

    found = _to_values(least_squares(objective, centre).x, names, common)
    return {name: found[name] for name in names}


def _hosted(members: Sequence[Table], common: Values) -> Values:
    """The common values, with a host time to start from where no graph was captured."""
    bare = {table.system for table in members} & UNGRAPHED
    return common | {"host_s": UNGRAPHED_S} if bare else common


@cache
def common_without(family: str, left_out: str = "", model: str = "") -> Values:
    """Common values without one device type or model ("" for none), around those of `STARTS`."""
    keep = [table for table in tables_of(family, model) if table.type != left_out]
    start = STARTS[family]
    return fit_common(family, keep, common_without(start, left_out, model) if start else None)


def by_type(family: str, model: str = "") -> dict[str, list[Table]]:
    """Tables of one kernel family by device type, one model's layers left out."""
    found: dict[str, list[Table]] = {}
    for table in tables_of(family, model):
        found.setdefault(table.type, []).append(table)
    return found


@cache
def own_values(family: str, model: str = "") -> dict[str, Values]:
    """All values of every measured device type: the common ones under its own."""
    common = common_without(family, model=model)
    return {
        name: common | fit_group(family, members, common)
        for name, members in by_type(family, model).items()
    }


def fit() -> dict[str, Any]:
    """Fit everything on all tables."""
    names = [f"aiconfigurator/{system}_gemm.csv.gz" for system in systems_with("gemm")]
    return {
        "provenance": provenance(*names, V100, LAYERS),
        "families": {family: _family(family) for family in STARTS},
    }


def _family(family: str) -> dict[str, Any]:
    common, groups, inside = common_without(family), [], {}
    for name, members in by_type(family).items():
        values, spec = own_values(family)[name], members[0].spec
        own = {key: value for key, value in values.items() if key in OWN and value != common[key]}
        named = {"generation": spec.generation, "balance": balance(spec)}
        groups.append(named | {"values": own, "interval": seen_interval(family, name)})
        for table in members:
            off = np.abs(np.expm1(-table.residuals(values)))
            inside[table.system] = float(np.median(off))
    return {
        "common": common,
        "groups": groups,
        "in_sample_median_error": inside,
        "interval": unseen_interval(family),
    }


def unseen_interval(family: str, without: str = "") -> Interval:
    """Factors by regime on a device never measured, from every device left out in turn."""
    pools: Pools = {name: [] for name in REGIMES}
    for table in tables_of(family):
        if table.type == without:
            continue
        values = common_without(family, table.type)
        regimes = table.regimes(values)
        if table.system in UNGRAPHED:  # how they were timed says nothing of another device
            regimes = np.where(regimes == REGIMES.index("launch"), len(REGIMES), regimes)
        _share_out(pools, regimes, table.estimate(values), table.seconds)
    return _factors(pools)


def seen_interval(family: str, name: str) -> Interval:
    """Factors by regime on another board of the generation of device type `name`.

    Errors inside the fit stand for the rows. What a second board adds as a whole is taken to be
    half of what a new generation adds (no table has two boards of one generation), as the spread
    of a normal variable; the two add in squares.
    """
    pools: Pools = {regime: [] for regime in REGIMES}
    values = own_values(family)[name]
    for table in by_type(family)[name]:
        _share_out(pools, table.regimes(values), table.estimate(values), table.seconds)
    whole = [pair for pairs in pools.values() for pair in pairs]
    return {regime: _second_board(pairs or whole) for regime, pairs in pools.items()}


def _second_board(pairs: Sequence[tuple[Array, Array]]) -> tuple[float, float]:
    logs = np.concatenate([np.log(seconds / guess) for guess, seconds in pairs])
    low, high = np.quantile(logs, (0.05, 0.95))
    between = 1.645 * _bias() / 2
    return float(np.exp(-np.hypot(between, low))), float(np.exp(np.hypot(between, high)))


@cache
def _bias() -> float:
    """Typical (root mean square) bias of a generation left out of the bf16 fit, in logs."""
    left = [table.residuals(common_without("bf16", table.type)) for table in tables_of("bf16")]
    return float(np.sqrt(np.mean([np.median(residuals) ** 2 for residuals in left])))


def _share_out(pools: Pools, regimes: Any, estimate: Array, seconds: Array) -> None:
    for index, name in enumerate(REGIMES):
        part = regimes == index
        if part.sum() >= LEAST_ROWS:
            pools[name].append((estimate[part], seconds[part]))


def _factors(pools: Pools) -> Interval:
    whole = [pair for pairs in pools.values() for pair in pairs]
    return {name: transfer_interval(pairs or whole) for name, pairs in pools.items()}


def score() -> list[dict[str, Any]]:
    """Errors and interval coverage of every table, its device left out of the fit."""
    rows = []
    for table in (table for family in STARTS for table in tables_of(family)):
        values = common_without(table.dtype, table.type)
        bounds = unseen_interval(table.dtype, without=table.type)
        factors = np.log([bounds[name] for name in REGIMES])[table.regimes(values)]
        rows.append(
            {"table": f"gemm/{table.system}", "held_out": table.type, "dtype": table.dtype}
            | errors(table.residuals(values), factors[:, 0], factors[:, 1])
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
