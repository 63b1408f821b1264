"""Correct estimates by what was measured: ratios of actual to modelled seconds.

A ratio belongs to (device group, op, model), so that a stage never run before profits from other
stages of the same model on the same device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

MIN_SPREAD = 1.15
"""A 90 % interval is never narrower than x/÷ this: runs differ more than a few samples show."""

PRIOR_SPREAD = 1.6
"""x/÷ spread that one sample alone is trusted with; it shrinks with the root of the count."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Actual over modelled seconds: the median, and a 90 % interval around it."""

    typical: float
    low: float
    high: float
    num_samples: int

    @classmethod
    def of(cls, ratios: Iterable[float]) -> Ratio:
        """Summarise measured ratios; needs at least one, all positive."""
        data = np.fromiter(ratios, dtype=float)
        typical = float(np.median(data))
        spread = max(MIN_SPREAD, 1.0 + (PRIOR_SPREAD - 1.0) / float(np.sqrt(len(data))))
        low, high = (float(bound) for bound in np.quantile(data, (0.05, 0.95)))
        return cls(typical, min(low, typical / spread), max(high, typical * spread), len(data))


Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Measured ratios by (device group name, op, model name)."""

    ratios: Mapping[Key, Ratio] = field(default_factory=dict)

    def ratio(self, device: str, op: str, model: str) -> Ratio | None:
        """Find the measured ratio, or None where nothing was measured."""
        return self.ratios.get((device, op, model))


def calibrate(measured: Iterable[tuple[Key, float, float]]) -> Calibration:
    """Make a calibration from (key, actual seconds, modelled seconds); zeros are left out."""
    found: dict[Key, list[float]] = {}
    for key, actual_s, modelled_s in measured:
        if actual_s > 0.0 and modelled_s > 0.0:
            found.setdefault(key, []).append(actual_s / modelled_s)
    return Calibration({key: Ratio.of(ratios) for key, ratios in found.items()})
