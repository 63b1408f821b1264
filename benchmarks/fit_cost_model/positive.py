"""Least squares over positive constants, each held near a start by a stated spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def fit_positive(
    residuals: Callable[[Mapping[str, float]], Array],
    start: Mapping[str, float],
    spread: Mapping[str, float],
    bounds: Mapping[str, tuple[float, float]],
) -> dict[str, float]:
    """Fit constants on a log scale so that `residuals` (log predicted over measured) are small.

    Residuals weigh as soft absolute values beyond 10 %, so that a few odd rows do not rule.
    Each constant also pays ((log value - log start) / spread)^2, as one row would: constants that
    the rows say nothing about stay at their start, and what they learn carries over better.
    """
    from scipy.optimize import least_squares

    names = sorted(start)
    first = np.log([start[name] for name in names])
    width = np.array([spread[name] for name in names])
    low = np.log([bounds[name][0] for name in names])
    high = np.log([bounds[name][1] for name in names])

    def off(logs: Array) -> Array:
        found = dict(zip(names, np.exp(logs).tolist(), strict=True))
        return np.concatenate([residuals(found), (logs - first) / width])

    bounded = (low - 1e-9, high + 1e-9)
    best = least_squares(off, first, bounds=bounded, loss="soft_l1", f_scale=0.1)
    return {name: float(value) for name, value in zip(names, np.exp(best.x).tolist(), strict=True)}


def thin(count: int, most: int) -> npt.NDArray[np.intp]:
    """Choose at most `most` of `count` rows, the same ones on every run."""
    return np.sort(np.random.default_rng(0).permutation(count)[:most])
