"""The collector of a server: quieter while it serves, as it was afterwards, and still at work."""

from __future__ import annotations

import gc
import weakref

from gangline.runtime.server.collector import THRESHOLDS, quiet_collector


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


def test_it_is_quiet_for_a_while_and_still_collects() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with quiet_collector():
        assert gc.get_threshold() == THRESHOLDS and gc.isenabled()
        assert gc.get_freeze_count() > frozen
        knot = Knot()
        gone = weakref.ref(knot)
        del knot
        kept = [[] for _ in range(2 * THRESHOLDS[0])]  # type: list[list[int]]
        assert gone() is None and kept
    assert gc.get_threshold() == before and gc.get_freeze_count() == 0
