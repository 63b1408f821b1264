"""Many moves at once where only whole assignments can be timed: a model that adds up single moves.

Each class's change of the end-to-end seconds, measured alone from one assignment, is taken to add up
with the others'. Choosing one device per class within the time left is then a chain to place, which
is solved exactly; whoever asks has to time the answer, since changes on parallel paths do not add.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gangline.ir.errors import InfeasibleError

from .place import place
from .problem import GraphProblem


def cheapest_sum(
    usd: Sequence[Sequence[float]], change_s: Sequence[Sequence[float]], room_s: float
) -> tuple[int, ...] | None:
    """Choose one device per class at least dollars, so that the changes add up to the room at most.

    Args:
        usd: by class and device; infinite where the class cannot run.
        change_s: seconds that moving the class there alone adds, negative where it saves.
        room_s: what all changes may add; negative where time has to be saved.

    Returns:
        A device per class; None where not even the fastest choice is in time.
    """
    price, seconds = np.array(usd, dtype=float), np.array(change_s, dtype=float)
    least = np.where(np.isfinite(price), seconds, np.inf).min(axis=1)
    left_s = room_s - float(least.sum())
    if left_s < 0.0:
        return None
    n = len(price)
    nothing = np.zeros((n - 1, 1, 1))
    chain = GraphProblem(
        names=[f"class {number}" for number in range(n)],
        usd=price,
        seconds=np.where(np.isfinite(price), seconds - least[:, None], np.inf),
        site_of=np.zeros(price.shape[1], dtype=np.intp),
        edges=np.stack([np.arange(n - 1), np.arange(1, n)], axis=1),
        transfer_s=nothing,
        transfer_usd=nothing,
        deadline_s=max(left_s, 1e-12),
    )
    try:
        return tuple(place(chain).assignment.tolist())
    except InfeasibleError:
        return None
