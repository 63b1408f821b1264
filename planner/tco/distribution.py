"""A distribution of tokens or seconds as equally likely sorted values, heavy tails kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from gangline.ir.errors import ConfigError
from gangline.planner.profile import NORMAL_95, Amount

Array = npt.NDArray[np.float64]

NUM_VALUES = 64
"""Values a distribution is kept in: the last stands for the slowest 1.6 %."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Equally likely values, smallest first."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Arithmetic mean."""
        return math.fsum(self.values) / len(self.values)

    @property
    def scv(self) -> float:
        """Squared coefficient of variation: variance / mean^2; 0 for a constant."""
        mean = self.mean
        if mean <= 0.0:
            return 0.0
        return math.fsum((value / mean - 1.0) ** 2 for value in self.values) / len(self.values)

    def quantile(self, share: float) -> float:
        """Value that `share` of all lie below, interpolated."""
        return float(np.quantile(self.values, share))

    @classmethod
    def constant(cls, value: float) -> Distribution:
        """Give a value that is always the same."""
        return cls((float(value),))

    @classmethod
    def of(cls, samples: Iterable[float]) -> Distribution:
        """Summarise measured values by their quantiles; the mean is kept exactly."""
        data = np.sort(np.fromiter(samples, dtype=float))
        if not data.size or not np.isfinite(data).all() or data[0] < 0.0:
            raise ConfigError(
                "A distribution needs values of 0 or more, all of them finite",
                next_step="Remove empty or negative rows.",
            )
        if data.size <= NUM_VALUES:
            return cls(tuple(float(value) for value in data))
        return _slices(data, np.full(data.size, 1.0 / data.size))

    @classmethod
    def of_amount(cls, amount: Amount) -> Distribution:
        """Give the log-normal with an amount's mean and the ratio of its 5 % and 95 % bounds.

        With a low bound of 0 the ratio of the high bound and the mean decides.
        """
        if amount.mean <= 0.0 or amount.high <= amount.low:
            return cls.constant(max(amount.mean, 0.0))
        if amount.low > 0.0:
            sigma = math.log(amount.high / amount.low) / (2.0 * NORMAL_95)
        else:
            sigma = math.log(max(amount.high / amount.mean, 1.0 + 1e-9)) / NORMAL_95
        normal = NormalDist()
        middles = ((index + 0.5) / NUM_VALUES for index in range(NUM_VALUES))
        raw = [math.exp(sigma * normal.inv_cdf(share)) for share in middles]
        scale = amount.mean * NUM_VALUES / math.fsum(raw)
        return cls(tuple(scale * value for value in raw))

    @classmethod
    def mix(cls, parts: Sequence[tuple[float, Distribution]]) -> Distribution:
        """Give what results when part i is drawn with a probability proportional to weight i."""
        weights = np.concatenate(
            [np.full(len(part.values), weight / len(part.values)) for weight, part in parts]
        )
        values = np.concatenate([part.values for _, part in parts])
        if weights.sum() <= 0.0 or len(parts) == 1:
            return parts[0][1]
        order = np.argsort(values, kind="stable")
        return _slices(values[order], weights[order] / weights.sum())


def _slices(values: Array, weights: Array) -> Distribution:
    """Average sorted weighted values over `NUM_VALUES` slices of equal weight.

    That keeps the mean of all, and the weight of the tail in the last one.
    """
    ends = np.concatenate(([0.0], np.cumsum(weights)))
    totals = np.concatenate(([0.0], np.cumsum(weights * values)))
    edges = np.linspace(0.0, ends[-1], NUM_VALUES + 1)
    means = np.diff(np.interp(edges, ends, totals)) / np.diff(edges)
    return Distribution(tuple(float(value) for value in means))
