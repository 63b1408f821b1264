"""Draws follow the distribution, and depend on the seed, the draw's number and the logits only."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from gangline.backends.engine.sampler import Sampler
from gangline.ir.specs.request import SamplingParams

LOGITS = torch.tensor([2.0, 1.0, 0.0, float("-inf"), -1.0])


def _draw(count: int, logits: torch.Tensor = LOGITS, **params: float) -> list[int]:
    sampler = Sampler(SamplingParams(count, **params))  # type: ignore[arg-type]
    return [sampler.choose(logits) for _ in range(count)]


def test_greedy_takes_the_largest() -> None:
    assert _draw(3) == [0, 0, 0]


def test_frequencies_follow_the_softmax() -> None:
    counts = Counter(_draw(4000, temperature=1.0, seed=5))
    expected = torch.softmax(LOGITS, 0)
    assert counts[3] == 0
    for token in (0, 1, 2, 4):
        assert counts[token] / 4000 == pytest.approx(float(expected[token]), abs=0.03)


def test_a_seed_gives_the_same_draws_and_another_gives_others() -> None:
    first = _draw(30, temperature=1.0, seed=1)
    assert first == _draw(30, temperature=1.0, seed=1)
    assert first != _draw(30, temperature=1.0, seed=2)
    assert len(set(first)) > 1  # the n-th draw differs from the first


def test_negative_and_huge_seeds_are_accepted() -> None:
    assert _draw(1, temperature=1.0, seed=-1) and _draw(1, temperature=1.0, seed=1 << 80)


def test_the_nucleus_leaves_the_tail_out() -> None:
    # softmax: 0.63, 0.23, 0.09, 0, 0.03: 0.7 is reached by the first two.
    assert set(_draw(500, temperature=1.0, top_p=0.7)) == {0, 1}
    assert set(_draw(50, temperature=1.0, top_p=0.01)) == {0}


def test_a_nucleus_wider_than_the_candidates_is_still_right() -> None:
    flat = torch.zeros(2000)
    assert len(set(_draw(400, flat, temperature=1.0, top_p=0.99))) > 300


def test_low_temperature_approaches_greedy() -> None:
    assert set(_draw(50, temperature=0.01)) == {0}


@pytest.mark.parametrize("top_p", [0.5, 1.0])
def test_a_single_allowed_token_is_taken(top_p: float) -> None:
    logits = torch.full((300,), float("-inf"))
    logits[217] = -40.0
    assert set(_draw(20, logits, temperature=2.0, top_p=top_p)) == {217}
