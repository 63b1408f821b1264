"""Take over what other servers left, carry out what others ask of our jobs, follow theirs.

One round every `control_every_s`; every few of them look for free jobs. All of it is one task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from gangline.ir.errors import GanglineError, JobError
from gangline.ir.specs.event import STOPPED_STATUSES, Event
from gangline.runtime.clock import Clock
from gangline.runtime.dispatch.hard_deadline import expires_s
from gangline.runtime.dispatch.job import missing_secret
from gangline.runtime.dispatch.job_errors import deadline_error
from gangline.runtime.redact import masked_input
from gangline.runtime.store import Store
from gangline.runtime.store.records import Claimed, Control

from .fair_queue import Waiting
from .hub import Hub
from .runner import Held, Runner
from .settings import Settings

logger = logging.getLogger(__name__)

SUSPECT_AFTER = 2
"""Takeovers without progress after which a job runs only while no other such job does: if it
brings the server down again, it takes no job with it that could be blamed in its place."""

_PROGRESS = frozenset({"step.planned", "step.completed", "step.failed", "step.retrying"})

STOP_S = 5.0
"""How long the end of a round is waited for; a store that hangs must not hold a server."""

STRAYS_EVERY = 10
"""Looks for free jobs for one look for jobs we hold without knowing."""

OnControl = Callable[[Control], Awaitable[None]]


class Recovery:
    """Look after the jobs of dead servers, and after requests between servers."""

    def __init__(
        self,
        store: Store,
        runner: Runner,
        hub: Hub,
        settings: Settings,
        clock: Clock,
        owner: str,
        on_control: OnControl,
        append: Callable[[str, Sequence[Event], int], Awaitable[None]],
        running: Callable[[], AbstractSet[str]],
    ) -> None:
        self._executor_jobs = running
        self._store = store
        self._runner = runner
        self._hub = hub
        self._settings = settings
        self._clock = clock
        self._owner = owner
        self._on_control = on_control
        self._append = append
        self._task: asyncio.Task[None] | None = None
        self._hungry = asyncio.Event()
        self._asked: dict[str, int] = {}
        self.spilled: set[str] = set()
        self.healthy = True
        self._left = 0
        self._looks = 0
        self._requests: list[Control] = []
        self._strays: dict[str, int] = {}
        self._stopping = False

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._rounds(), name="recovery")

    async def stop(self) -> None:
        """End the task, after the round that is under way: its reads are not left behind."""
        self._stopping = True
        self._hungry.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=STOP_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def num_queued(self) -> int:
        """Count the jobs that wait, here and (as last seen) in the store for anybody."""
        return len(self._runner.queue) + self._left

    def spill(self, tenant: str) -> None:
        """Note that a tenant has a job more in the store that waits to be claimed."""
        self.spilled.add(tenant)
        self._left += 1

    def feed(self) -> None:
        """Look for free jobs now if some were left in the store and there is room for them."""
        if self.spilled and len(self._runner.queue) < self._settings.queue_in_memory // 2:
            self._hungry.set()

    async def _rounds(self) -> None:
        every = max(1, round(self._settings.claim_every_s / self._settings.control_every_s))
        number = 0
        while not self._stopping:
            await self._round(claims=number % every == 0 or self._hungry.is_set())
            number += 1
            try:
                async with asyncio.timeout(self._settings.control_every_s):
                    await self._hungry.wait()
            except TimeoutError:
                pass

    async def _round(self, claims: bool) -> None:
        """One look around; a store that is away must not end the looking."""
        try:
            self._runner.expire()
            await self._controls()
            await self._follow()
            if claims and not self._stopping:
                self._hungry.clear()
                await self._expire_at_rest()
                await self.claim()
            self.healthy = True
        except GanglineError as error:
            if self.healthy:
                logger.warning("the store cannot be asked for work: %s", error)
            self.healthy = False
        except Exception:
            logger.exception("a look for work failed")

    async def claim(self) -> None:
        """Take free jobs, as many as there is room for, no tenant's more than its part."""
        room, part = self._runner.room(), self._settings.queue_per_tenant // 2
        if not room:
            return
        claimed = await asyncio.to_thread(
            lambda: self._store.claim(self._owner, min(room, 512), per_tenant=max(part, 1))
        )
        taken: dict[str, int] = {}
        # What is to be cancelled must not start first: it might write, or ask a person.
        cancelled = await self._cancels({found.job_id for found in claimed})
        for found in claimed:
            taken[found.tenant] = taken.get(found.tenant, 0) + 1
            if found.job_id in cancelled:
                continue
            try:
                await self._take(found)
            except Exception:
                logger.exception("job %s was claimed and could not be taken", found.job_id)
                self._runner.release(found.job_id, found.epoch)
        await self._give_back_strays()
        # A tenant of whom all free jobs were taken has none left behind.
        if len(claimed) < min(room, 512):
            self.spilled = {name for name in self.spilled if taken.get(name, 0) >= part}
        else:
            self._hungry.set()
        self._left = 0
        if self.spilled:
            queued = await asyncio.to_thread(self._store.num_queued)
            self._left = max(0, queued - len(self._runner.queue))

    async def _expire_at_rest(self) -> None:
        """End jobs that nobody holds and whose hard deadline has passed."""
        now = self._clock.now()
        for found in await asyncio.to_thread(self._store.claim_overdue, self._owner, now):
            if found.job_id in self._runner.held:
                self._runner.release(found.job_id, found.epoch)  # see `_take`
                continue
            try:
                events = await asyncio.to_thread(self._store.events, found.job_id)
                await self._stop(found, events, "job.expired", deadline_error(found.job_id))
            except Exception:
                logger.exception("job %s could not be expired", found.job_id)
                self._runner.release(found.job_id, found.epoch)

    async def _give_back_strays(self) -> None:
        """Give back jobs that the store says are ours and nobody here knows.

        There should be none; one seen in two looks running is one that a fault left behind.
        """
        self._looks += 1
        if self._looks % STRAYS_EVERY:
            return
        owned = await asyncio.to_thread(self._store.owned, self._owner)
        known = self._runner.held.keys() | self._executor_jobs()
        strays = {job_id: epoch for job_id, epoch in owned.items() if job_id not in known}
        for job_id, epoch in strays.items():
            if self._strays.get(job_id) == epoch:
                logger.warning("job %s was held by nobody here; it is given back", job_id)
                self._runner.release(job_id, epoch)
        self._strays = strays

    async def _take(self, found: Claimed) -> None:
        """Put a claimed job where it belongs: among those that wait, or aside for good."""
        if found.job_id in self._runner.held:
            # Our lease lapsed and we took the job again: what runs under the old epoch is fenced
            # off, and must have left before the job may run under the new one.
            self._runner.release(found.job_id, found.epoch)
            return
        if found.status in STOPPED_STATUSES:
            self._asked[found.job_id] = found.epoch  # it stopped, and somebody asks for something
            return
        events = await asyncio.to_thread(self._store.events, found.job_id)
        secret = masked_input(events[0].data["inputs"])
        if secret is not None:
            await self._stop(found, events, "job.input_required", missing_secret(secret))
            return
        takeovers = count_takeovers(events) + found.abandoned
        if takeovers > self._settings.max_takeovers:
            await self._give_up(found, events, takeovers)
            return
        start = {"takeover": takeovers} if found.abandoned and found.status == "running" else {}
        waiting = Waiting(
            found.job_id,
            found.tenant,
            found.priority,
            events[0].at_s,
            solo=takeovers >= SUSPECT_AFTER,
            expires_s=expires_s(events),
        )
        self._runner.add(waiting, Held(found.epoch, found.tenant, None, start))

    async def _give_up(self, found: Claimed, events: Sequence[Event], takeovers: int) -> None:
        error = JobError(
            f"The job was taken over {takeovers} times from servers that ended while it ran, and "
            "got no further in between",
            where=f"job {found.job_id}",
            next_step="Find out what its next step does to the process (memory, a crash in native "
            "code), then retry the job.",
        )
        await self._stop(found, events, "job.failed", error)

    async def _stop(
        self, found: Claimed, events: Sequence[Event], kind: str, error: GanglineError
    ) -> None:
        """Record that a job stops although nothing of it ran here."""
        data: dict[str, Any] = {"error": error.to_json()}
        if kind == "job.input_required":
            data.update(interrupt=None, interrupts=[])
        now = self._clock.now()
        event = Event(found.job_id, events[-1].seq + 1, kind, now, "", data)
        await self._append(found.job_id, [event], found.epoch)

    async def _cancels(self, claimed: AbstractSet[str]) -> set[str]:
        """Carry out the cancels that wait for jobs just claimed; gives those jobs."""
        if not claimed:
            return set()
        self._requests += await asyncio.to_thread(self._store.controls, self._owner)
        cancels = [c for c in self._requests if c.kind == "cancel" and c.job_id in claimed]
        self._requests = [c for c in self._requests if c not in cancels]
        for control in cancels:
            await self._apply(control)
        return {control.job_id for control in cancels}

    async def _apply(self, control: Control) -> None:
        try:
            await self._on_control(control)
        except GanglineError as error:
            logger.warning("%s of job %s: %s", control.kind, control.job_id, error)

    async def _controls(self) -> None:
        self._requests += await asyncio.to_thread(self._store.controls, self._owner)
        while self._requests:
            await self._apply(self._requests.pop(0))
        while self._asked:
            self._runner.release(*self._asked.popitem())

    async def _follow(self) -> None:
        """Tell listeners here of jobs that run elsewhere, by reading their logs."""
        foreign = {
            job_id: self._hub.seen(job_id)
            for job_id in self._hub.watched - self._runner.held.keys()
        }
        if not foreign:
            return
        for job_id, (stopped, events) in (await asyncio.to_thread(self._look, foreign)).items():
            if stopped:
                self._hub.tell_stopped(job_id)
            self._hub.relay(events)

    def _look(self, foreign: Mapping[str, int | None]) -> dict[str, tuple[bool, list[Event]]]:
        """Read whether jobs have stopped, and what was logged after the events seen here."""
        found: dict[str, tuple[bool, list[Event]]] = {}
        for job_id, after in foreign.items():
            row = self._store.find(job_id)
            stopped = row is None or row.status in STOPPED_STATUSES
            events: list[Event] = []
            if row is not None and after is not None and row.last_seq > after:
                events = self._store.events(job_id, after, self._settings.page_events)
            found[job_id] = (stopped, events)
        return found


def count_takeovers(events: Sequence[Event]) -> int:
    """Count the takeovers from dead servers since the job last got any further."""
    count = 0
    for event in events:
        if event.type in _PROGRESS:
            count = 0
        elif event.type == "job.started":
            # A start that somebody asked for (a retry) begins the count anew.
            count = event.data.get("takeover", 0)
    return count
