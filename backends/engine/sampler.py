"""Choose the next token from logits: greedy, or by temperature and nucleus, seeded."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gangline.ir.specs.request import SamplingParams

NUCLEUS_CANDIDATES = 256
"""The nucleus is looked for among this many most likely tokens before everything is sorted."""


class Sampler:
    """Draws of one request; the n-th draw depends on the seed, n and the logits only."""

    def __init__(self, params: SamplingParams) -> None:
        self._temperature = params.temperature
        self._top_p = params.top_p
        self._seed = params.seed % (1 << 64)
        self._draws = 0

    def choose(self, logits: Tensor) -> int:
        """Pick a token id from float32 logits [vocab]; -inf is never picked."""
        if self._temperature <= 0:
            return int(logits.argmax())
        scaled = logits / self._temperature
        probabilities = torch.softmax(scaled.double(), dim=-1)
        if self._top_p >= 1:
            return _inverse(probabilities, self._uniform())
        return _nucleus(probabilities, self._top_p, self._uniform())

    def _uniform(self) -> float:
        # A counter-based generator: no state to keep in step when requests are pre-empted.
        generator = np.random.Generator(np.random.Philox(key=self._seed, counter=self._draws))
        self._draws += 1
        return float(generator.random())


def _inverse(probabilities: Tensor, uniform: float) -> int:
    """Pick the first index where the running sum exceeds `uniform` of the total."""
    sums = probabilities.cumsum(0)
    place = int(torch.searchsorted(sums, sums[-1] * uniform, right=True))
    if place < len(sums) and float(probabilities[place]) > 0:
        return place
    return int(probabilities.nonzero()[-1])  # rounding put the draw at or past the end


def _nucleus(probabilities: Tensor, top_p: float, uniform: float) -> int:
    count = min(NUCLEUS_CANDIDATES, len(probabilities))
    best, indices = probabilities.topk(count)
    if float(best.sum()) < top_p:
        best, indices = probabilities.sort(descending=True, stable=True)
    # A token stays while those more likely than it do not yet reach top_p together.
    before = best.cumsum(0) - best
    kept = best * (before < top_p)
    return int(indices[_inverse(kept, uniform)])
