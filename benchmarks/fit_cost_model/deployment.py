"""Constants, engines and intervals of deployments, and how they fare on what was left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gangline.planner.costs.interval import COVER, errors
from gangline.planner.costs.step import PARTS

from .data import provenance
from .deployment_fit import LOOP, SEND, Fitted, Table, fit_constants, predicted, table
from .deployment_rows import TABLE

Array = npt.NDArray[np.float64]

WIDEN = 1.3
"""Factor of an interval's log width on generations without a measured deployment: a choice, no
data can tell; between the errors left out within and across generations."""

HELD_OUT = (("b200_sxm", "b300_sxm"), ("b200_sxm",), ("b300_sxm",), ("h200_sxm",), ("gb300",))
"""Devices left out together; B300 is close to B200, so both are left out once."""

ENOUGH = 100
"""Rows below which a fit is not tried."""

QUANTITIES = ("ttft", "tpot")
ENGINES = ("vllm", "sglang", "trtllm")


_FITS: dict[tuple[int, bytes], Fitted] = {}


def fitted_once(data: Table, chosen: npt.NDArray[np.bool_]) -> Fitted:
    """Fit the chosen rows; remember it, as leaving A out and then B is leaving B out and then A."""
    key = (id(data), chosen.tobytes())
    if key not in _FITS:
        _FITS[key] = fit_constants(data, chosen)
    return _FITS[key]


def left_out(data: Table, by: npt.NDArray[Any], among: npt.NDArray[Any]) -> Array:
    """Log of measured over predicted (ttft, tpot) of rows of a group that the fit never saw.

    Args:
        by: group of each row (its device, or its model); each is left out once.
        among: rows to use at all, shape [rows].

    Returns:
        Shape [rows, 2]; NaN for rows not used and where too few rows are left to fit.
    """
    off = np.full((len(data.rows), 2), np.nan)
    for group in np.unique(by[among]):
        out = (by == group) & among
        if np.count_nonzero(among & ~out) < ENOUGH:
            continue
        values = fitted_once(data, among & ~out).values
        at = np.flatnonzero(out)
        off[at] = np.log(_measured(data, at) / np.stack(predicted(data, values, at), axis=-1))
    return off


def _measured(data: Table, at: npt.NDArray[Any]) -> Array:
    return np.stack([data.ttft[at], data.tpot[at]], axis=-1)


def intervals(data: Table, among: npt.NDArray[Any]) -> dict[str, dict[str, tuple[float, float]]]:
    """Ratios that 90 % of left-out rows lie between, by family and mode, and quantity.

    An end is the mean (of logs) of two: that of the kind's own rows and that of all rows, which
    holds what few devices and models of one kind cannot show. Each is the wider of what it is
    with the row's device left out and with its model left out.
    """
    model = np.array([row.shape.name for row in data.rows])
    off = [left_out(data, by, among) for by in (data.column("system"), model)]
    family, mode = data.column("family"), data.column("mode")
    wide = _widest(off, data.kind, among)
    assert wide is not None
    found = {}
    for apart in ("agg", "disagg"):
        for kind in ("dense", "moe_mla"):
            near = _widest(off, data.kind, (mode == apart) & (family == kind))
            ends = np.exp(0.5 * (wide + (wide if near is None else near))).tolist()
            found[f"{kind}_{apart}"] = {
                quantity: (low, high)
                for quantity, (low, high) in zip(QUANTITIES, ends, strict=True)
            }
    return found


FEW = 20
"""Rows below which no interval is read off them."""


def _widest(off: Sequence[Array], kind: npt.NDArray[Any], here: npt.NDArray[Any]) -> Array | None:
    """Widest ends of log errors over several ways of leaving out, shape [quantities, 2].

    Rows weigh by the root of how many share device, model and mode. None where rows are few.
    """
    found = []
    for errors_of in off:
        known = here & ~np.isnan(errors_of[:, 0])
        if np.count_nonzero(known) < FEW:
            continue
        _, inverse, counts = np.unique(kind[known], return_inverse=True, return_counts=True)
        weights = counts[inverse] ** -0.5
        tails = ((1.0 - COVER) / 2.0, (1.0 + COVER) / 2.0)
        columns = errors_of[known].T
        found.append(
            [np.quantile(c, tails, weights=weights, method="inverted_cdf") for c in columns]
        )
    if not found:
        return None
    low, high = np.min(found, axis=0)[:, 0], np.max(found, axis=0)[:, 1]
    return np.stack([np.minimum(low, 0.0), np.maximum(high, 0.0)], axis=-1)


def engine_settings(data: Table, fitted: Fitted) -> dict[str, dict[str, float]]:
    """What a named engine changes: iterations before the first token, factor of the others.

    Medians, the first over the engine's series, the second over models and devices, so that a
    pair with many runs counts once.
    """
    at = np.arange(len(data.rows))
    off = np.log(data.tpot / predicted(data, fitted.values, at)[1])
    engine, found = data.column("engine"), {}
    for name in ENGINES:
        own = engine == name
        steps = [fitted.send_steps[number] for number in np.unique(data.series[own]).tolist()]
        kinds = [off[own & (data.kind == kind)] for kind in np.unique(data.kind[own])]
        middles = [np.median(rows_of) for rows_of in kinds if len(rows_of) >= 5]
        found[name] = {SEND: float(np.median(steps)), "tpot": float(np.exp(np.median(middles)))}
    return found


def fit() -> dict[str, Any]:
    """Give the constants fitted on all rows, intervals from left-out devices, and provenance."""
    data = table()
    every = np.ones(len(data.rows), dtype=bool)
    fitted = fit_constants(data, every)
    values = fitted.values
    own = sorted({name for name in values if "." in name})
    generations: dict[str, dict[str, float]] = {}
    for name in own:
        made, constant = name.split(".")
        generations.setdefault(made, {})[constant] = values[name]
    return {
        "step": {name: values[name] for name in PARTS},
        "loop": {name: values[name] for name in LOOP},
        "generations": generations,
        "engines": engine_settings(data, fitted),
        "intervals": _with_unknown(intervals(data, every)),
        "provenance": provenance(TABLE) | {"runs": len(data.rows)},
    }


def _with_unknown(
    ratios: dict[str, dict[str, tuple[float, float]]],
) -> dict[str, dict[str, dict[str, tuple[float, float]]]]:
    """Give every interval a wider one beside it, for generations without a measured run."""
    return {
        kind: {
            quantity: {"known": ends, "unknown": (ends[0] ** WIDEN, ends[1] ** WIDEN)}
            for quantity, ends in found.items()
        }
        for kind, found in ratios.items()
    }


def score() -> list[dict[str, Any]]:
    """Rows of errors and intervals, device by device and model by model left out."""
    data = table()
    system = data.column("system")
    name = np.array([row.shape.name for row in data.rows])
    splits = [("device", "+".join(split), np.isin(system, split)) for split in HELD_OUT]
    splits += [("model", str(model), name == model) for model in np.unique(name)]
    found: list[dict[str, Any]] = []
    for by, label, out in splits:
        values = fitted_once(data, ~out).values
        found += _scored(data, values, intervals(data, ~out), by, label, np.flatnonzero(out))
    return found + _each_once(data)


def _each_once(data: Table) -> list[dict[str, Any]]:
    """Errors of all rows, each predicted by the fit that left its device (or model) out."""
    every = np.ones(len(data.rows), dtype=bool)
    model = np.array([row.shape.name for row in data.rows])
    kinds = np.array([f"{row.family}_{row.mode}" for row in data.rows])
    found = []
    for by, groups in (("device", data.column("system")), ("model", model)):
        off = left_out(data, groups, every)
        for kind in sorted(set(kinds.tolist())):
            here = (kinds == kind) & ~np.isnan(off[:, 0])
            for column, quantity in enumerate(QUANTITIES):
                ratio = np.exp(-off[here, column])
                row = {"table": TABLE, "left_out": by, "held_out": "each in turn", "op": quantity}
                found.append(row | {"family": kind} | errors(ratio, np.ones(ratio.size)))
    return found


def _scored(
    data: Table,
    values: Mapping[str, float],
    ratios: Mapping[str, Mapping[str, tuple[float, float]]],
    by: str,
    label: str,
    at: npt.NDArray[Any],
) -> list[dict[str, Any]]:
    middle = np.stack(predicted(data, values, at), axis=-1)
    measured, found = _measured(data, at), []
    kinds = np.array([f"{data.rows[row].family}_{data.rows[row].mode}" for row in at])
    for kind in sorted(set(kinds.tolist())):
        here = kinds == kind
        for column, quantity in enumerate(QUANTITIES):
            ends = ratios[kind][quantity]
            row = {
                "table": TABLE,
                "left_out": by,
                "held_out": label,
                "op": f"{quantity}_{'disagg' if kind.endswith('disagg') else 'agg'}",
                "family": "dense" if kind.startswith("dense") else "moe_mla",
            }
            found.append(row | errors(middle[here, column], measured[here, column], ends))
    return found
