"""Interval helpers: quantile ratios, transfer to a device not seen, Winkler's score."""

from __future__ import annotations

import numpy as np
import pytest

from gangline.planner.costs.interval import (
    errors,
    long_error,
    ratio_interval,
    transfer_interval,
    winkler,
)


def lognormal(middle: float, sigma: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of 1 beside actual values around `middle`."""
    drawn = middle * np.exp(sigma * np.random.default_rng(seed).standard_normal(4000))
    return np.ones(4000), drawn


def test_ratios_hold_ninety_percent_and_the_estimate() -> None:
    predicted, actual = lognormal(1.0, 0.2, 1)
    low, high = ratio_interval(predicted, actual)
    assert low == pytest.approx(np.exp(-1.645 * 0.2), rel=0.03)
    assert high == pytest.approx(np.exp(1.645 * 0.2), rel=0.03)
    # Rows that all lie above the estimate still leave it inside.
    low, high = ratio_interval(*lognormal(2.0, 0.01, 1))
    assert low == 1.0 and high > 1.9


def test_widening_multiplies_the_logarithm() -> None:
    predicted, actual = lognormal(1.0, 0.2, 1)
    narrow, wide = (ratio_interval(predicted, actual, widen=by) for by in (1.0, 2.0))
    assert wide == pytest.approx((narrow[0] ** 2, narrow[1] ** 2))


def test_few_devices_that_differ_say_little_of_the_next() -> None:
    alike = [lognormal(1.0, 0.1, seed) for seed in range(4)]
    differing = [lognormal(middle, 0.1, 5) for middle in (0.7, 0.9, 1.2, 1.4)]
    calm, wild = transfer_interval(alike), transfer_interval(differing)
    assert calm[1] == pytest.approx(np.exp(1.645 * 0.1), rel=0.05)
    assert wild[0] < 0.7 and wild[1] > 1.5
    # The same spread over more devices is better known.
    assert transfer_interval(differing * 4)[1] < wild[1]


def test_winkler_pays_for_width_and_more_for_misses() -> None:
    inside = winkler([1.0], [0.5], [2.0])[0]
    assert inside == pytest.approx(np.log(4.0))
    assert winkler([4.0], [0.5], [2.0])[0] == pytest.approx(inside + 20.0 * np.log(2.0))
    # Twice too high counts as twice too low.
    assert winkler([0.25], [0.5], [2.0])[0] == pytest.approx(inside + 20.0 * np.log(2.0))


def test_errors_count_rows_coverage_and_long_calls() -> None:
    found = errors([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 0.5, 10.0], (0.4, 3.0))
    assert found["rows"] == 4 and found["coverage"] == 0.75
    assert found["median_error"] == pytest.approx(0.7)
    assert long_error([1e-6, 2e-4], [2e-6, 1e-4]) == {"long_error": pytest.approx(1.0)}
    assert long_error([1e-6], [2e-6]) == {}
