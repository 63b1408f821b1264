"""Interval helpers: ratios that measured values lie between, and how good stated intervals are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

COVER = 0.9
"""Share of measurements that every interval of the cost model is meant to hold."""


class Estimate(NamedTuple):
    """One estimate with its 90 % interval and what it rests on.

    `source` is `measured` (a table's own row), `fitted` (constants of the device's generation)
    or `spec` (constants of other generations, scaled by the figures of the device's row).
    `fits` is False where weights or one request exceed the memory of a deployment; an array where
    several were asked for.
    """

    mid: Array
    low: Array
    high: Array
    source: str
    fits: bool | npt.NDArray[np.bool_] = True


def ratio_interval(
    predicted: npt.ArrayLike, actual: npt.ArrayLike, *, widen: float = 1.0
) -> tuple[float, float]:
    """Ratios (low, high) of actual over predicted that hold 90 % of the rows.

    `widen` multiplies the distance from 1 on a log scale, for constants that will be used on a
    device other than those the rows were taken on.
    """
    ratio = np.log(np.asarray(actual, float) / np.asarray(predicted, float))
    ends = np.quantile(ratio, [(1.0 - COVER) / 2.0, (1.0 + COVER) / 2.0])
    low, high = np.exp(np.minimum(ends[0], 0.0) * widen), np.exp(np.maximum(ends[1], 0.0) * widen)
    return float(low), float(high)


def transfer_interval(groups: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]]) -> tuple[float, float]:
    """Ratios (low, high) of actual over predicted on a device that was in no group.

    Each group holds (predicted, actual) of one device predicted by constants of the others. What
    devices differ by as a whole is a sample of so many devices, so its spread about 0 is widened by
    Student's t for that number (at least two are counted, a single one says too little); what rows
    differ by within a device is their quantiles. The two add in squares on a log scale.
    """
    from scipy.stats import t as student

    logs = [
        np.log(np.asarray(actual, float) / np.asarray(guess, float)) for guess, actual in groups
    ]
    middles = np.array([np.median(log) for log in logs])
    count = max(len(logs), 2)
    spread = float(np.sqrt(np.mean(middles**2)) * np.sqrt(1.0 + 1.0 / count))
    between = min(float(student.ppf((1.0 + COVER) / 2.0, count)), 3.0) * spread
    within = np.concatenate([log - middle for log, middle in zip(logs, middles, strict=True)])
    low, high = np.quantile(within, [(1.0 - COVER) / 2.0, (1.0 + COVER) / 2.0])
    return float(np.exp(-np.hypot(between, low))), float(np.exp(np.hypot(between, high)))


def winkler(
    actual: npt.ArrayLike, low: npt.ArrayLike, high: npt.ArrayLike, *, cover: float = COVER
) -> Array:
    """Winkler's interval score per row: width, plus 2/(1-cover) times what falls outside.

    Source: R. L. Winkler, JASA 67 (1972). Smaller is better. Of logarithms, so that rows of
    different size weigh alike, and too low as much as too high.
    """
    ends = (np.log(np.asarray(value, dtype=float)) for value in (actual, low, high))
    true, least, most = ends
    miss = np.maximum(least - true, 0.0) + np.maximum(true - most, 0.0)
    found: Array = (most - least) + 2.0 / (1.0 - cover) * miss
    return found


LONG_S = 5e-5
"""Calls from here on are ruled by bytes and products rather than by launches."""


def long_error(predicted: npt.ArrayLike, actual: npt.ArrayLike) -> dict[str, float]:
    """Median relative error of the calls of 50 us and more, if there are any."""
    predicted, actual = np.asarray(predicted, dtype=float), np.asarray(actual, dtype=float)
    off = np.abs(predicted / actual - 1.0)[actual >= LONG_S]
    return {"long_error": float(np.median(off))} if off.size else {}


def errors(
    predicted: npt.ArrayLike, actual: npt.ArrayLike, ratios: tuple[float, float] | None = None
) -> dict[str, float]:
    """Median and p90 of the relative error, and how an interval of `ratios` fares on the rows."""
    predicted, actual = np.asarray(predicted, dtype=float), np.asarray(actual, dtype=float)
    off = np.abs(predicted / actual - 1.0)
    found: dict[str, float] = {
        "rows": int(off.size),
        "median_error": float(np.median(off)),
        "p90_error": float(np.quantile(off, 0.9)),
    }
    if ratios is None:
        return found
    low, high = predicted * ratios[0], predicted * ratios[1]
    return found | {
        "coverage": float(np.mean((actual >= low) & (actual <= high))),
        "median_width": ratios[1] - ratios[0],
        "winkler": float(np.mean(winkler(actual, low, high))),
    }
