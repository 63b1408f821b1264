"""The hub: live events of jobs, to whoever listens. Lives on the server's loop.

Events come here once they are durable, except `step.delta`, which is never stored (seq 0).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

from gangline.ir.specs.event import STOP_EVENTS, Event
from gangline.runtime.store.job_row import RowChange


@dataclass(frozen=True, slots=True)
class Stop:
    """How a job stopped: its last event, and what it and those before it, since somebody waits,
    changed in the job's row; None where not all of them came by."""

    event: Event
    change: RowChange | None


class Lagged(Exception):
    """A listener was too slow: events were dropped. Go on from the log after the last seq seen."""


class Subscription:
    """One listener's queue. Use as a context manager; `get` waits for the next event.

    `after` is the last event the listener has seen, kept up by the listener: from there on the
    log is read for jobs that another server runs.
    """

    def __init__(self, hub: Hub, job_id: str | None, limit: int, after: int) -> None:
        self.job_id = job_id
        self.after = after
        self._hub = hub
        self._limit = limit
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._lagged = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; a second call does nothing."""
        self._hub.remove(self)
        self._wake()

    def put(self, event: Event) -> None:
        """Queue an event; a listener that is too far behind loses all and is told so."""
        if self._lagged:
            return
        if len(self._events) >= self._limit:
            self._events.clear()
            self._lagged = True
        else:
            self._events.append(event)
        self._wake()

    async def get(self) -> Event:
        """Wait for the next event; Lagged (once) if some were dropped."""
        # Invariant: `_waiter` is set only while nothing is queued and nothing was dropped.
        while not self._events and not self._lagged:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._lagged:
            self._lagged = False
            raise Lagged
        return self._events.popleft()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Hub:
    """Pass events on. `taps` are called with every batch, before any listener; keep them fast."""

    def __init__(self, limit: int = 2048) -> None:
        self.taps: list[Callable[[Sequence[Event]], None]] = []
        self._limit = limit
        self._all: set[Subscription] = set()
        self._by_job: dict[str, set[Subscription]] = {}
        self._stops: dict[str, list[asyncio.Future[Stop | None]]] = {}
        self._changes: dict[str, RowChange] = {}

    @property
    def watched(self) -> set[str]:
        """Ids of the jobs somebody listens to or waits for."""
        return {*self._by_job, *self._stops}

    def seen(self, job_id: str) -> int | None:
        """Give the last event that all listeners of a job have seen; None if nobody listens."""
        return min((found.after for found in self._by_job.get(job_id, ())), default=None)

    def num_listeners(self) -> int:
        """Count the listeners."""
        return len(self._all) + sum(map(len, self._by_job.values()))

    def publish(self, events: Sequence[Event]) -> None:
        """Pass on events, in order; called on the loop."""
        for tap in self.taps:
            tap(events)
        self.relay(events)

    def relay(self, events: Sequence[Event]) -> None:
        """Pass on events of another server's job: to listeners, not to taps."""
        if not (self._all or self._by_job or self._stops):
            return
        for event in events:
            if event.job_id in self._changes:
                self._note(event)
            for listener in self._by_job.get(event.job_id, ()):
                listener.put(event)
            for listener in self._all:
                listener.put(event)
            if event.type in STOP_EVENTS:
                self.tell_stopped(event.job_id, event)

    def subscribe(self, job_id: str | None = None, after: int = 0) -> Subscription:
        """Listen to one job, or to all; close it in the end."""
        made = Subscription(self, job_id, self._limit, after)
        if job_id is None:
            self._all.add(made)
        else:
            self._by_job.setdefault(job_id, set()).add(made)
        return made

    def remove(self, subscription: Subscription) -> None:
        """Forget a listener."""
        self._all.discard(subscription)
        if subscription.job_id is not None:
            mine = self._by_job.get(subscription.job_id, set())
            mine.discard(subscription)
            if not mine:
                self._by_job.pop(subscription.job_id, None)

    def stopped(self, job_id: str) -> asyncio.Future[Stop | None]:
        """Give a future that is done when a job stops next; hand it to `forget` in the end.

        Its result is how it stopped, or None where only that it stopped is known.
        """
        waiter: asyncio.Future[Stop | None] = asyncio.get_running_loop().create_future()
        waiters = self._stops.setdefault(job_id, [])
        if not waiters:
            self._changes[job_id] = RowChange()
        waiters.append(waiter)
        return waiter

    def _note(self, event: Event) -> None:
        change = self._changes[event.job_id]
        if event.seq == 0:
            return
        if change.last_seq in (0, event.seq - 1):
            change.add(event)
        else:
            del self._changes[event.job_id]  # heard twice, or not all: only the store knows

    def tell_stopped(self, job_id: str, event: Event | None = None) -> None:
        """Wake whoever waits for a job to stop."""
        change = self._changes.pop(job_id, None)
        stop = None if event is None else Stop(event, change)
        for waiter in self._stops.pop(job_id, ()):
            if not waiter.done():
                waiter.set_result(stop)

    def forget(self, job_id: str, waiter: asyncio.Future[Stop | None]) -> None:
        """Take back a future of `stopped`."""
        waiters = self._stops.get(job_id)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._stops[job_id]
                self._changes.pop(job_id, None)
