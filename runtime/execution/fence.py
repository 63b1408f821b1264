"""Whether this process may act for the jobs it holds: not after its lease ran out unnoticed.

A process that was stopped (a machine that slept, a debugger) does not know that time has passed:
others may have taken its jobs, and may have run the very steps it is about to run. The store
refuses what it records then; this keeps it from calling tools before it has looked.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_s() -> float:
    """Give seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return time.clock_gettime(_CLOCK)


class Fence:
    """Open while the lease lasts. Lives on the loop, but for `is_open` and `pass_through`.

    Attributes:
        until_s: when it closes, by `now_s`; a process that holds no leases is never fenced off.
        look: has the lease looked at, and `open_until` called when that went well.
    """

    def __init__(self) -> None:
        self.until_s = math.inf
        self.look: Callable[[], object] = lambda: None
        self._waiting: list[Callable[[], object]] = []

    @property
    def is_open(self) -> bool:
        """Say whether calls may be made now."""
        return self.until_s == math.inf or now_s() < self.until_s

    def open_until(self, until_s: float) -> None:
        """Keep it open until then; what waits for it goes on."""
        self.until_s = until_s
        waiting, self._waiting = self._waiting, []
        for go_on in waiting:
            go_on()

    def wait(self, go_on: Callable[[], object]) -> None:
        """Have `go_on` called once it is open."""
        self._waiting.append(go_on)
        if len(self._waiting) == 1:
            self.look()

    def pass_through(self, post: Callable[..., None], given_up: Callable[[], bool]) -> bool:
        """Wait on a worker thread until it is open; False if the call is not wanted any more."""
        while not self.is_open and not given_up():
            opened = threading.Event()
            post(self.wait, opened.set)
            opened.wait()
        return not given_up()
