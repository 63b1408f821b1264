"""Clocks never step back."""

from __future__ import annotations

import time

import pytest

from gangline.runtime.clock import VirtualClock, WallClock


def test_wall_clock_ignores_a_changed_system_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = WallClock()
    before = clock.now()
    assert abs(before - time.time()) < 5.0
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert clock.now() >= before


def test_virtual_clock_moves_when_told() -> None:
    clock = VirtualClock(5.0)
    clock.advance_to(7.5)
    assert clock.now() == 7.5
    with pytest.raises(ValueError, match="back"):
        clock.advance_to(7.0)
