"""Jobs of this process: those that wait for a slot here, and those that run.

On the loop only. A job is here from the moment this process holds its lease until it stopped or
was given up; at every moment one owner at most has it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.errors import JobError, LeaseLost, StoreError, Unstorable
from gangline.ir.specs.event import Event
from gangline.runtime.clock import Clock
from gangline.runtime.execution.driver import Driver
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import JobRow, Store

from .fair_queue import FairQueue, Waiting
from .settings import Settings

logger = logging.getLogger(__name__)

BUSY_S = 0.1
"""How long a rush of submits lasts after it was last seen: a few turns of a busy loop."""


@dataclass(slots=True, eq=False)
class Held:
    """A job this process holds.

    Attributes:
        epoch: of the lease.
        events: its log, where it is in memory; None is read when the job gets a slot.
        start: data of the job.started event.
        row: its row as it was when the job came here, where that is known.
    """

    epoch: int
    tenant: str
    events: Sequence[Event] | None = None
    start: Mapping[str, Any] = field(default_factory=dict)
    running: bool = False
    row: JobRow | None = None


Ended = Callable[[str, str, BaseException | None], None]
"""Called with job id, tenant and error (None: it stopped as its log says) when a job leaves."""


class Runner:
    """Give slots to jobs and jobs to the executor.

    Attributes:
        held: every job this process holds, by id.
        weights: of tenants, as their quotas say; 1 where nothing is known.
        accepting: submits being stored that nobody waits for the end of. While they are many, few
            jobs are started: callers wait to be told that theirs are safe, not for those jobs.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        settings: Settings,
        clock: Clock,
        on_started: Callable[[str], None],
        on_ended: Ended,
    ) -> None:
        self.queue = FairQueue(settings.max_running, settings.aging_s)
        self.held: dict[str, Held] = {}
        self._executor = executor
        self._store = store
        self._settings = settings
        self._clock = clock
        self.weights: dict[str, float] = {}
        self.accepting = 0
        self._busy_until_s = 0.0
        self._on_started = on_started
        self._on_ended = on_ended
        self._loop = asyncio.get_running_loop()
        self._pump_due = False
        self._stopped = False
        self._reading: set[asyncio.Task[None]] = set()

    def has_room(self, tenant: str) -> bool:
        """Say whether one more job of a tenant may wait in memory."""
        limits, mine = self._settings, self.queue.num_waiting(tenant)
        if mine < limits.queue_floor:
            return True
        return mine < limits.queue_per_tenant and len(self.queue) < limits.queue_in_memory

    def room(self) -> int:
        """Count the jobs that may be claimed on top of those here."""
        return max(0, self._settings.queue_in_memory - len(self.queue))

    def add(self, waiting: Waiting, held: Held) -> None:
        """Take a job this process has the lease of; it gets a slot in its turn."""
        if self._stopped:
            self.release(waiting.job_id, held.epoch)
            return
        waiting.epoch = held.epoch
        self.held[waiting.job_id] = held
        self.queue.push(waiting, self._clock.now(), self.weights.get(waiting.tenant, 1.0))
        self.pump_soon()

    def take_back(self, job_id: str) -> Held | None:
        """Give up a job that waits for a slot, lease and all, to whoever asks; None if it does
        not wait here."""
        if self.queue.remove(job_id) is None:
            return None
        return self.held.pop(job_id)

    def forget_taken(self, owned: Mapping[str, int]) -> None:
        """Forget the jobs that wait here and that others took while our lease had run out."""
        for job_id, held in list(self.held.items()):
            if owned.get(job_id) == held.epoch or job_id in self._executor.running:
                continue
            if self.take_back(job_id) is None:
                self._left(job_id, LeaseLost("The lease ran out, and another process took the job"))

    def pump_soon(self) -> None:
        """Start what may start, after what is being done now."""
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    @contextmanager
    def accept(self) -> Iterator[None]:
        """Count a submit that is being stored, and whose caller does not wait for the job."""
        self.accepting += 1
        if self.accepting >= self._settings.busy_accepting:
            # Group commits make submits come and go in bursts; the rush lasts a little longer.
            self._busy_until_s = self._loop.time() + BUSY_S
        try:
            yield
        finally:
            self.accepting -= 1

    def expire(self) -> None:
        """Hand out the jobs whose hard deadline passed while they waited: they end at once."""
        for waiting in self.queue.expired(self._clock.now()):
            self._start(waiting.job_id)

    def stop(self) -> list[tuple[str, int]]:
        """Start nothing more; give the jobs that wait, with the epochs of their leases."""
        self._stopped = True
        return [
            (waiting.job_id, self.held.pop(waiting.job_id).epoch) for waiting in self.queue.clear()
        ]

    def _pump(self) -> None:
        self._pump_due = False
        # Invariant: a job that was taken holds its slot until `_left` is called with it.
        while not self._stopped:
            if self._gives_way():
                self._pump_due = True
                self._loop.call_at(self._busy_until_s, self._pump)
                return
            waiting = self.queue.take(self._clock.now())
            if waiting is None:
                return
            self._start(waiting.job_id)

    def _gives_way(self) -> bool:
        busy = self._loop.time() < self._busy_until_s
        return busy and self.queue.num_running >= self._settings.busy_running

    def _start(self, job_id: str) -> None:
        held = self.held[job_id]
        held.running = True
        self._on_started(job_id)
        if held.events is None:
            task = self._loop.create_task(self._read(job_id, held))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)
        else:
            self._execute(job_id, held, held.events)

    async def _read(self, job_id: str, held: Held) -> None:
        try:
            events = await asyncio.to_thread(self._store.events, job_id)
        except Exception as error:  # noqa: BLE001 (whatever it is, the slot must come free)
            if self.held.get(job_id) is held:
                self.release(job_id, held.epoch)
                self._left(job_id, error)
            return
        if self.held.get(job_id) is not held:
            return  # taken by another process while its log was read
        if self._stopped:
            self.release(job_id, held.epoch)
            self._left(job_id, None)
            return
        self._execute(job_id, held, events)

    def _execute(self, job_id: str, held: Held, events: Sequence[Event]) -> None:
        held.events = None  # the driver has what it needs of them
        try:
            self._executor.start_job(job_id, held.epoch, events, self._done, data=held.start)
        except Exception as error:
            logger.exception("job %s could not be started", job_id)
            self.release(job_id, held.epoch)
            self._left(job_id, error)

    def _done(self, driver: Driver, error: BaseException | None) -> None:
        self._left(driver.job_id, error)

    def _left(self, job_id: str, error: BaseException | None) -> None:
        held = self.held.pop(job_id, None)
        self.queue.end(job_id, self._clock.now())
        if held is not None:
            self._on_ended(job_id, held.tenant, error)
        self.pump_soon()

    def release(self, job_id: str, epoch: int) -> None:
        """Give a job's lease back, so that another server can take it."""
        self._executor.release(job_id, epoch)


def is_fault(error: BaseException | None) -> bool:
    """Say whether a job was left because of a fault of its own (and would be left again)."""
    if isinstance(error, Unstorable):
        return True
    return error is not None and not isinstance(error, StoreError | LeaseLost | JobError)
