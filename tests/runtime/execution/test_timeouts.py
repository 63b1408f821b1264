"""Time limits on a loop whose time moves by hand."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any

from gangline.runtime.execution.timeouts import Timeouts


class HandLoop:
    """The part of a loop that timers use, in virtual time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.num_timers = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, function: Callable[..., None], *args: Any) -> None:
        self.num_timers += 1
        heapq.heappush(self._heap, (at, next(self._order), function, args))

    def call_later(self, delay: float, function: Callable[..., None], *args: Any) -> None:
        self.call_at(self.now + delay, function, *args)

    def run_until(self, at: float) -> None:
        while self._heap and self._heap[0][0] <= at:
            self.now, _, function, args = heapq.heappop(self._heap)
            function(*args)
        self.now = at


def made() -> tuple[HandLoop, Timeouts, list[str]]:
    loop = HandLoop()
    return loop, Timeouts(loop), []  # type: ignore[arg-type]


def test_each_call_runs_out_at_its_own_time() -> None:
    loop, timeouts, out = made()
    for name, start in (("a", 100.0), ("b", 101.0), ("c", 104.0)):
        loop.run_until(start)
        timeouts.add(name, 5.0, lambda name=name: out.append(f"{name}@{loop.now:g}"))  # type: ignore[misc]
    loop.run_until(200.0)
    assert out == ["a@105", "b@106", "c@109"]


def test_a_removed_call_never_runs_out_and_a_later_one_does() -> None:
    loop, timeouts, out = made()
    timeouts.add("a", 5.0, lambda: out.append("a"))
    loop.run_until(101.0)
    timeouts.add("b", 5.0, lambda: out.append("b"))
    timeouts.remove("a", 5.0)
    timeouts.remove("unknown", 5.0)
    timeouts.remove("unknown", 7.0)
    loop.run_until(105.5)
    assert out == []
    loop.run_until(106.0)
    assert out == ["b"]


def test_limits_of_different_length_do_not_wait_for_each_other() -> None:
    loop, timeouts, out = made()
    timeouts.add("long", 50.0, lambda: out.append("long"))
    timeouts.add("short", 1.0, lambda: out.append("short"))
    loop.run_until(101.0)
    assert out == ["short"]
    loop.run_until(150.0)
    assert out == ["short", "long"]


def test_thousands_of_quick_calls_need_few_timers_and_no_memory() -> None:
    loop, timeouts, out = made()
    for number in range(10_000):
        timeouts.add(number, 30.0, lambda: out.append("never"))
        timeouts.remove(number, 30.0)
        loop.run_until(100.0 + number / 100)
    assert out == [] and loop.num_timers <= 5
    assert sum(map(len, timeouts._rows.values())) == 0


def test_a_call_added_while_others_run_out_is_watched_too() -> None:
    loop, timeouts, out = made()
    timeouts.add("a", 5.0, lambda: timeouts.add("b", 5.0, lambda: out.append(f"b@{loop.now:g}")))
    loop.run_until(300.0)
    assert out == ["b@110"]
