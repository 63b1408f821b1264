"""Worker threads: they grow, wait in line, and are written off."""

from __future__ import annotations

import queue
import threading
from typing import Any

from gangline.runtime.execution.workers import Call, Workers


def hang(workers: Workers) -> tuple[Call, threading.Event]:
    """Keep one worker busy until the event is set."""
    started, release = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        release.wait(30)

    call = workers.submit(wait, lambda *outcome: None)
    assert started.wait(10)
    return call, release


def test_results_and_errors_come_back() -> None:
    workers, outcomes = Workers(2), queue.SimpleQueue[Any]()
    workers.submit(lambda: 41 + 1, lambda *outcome: outcomes.put(outcome))
    assert outcomes.get(timeout=10) == (42, None)
    workers.submit(lambda: 1 // 0, lambda *outcome: outcomes.put(outcome))
    value, error = outcomes.get(timeout=10)
    assert value is None and isinstance(error, ZeroDivisionError)
    workers.close()


def test_as_many_at_once_as_there_are_workers() -> None:
    workers, outcomes = Workers(3), queue.SimpleQueue[Any]()
    barrier = threading.Barrier(3, timeout=10)
    for _ in range(9):
        workers.submit(barrier.wait, lambda *outcome: outcomes.put(outcome))
    assert all(outcomes.get(timeout=10)[1] is None for _ in range(9))
    workers.close()


def test_a_hanging_call_gives_its_place_away() -> None:
    workers, outcomes = Workers(1), queue.SimpleQueue[Any]()
    hanging, release = hang(workers)
    waiting = workers.submit(lambda: "never", lambda *outcome: outcomes.put(outcome))
    workers.submit(lambda: "next", lambda *outcome: outcomes.put(outcome))
    workers.abandon(waiting)
    assert outcomes.empty()
    workers.abandon(hanging)
    workers.abandon(hanging)
    assert outcomes.get(timeout=10) == ("next", None)
    release.set()
    workers.submit(lambda: "after", lambda *outcome: outcomes.put(outcome))
    assert outcomes.get(timeout=10) == ("after", None)
    workers.close()


def test_a_place_given_away_while_nobody_waits_is_filled_later() -> None:
    workers, outcomes = Workers(1), queue.SimpleQueue[Any]()
    hanging, release = hang(workers)
    workers.abandon(hanging)
    workers.submit(lambda: "next", lambda *outcome: outcomes.put(outcome))
    assert outcomes.get(timeout=10) == ("next", None)
    release.set()
    workers.close()
