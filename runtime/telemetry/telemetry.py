"""Events and requests in on the loop; what is made of them, on a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from gangline.ir.specs.event import Event
from gangline.runtime.dispatch.outcome import DirectOutcome

from .access import Access
from .job_table import JobFacts, JobTable, ReadLog

logger = logging.getLogger(__name__)

EVERY_S = 0.2
"""How often events are taken in; a scrape takes them at once."""
MAX_WAITING = 100_000
"""Batches that wait at most. Telemetry that cannot keep up drops events, never the server."""
_BREATH = 32
"""Events between two chances for other threads, so that the loop never waits long for the GIL."""


class Listener(Protocol):
    """Something that makes metrics, spans or log lines of events. Called on one thread."""

    def tell(self, event: Event, job: JobFacts) -> None:
        """Take one event of a job, with what is known of the job."""

    def request(self, access: Access) -> None:
        """Take one HTTP request that was answered."""

    def direct(self, outcome: DirectOutcome) -> None:
        """Take one model request that belonged to no job."""

    def close(self) -> None:
        """Send out what is left."""


Item = Event | Access | DirectOutcome


class Telemetry:
    """Pass the events of a server's jobs to listeners, off the loop.

    Args:
        read_log: gives the events of a job that began in another process.

    Attributes:
        dropped: events that were lost because too many waited.
    """

    def __init__(self, listeners: Sequence[Listener], read_log: ReadLog | None = None) -> None:
        self.dropped = 0
        self._listeners = list(listeners)
        self._jobs = JobTable(read_log)
        self._waiting: deque[Sequence[Event] | Access | DirectOutcome] = deque()
        self._draining = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def on_events(self, events: Sequence[Event]) -> None:
        """Take events, in order; a tap of the hub. Costs an append."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(events)
        else:
            self.dropped += len(events)

    def on_request(self, item: Access | DirectOutcome) -> None:
        """Take a request, of HTTP or of a model, that has ended. Costs an append."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(item)
        else:
            self.dropped += 1

    def start(self) -> None:
        """Begin to take events in now and then."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="gangline-telemetry", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Take in what waits, and let every listener send out what it has."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.drain()
        for listener in self._listeners:
            listener.close()

    def drain(self) -> None:
        """Take in all that waits; from any thread but the loop's."""
        with self._draining:
            taken = 0
            while self._waiting:
                item = self._waiting.popleft()
                for one in (item,) if isinstance(item, Access | DirectOutcome) else item:
                    self._take(one)
                    taken += 1
                    if taken % _BREATH == 0:
                        time.sleep(0)

    def _take(self, item: Item) -> None:
        match item:
            case Access():
                self._tell(item.route, lambda listener: listener.request(item))
            case DirectOutcome():
                self._tell(item.submit.model, lambda listener: listener.direct(item))
            case Event():
                try:
                    job = self._jobs.before(item)
                except Exception:
                    logger.exception("telemetry cannot place %s", item.type)
                    return
                self._tell(item.type, lambda listener: listener.tell(item, job))
                self._jobs.after(item)

    def _tell(self, what: str, say: Callable[[Listener], None]) -> None:
        # A listener that fails loses this one; jobs, and the other listeners, go on.
        for listener in self._listeners:
            try:
                say(listener)
            except Exception:
                logger.exception("%s failed on %s", type(listener).__name__, what)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self.drain()
