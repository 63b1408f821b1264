"""Daemon threads that run tools and tokenizers.

Unlike those of a ThreadPoolExecutor they never keep the process alive: a tool that hangs is
written off when it times out, and another thread takes its place.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_WORKERS = 32
"""Most tools that run at the same time in one process; further ones wait their turn."""


@dataclass(slots=True, eq=False)
class Call:
    """One piece of work and who to tell; `abandoned` once nobody waits for it."""

    function: Callable[[], Any]
    done: Callable[[Any, BaseException | None], None]
    running: bool = False
    abandoned: bool = False


class Workers:
    """A pool that grows to `max_workers` threads as they are needed."""

    def __init__(self, max_workers: int = MAX_WORKERS) -> None:
        self._max_workers = max_workers
        self._queue: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._num_threads = 0
        self._num_free = 0

    def submit(
        self, function: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> Call:
        """Run `function` on a thread, then call `done(result, error)` on that thread."""
        call = Call(function, done)
        with self._lock:
            # Invariant: _num_free = idle threads - queued calls; below 0 calls wait.
            self._num_free -= 1
            if self._num_free < 0 and self._num_threads < self._max_workers:
                self._grow()
        self._queue.put(call)
        return call

    def abandon(self, call: Call) -> None:
        """Stop waiting for a call; if it runs, its thread no longer counts."""
        with self._lock:
            if call.abandoned:
                return
            call.abandoned = True
            if call.running:
                self._num_threads -= 1
                if self._num_free < 0:
                    self._grow()

    def close(self) -> None:
        """Let idle threads end; what runs is not waited for."""
        with self._lock:
            for _ in range(self._num_threads):
                self._queue.put(None)

    def _grow(self) -> None:
        self._num_threads += 1
        self._num_free += 1
        threading.Thread(target=self._work, name="gangline-tool", daemon=True).start()

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            if self._begin(call):
                self._run(call)
            if not self._end(call):
                return

    def _begin(self, call: Call) -> bool:
        with self._lock:
            call.running = not call.abandoned
            return call.running

    def _run(self, call: Call) -> None:
        try:
            result = call.function()
        except BaseException as error:  # noqa: BLE001 (author's code; SystemExit too)
            call.done(None, error)
        else:
            call.done(result, None)

    def _end(self, call: Call) -> bool:
        """Say whether this thread still belongs to the pool."""
        with self._lock:
            written_off = call.running and call.abandoned
            call.running = False
            if not written_off:
                self._num_free += 1
            return not written_off
