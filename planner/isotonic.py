"""Places on a line as near as possible to wanted ones, in a given order and apart."""

from __future__ import annotations

from collections.abc import Sequence


def spread(
    wanted: Sequence[float], weights: Sequence[float], sizes: Sequence[float], gap: float
) -> list[float]:
    """Give the middles of things in a row that minimise the weighted squares of their moves.

    The order is kept and neighbours are at least `gap` apart. With the room they need taken out,
    this is isotonic regression, solved by pooling adjacent violators (Ayer et al. 1955) in O(n).
    """
    offsets, offset = [], 0.0
    for index, size in enumerate(sizes):
        offset += (size + sizes[index - 1]) / 2 + gap if index else 0.0
        offsets.append(offset)
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    # Invariant: the means of `pools` rise strictly.
    for middle, weight, before in zip(wanted, weights, offsets, strict=True):
        mean, total, count = middle - before, weight, 1
        while pools and pools[-1][0] >= mean:
            left, its_weight, its_count = pools.pop()
            mean = (mean * total + left * its_weight) / (total + its_weight)
            total, count = total + its_weight, count + its_count
        pools.append((mean, total, count))
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + before for mean, before in zip(means, offsets, strict=True)]
