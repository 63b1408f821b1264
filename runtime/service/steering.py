"""Cancel, resume, retry and fork: whoever runs the job.

A job that nobody holds is changed here and now, under a lease of our own. One that runs here is
told so; one that another server holds gets a request in the store, which that server polls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from gangline.ir.errors import ConflictError, InputError, JobCancelled, LeaseLost
from gangline.ir.specs.event import FINAL_STATUSES, STOPPED_STATUSES, Event
from gangline.runtime.clock import Clock
from gangline.runtime.dispatch.answers import accepted
from gangline.runtime.dispatch.fork import fork, retry_from
from gangline.runtime.dispatch.hard_deadline import expires_s
from gangline.runtime.dispatch.job import with_inputs
from gangline.runtime.dispatch.job_errors import expired_before
from gangline.runtime.dispatch.job_run import JobRun
from gangline.runtime.dispatch.pricing import Pricing
from gangline.runtime.execution.executor import Executor
from gangline.runtime.job_id import new_job_id
from gangline.runtime.redact import masked_input
from gangline.runtime.store import JobRow, Store
from gangline.runtime.store.records import Control

from .fair_queue import Waiting
from .hub import Hub
from .runner import Held, Runner

STOP_WAIT_S = 0.5
"""How long a cancel waits for a job that runs here to have stopped, in seconds."""

TRIES = 3
"""A job may change hands between the look at its row and the change."""


Change = Callable[[Sequence[Event], float], list[Event]]


class Steering:
    """Change the course of jobs. The caller has checked whose they are."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        runner: Runner,
        hub: Hub,
        clock: Clock,
        append: Callable[[str, Sequence[Event], int], Awaitable[None]],
    ) -> None:
        self._store = store
        self._executor = executor
        self._runner = runner
        self._hub = hub
        self._clock = clock
        self._append = append
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def cancel(self, row: JobRow) -> None:
        """Stop a job; ConflictError if it has ended otherwise."""
        async with self._turn(row.id):
            await self._cancel(row)

    async def _cancel(self, row: JobRow) -> None:
        if row.status == "cancelled":
            return
        if row.status in FINAL_STATUSES:
            raise _ended(row)
        for _ in range(TRIES):
            if await self._cancel_here(row.id, STOP_WAIT_S):
                await self._keep_cancel(row.id)
                return
            try:
                epoch = await self._acquire(row.id)
            except LeaseLost:
                await self._store.control(row.id, "cancel", {})
                return
            if await self._record_cancel(row.id, epoch):
                return

    async def apply(self, control: Control) -> None:
        """Carry out what another server asked of a job we hold."""
        if control.kind == "resume":
            given = control.data
            self._executor.take_answer(control.job_id, given["interrupt"], given["value"])
        elif control.kind == "cancel" and not await self._cancel_here(control.job_id, 0.0):
            await self._record_cancel(control.job_id, control.epoch)

    async def retry(
        self,
        row: JobRow,
        step: str | None,
        rerun: Sequence[str],
        inputs: Mapping[str, Any],
    ) -> None:
        """Have a job that stopped go on; ConflictError while it runs or once it succeeded."""
        if row.status not in STOPPED_STATUSES:
            raise ConflictError(
                f"The job has not stopped: it is {row.status}",
                where=f"job {row.id}",
                next_step="Cancel it first, or wait.",
            )
        if row.status == "succeeded" and step is None:
            raise _ended(row)

        def change(events: Sequence[Event], now: float) -> list[Event]:
            data = _retried(events, step, rerun, inputs)
            seq = events[-1].seq + 1
            return [Event(row.id, seq, "job.started", now, "", {"resumed": True, **data})]

        await self._in_turn(row, change, inputs)

    async def resume(self, row: JobRow, interrupt: str, value: Any) -> None:
        """Answer a job's question; ConflictError if it does not ask this one now."""
        if row.status == "running":
            await self._answer_running(row, interrupt, value)
            return
        if row.status != "input_required":
            raise ConflictError(
                f"The job asks nothing: it is {row.status}",
                where=f"job {row.id}",
                next_step="See its document for what it waits for.",
            )

        def change(events: Sequence[Event], now: float) -> list[Event]:
            return _answered(events, interrupt, value, now)

        await self._in_turn(row, change, {})

    async def _in_turn(self, row: JobRow, change: Change, inputs: Mapping[str, Any]) -> None:
        """Restart a job after whatever else is done to it, even if the caller goes away."""

        async def restart() -> None:
            async with self._turn(row.id):
                await self._restart(row, change, inputs)

        await asyncio.shield(asyncio.ensure_future(restart()))

    async def _restart(self, row: JobRow, change: Change, inputs: Mapping[str, Any]) -> None:
        """Record why a job that stopped goes on, and queue it: what was acknowledged is stored.

        Args:
            change: gives the events to record, the last one a job.started; what it refuses
                leaves the job as it was.
            inputs: secrets that were given again, for this process only.
        """
        epoch = await self._held(row)
        try:
            events = await asyncio.to_thread(self._store.events, row.id)
            made = await asyncio.to_thread(change, events, self._clock.now())
            await self._append(row.id, made, epoch)
        except BaseException as error:
            self._executor.release(row.id, epoch)
            if isinstance(error, LeaseLost):
                raise _busy(row) from None
            raise
        log = [_with_secrets(events[0], inputs), *events[1:], *made]
        waiting = Waiting(
            row.id, row.tenant, row.priority, self._clock.now(), expires_s=expires_s(log)
        )
        self._runner.add(waiting, Held(epoch, row.tenant, log))

    def _turn(self, job_id: str) -> asyncio.Lock:
        """Give the lock of a job: our own lease would not keep our own calls apart."""
        return self._turns.setdefault(job_id, asyncio.Lock())

    async def _answer_running(self, row: JobRow, interrupt: str, value: Any) -> None:
        """Answer a question of a job of which other branches still run."""
        if row.id in self._executor.running:
            self._executor.take_answer(row.id, interrupt, value)
            return
        if row.id in self._runner.held:
            raise _busy(row)
        events = await asyncio.to_thread(self._store.events, row.id)
        await asyncio.to_thread(_check_answer, events, interrupt, value)
        await self._store.control(row.id, "resume", {"interrupt": interrupt, "value": value})

    async def _keep_cancel(self, job_id: str) -> None:
        """Store that a job is to be cancelled which still writes: this process may die before."""
        row = await asyncio.to_thread(self._store.find, job_id)
        if row is not None and row.status not in STOPPED_STATUSES:
            await self._store.control(job_id, "cancel", {})

    async def _cancel_here(self, job_id: str, wait_s: float) -> bool:
        """Cancel a job this process holds, and wait a little; False if it holds none such."""
        held = self._runner.held.get(job_id)
        if held is None:
            return False
        if not held.running and self._runner.take_back(job_id) is not None:
            return await self._record_cancel(job_id, held.epoch)
        stopped = self._hub.stopped(job_id)
        self._executor.cancel(job_id)
        try:
            await asyncio.wait([stopped], timeout=wait_s)
        finally:
            self._hub.forget(job_id, stopped)
        return True

    async def _record_cancel(self, job_id: str, epoch: int) -> bool:
        """End a job of which nothing runs; False if it ended meanwhile."""
        row = await asyncio.to_thread(self._store.find, job_id)
        if row is None or row.status in FINAL_STATUSES:
            self._executor.release(job_id, epoch)
            return True
        error = JobCancelled("The job was cancelled").to_json()
        event = Event(
            job_id, row.last_seq + 1, "job.cancelled", self._clock.now(), "", {"error": error}
        )
        await self._append(job_id, [event], epoch)
        return True

    async def _held(self, row: JobRow) -> int:
        """Take the lease of a stopped job; ConflictError if somebody else was quicker."""
        if row.id in self._runner.held:
            raise _busy(row)
        try:
            epoch = await self._acquire(row.id)
        except LeaseLost:
            raise _busy(row) from None
        now = await asyncio.to_thread(self._store.find, row.id)
        if now is None or now.last_seq != row.last_seq:
            self._executor.release(row.id, epoch)
            raise _busy(row)
        return epoch

    async def _acquire(self, job_id: str) -> int:
        owner = self._executor.owner
        return await asyncio.to_thread(self._store.acquire, job_id, owner)


async def forked_log(
    store: Store, row: JobRow, step: str | None, inputs: Mapping[str, Any], now: float
) -> list[Event]:
    """Give the log of a fork of a job, not stored yet; without a step nothing is taken over."""
    job_id = new_job_id(now)

    def make() -> list[Event]:
        return fork(store.events(row.id), step, job_id=job_id, now=now, inputs=inputs)

    return await asyncio.to_thread(make)


def _retried(
    events: Sequence[Event], step: str | None, rerun: Sequence[str], inputs: Mapping[str, Any]
) -> dict[str, Any]:
    queued = _with_secrets(events[0], inputs)
    data: dict[str, Any] = {"rerun": sorted(rerun)}
    if step is not None:
        data.update(retry_from([queued, *events[1:]], step, rerun))
    if events[-1].type == "job.expired":
        data["deadline_s"] = queued.data.get("deadline_s")  # as long again, from now on
    return data


def _with_secrets(queued: Event, given: Mapping[str, Any]) -> Event:
    """Put secrets back into the inputs; InputError if one is missing or was not asked for."""
    stored = queued.data["inputs"]
    for name in given:
        if masked_input({name: stored.get(name)}) is None:
            raise InputError(
                f"The input {name!r} is stored, and a retry keeps it",
                where=name,
                next_step="Fork the job to run it with another value.",
            )
    return with_inputs(queued, given)


def _answered(events: Sequence[Event], interrupt: str, value: Any, now: float) -> list[Event]:
    """Give the events that record an answer, and that the job goes on; what follows from them is
    issued when it has a slot."""
    run = JobRun(events[0].job_id, Pricing(None))
    run.replay(events)
    made = run.start(now, {"resumed": True, "answers": {interrupt: value}}).events
    types = [event.type for event in made]
    if "job.started" not in types:  # its hard deadline passed while it waited
        raise expired_before(events[0].job_id)
    return list(made[: types.index("job.started") + 1])


def _check_answer(events: Sequence[Event], interrupt: str, value: Any) -> None:
    """Raise ConflictError or InputError unless a job that runs elsewhere asks this."""
    run = JobRun(events[0].job_id, Pricing(None))
    run.replay(events)
    accepted(run.dispatcher.interrupts(at_rest=False), interrupt, value, run.job_id)


def _ended(row: JobRow) -> ConflictError:
    return ConflictError(
        f"The job has ended: it {row.status}" if row.status != "expired" else "The job expired",
        where=f"job {row.id}",
        next_step="Fork it, or submit a new job.",
    )


def _busy(row: JobRow) -> ConflictError:
    return ConflictError(
        "The job is being worked on", where=f"job {row.id}", next_step="Look at it again."
    )
