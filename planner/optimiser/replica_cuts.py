"""Rows that hold for whole nodes on whole replicas and cut off a fractional solution.

Mixed-integer rounding of "the replicas hold the work", the shares of chosen nodes complemented
(H. Marchand, L. Wolsey, Aggregation and mixed integer rounding to solve MIPs, 2001): where a_j z_j
sum to at least b over whole z_j >= 0 and f = b - floor(b) > 0, so do
(floor(a_j) + min(1, (a_j - floor(a_j)) / f)) z_j to ceil(b).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .problem import Array

MULTIPLES = (1.0, 2.0, 3.0)
"""Times which a row is taken before it is rounded."""

VIOLATED = 1e-3
"""Replicas by which a solution must break a row for the row to be worth its place."""

LEAST_PART = 0.05
"""Least f: rounding by less makes coefficients too large to solve well."""


@dataclass(frozen=True, slots=True)
class Cut:
    """`replicas` y[device] + `share` . x[:, device] >= `least`, share [n]."""

    device: int
    replicas: float
    share: Array
    least: float


def cuts(work: Array, share: Array, replicas: Array) -> list[Cut]:
    """Give the most violated row of each device type, where there is one.

    Args:
        work: replicas each node fills by device type, [n, D].
        share, replicas: the fractional solution, [n, D] and [D].
    """
    found = []
    for device in range(len(replicas)):
        tried = (
            _most_violated(multiple, device, work[:, device], share[:, device], replicas[device])
            for multiple in MULTIPLES
        )
        violated, cut = max(tried, key=lambda pair: pair[0])
        if violated > VIOLATED and cut is not None:
            found.append(cut)
    return found


def _most_violated(
    multiple: float, device: int, work: Array, share: Array, replicas: float
) -> tuple[float, Cut | None]:
    """Complement the largest shares, one more each time, and round: the best of all, per y."""
    order = np.argsort(-share, kind="stable")
    order = order[: int((share > 0.0).sum())]
    best, cut = 0.0, None
    chosen = np.zeros(len(share), dtype=np.bool_)
    for node in order:
        chosen[node] = True
        to = multiple * float(work[chosen].sum())
        part = to - np.floor(to)
        if part < LEAST_PART:
            continue
        scaled = multiple * work
        inside, outside = _rounded(scaled, part), _rounded(-scaled, part)
        coefficient = np.where(chosen, -inside, outside)
        least = np.ceil(to) - float(inside[chosen].sum())
        violated = (least - multiple * replicas - float(coefficient @ share)) / multiple
        if violated > best:
            best, cut = violated, Cut(device, multiple, coefficient, least)
    return best, cut


def _rounded(values: Array, part: float) -> Array:
    below = np.floor(values)
    rounded: Array = below + np.minimum(1.0, (values - below) / part)
    return rounded
