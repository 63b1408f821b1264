"""One job's events on their way to disk, and the calls that wait for them to be there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gangline.ir.specs.event import Event
from gangline.runtime.dispatch.commands import RunTool
from gangline.runtime.dispatch.programs import as_json, plan_of, program_of

from .surroundings import Surroundings

MAX_GATHERED = 1_000
"""Events that may wait for a commit before a job's further tools wait too."""
MAX_LOG = 2_000
"""Most events of a stored job that stay in memory; beyond, its store is read instead."""


class Journal:
    """Record a job's events, in order. Lives on the loop.

    While a commit is under way, further events are gathered and go together once it is done: a
    job has one append at a time, however fast its steps are. Without a store, events count as
    recorded at once.

    Args:
        on_stored: called on the loop after a commit, with the calls that waited for it.
        on_failed: called on the loop with the store's refusal.
        is_alone: says that the loop has nothing to do but wait for this job's next commit. Then
            it makes the commit itself, which saves two changes of threads.
        keeps_log: False leaves `log` None, for jobs whose store is read instead.

    Attributes:
        log: all events so far; None where they are to be read from the store.
    """

    def __init__(
        self,
        job_id: str,
        epoch: int,
        around: Surroundings,
        on_stored: Callable[[Sequence[RunTool]], None],
        on_failed: Callable[[BaseException], None],
        is_alone: Callable[[], bool],
        keeps_log: bool = True,
    ) -> None:
        self.log: list[Event] | None = [] if keeps_log else None
        self._job_id = job_id
        self._epoch = epoch
        self._around = around
        self._on_stored = on_stored
        self._on_failed = on_failed
        self._is_alone = is_alone
        self._gathered: list[Event] = []
        self._deferred: list[RunTool] = []
        self._under_way: deque[tuple[Sequence[Event], Sequence[RunTool]]] = deque()
        self._num_appends = 0

    @property
    def is_full(self) -> bool:
        """Say whether steps end faster than they can be stored: then no further should begin."""
        return len(self._gathered) >= MAX_GATHERED

    @property
    def is_idle(self) -> bool:
        """Say whether everything recorded is on disk."""
        return not self._gathered and not self._under_way

    def create(self, queued: Event, workflow: str, owner: str) -> None:
        """Create the job in the store with its first event."""
        self.keep([queued])
        shown = [as_json(queued)] if self._around.publish is not None else [queued]
        if self._around.store is None:
            self._publish(shown)
            return
        # As objects: the store encodes a program or a plan once, however many jobs bring it.
        data = {**queued.data, "program": program_of(queued.data["program"])}
        if data.get("plan") is not None:
            data["plan"] = plan_of(data["plan"])
        stored = replace(queued, data=data)
        self._follow(self._around.store.create(stored, workflow, owner), shown, ())

    def keep(self, events: Sequence[Event]) -> None:
        """Add events to the log that are stored already."""
        if self.log is None:
            return
        self.log.extend(events)
        if self._around.store is not None and len(self.log) > MAX_LOG:
            self.log = None

    def record(self, events: Sequence[Event]) -> None:
        """Take events in; `flush` sends them on."""
        if not events:
            return
        self.keep(events)
        if self._around.store is None:
            self._publish(events)
        else:
            self._gathered.extend(events)

    def defer(self, command: RunTool) -> bool:
        """Hold a call back until what is recorded so far is on disk; False if it is."""
        if self._gathered:
            self._deferred.append(command)
        elif self._under_way:
            events, deferred = self._under_way[-1]
            self._under_way[-1] = (events, [*deferred, command])
        else:
            return False
        return True

    def flush(self, *, at_once: bool = False) -> None:
        """Send what is gathered; behind an append under way only with `at_once`.

        Raises:
            GanglineError: nothing more can be stored.
        """
        if not self._gathered or (self._num_appends and not at_once):
            return
        assert self._around.store is not None
        events, self._gathered = self._gathered, []
        deferred, self._deferred = self._deferred, []
        here = not self._under_way and self._is_alone()
        ticket = self._around.store.append(self._job_id, events, self._epoch, here)
        self._num_appends += 1
        self._follow(ticket, events, deferred)

    def _follow(self, ticket: Any, events: Sequence[Event], deferred: Sequence[RunTool]) -> None:
        # Invariant: tickets end in the order they were given, so `_under_way` is a queue.
        self._under_way.append((events, deferred))
        if ticket.done():
            self._around.loop.call_soon(self._stored, ticket.exception())
        else:
            ticket.add_done_callback(self._settled)

    def _settled(self, ticket: Any) -> None:
        # Called on the store's thread.
        self._around.mailbox.post(self._stored, ticket.exception())

    def _stored(self, error: BaseException | None) -> None:
        """Take the store's word that the oldest events under way are on disk, or never will be."""
        events, deferred = self._under_way.popleft()
        if events[0].type != "job.queued":
            self._num_appends -= 1
        if error is not None:
            self._on_failed(error)
            return
        self._publish(events)
        self._on_stored(deferred)

    def _publish(self, events: Sequence[Event]) -> None:
        if self._around.publish is not None:
            self._around.publish(events)
