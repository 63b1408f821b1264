"""Clocks: the only places time comes from."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tell the time in seconds since the epoch; never steps back."""

    def now(self) -> float:
        """Give the current time in seconds."""
        ...


class WallClock:
    """Real time: the epoch read once, then advanced by the monotonic clock.

    A change of the system's time therefore never makes a step end before it started.
    """

    def __init__(self) -> None:
        self._origin_s = time.time() - time.monotonic()

    def now(self) -> float:
        """Give the current time in seconds since the epoch."""
        return self._origin_s + time.monotonic()


class VirtualClock:
    """Time that moves only when told to."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s

    def now(self) -> float:
        """Give the current virtual time in seconds."""
        return self._now_s

    def advance_to(self, at_s: float) -> None:
        """Move to `at_s`; ValueError if that is in the past."""
        if at_s < self._now_s:
            raise ValueError(f"virtual time cannot go back from {self._now_s} to {at_s}")
        self._now_s = at_s
