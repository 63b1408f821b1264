"""Keep the choices that no other choice beats in every respect."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def pareto_front(criteria: Array, tolerance: npt.ArrayLike = 0.0) -> npt.NDArray[np.bool_]:
    """Tell which rows are kept; less is better in every column of `criteria` [choices, criteria].

    A row goes if a kept one is no more than `tolerance` (relative, one or one per
    column) worse in every column. The
    first column decides between rows that beat each other within the tolerance. Rows with a
    value that is not finite go. Time is kept rows x rows x criteria.
    """
    worst = 1.0 + np.asarray(tolerance, dtype=float)
    kept = np.zeros(len(criteria), dtype=bool)
    finite = np.isfinite(criteria).all(axis=1)
    left = np.flatnonzero(finite)
    left = left[np.lexsort(criteria[left].T[::-1])]
    # Invariant: no kept row beats a row of `left`, and `left` is sorted by the first criterion.
    while left.size:
        best, left = left[0], left[1:]
        kept[best] = True
        beaten = (criteria[best] <= criteria[left] * worst).all(axis=1)
        left = left[~beaten]
    return kept
