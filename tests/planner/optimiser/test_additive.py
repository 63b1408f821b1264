"""The additive model chooses the cheapest devices whose changes fit the room."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gangline.planner.optimiser.additive import cheapest_sum


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_best_of_all_choices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes, devices = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    usd = rng.integers(1, 9, (classes, devices)).astype(float)
    usd[rng.random(usd.shape) < 0.2] = math.inf
    usd[:, 0] = 9.0
    change = rng.integers(-5, 6, usd.shape).astype(float)
    room = float(rng.integers(-12, 6))
    every = itertools.product(range(devices), repeat=classes)
    sums = [
        (sum(usd[k, d] for k, d in enumerate(one)), sum(change[k, d] for k, d in enumerate(one)))
        for one in every
    ]
    least = min((cost for cost, seconds in sums if seconds <= room), default=math.inf)
    found = cheapest_sum(usd.tolist(), change.tolist(), room)
    if not math.isfinite(least):
        assert found is None
        return
    assert found is not None
    assert sum(change[k, d] for k, d in enumerate(found)) <= room + 1e-6
    assert sum(usd[k, d] for k, d in enumerate(found)) == pytest.approx(least)
