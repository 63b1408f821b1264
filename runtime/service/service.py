"""The job service: one object a server asks for everything about jobs. On one asyncio loop.

submit -> Intake (check, plan, admit) -> Store -> Runner (fair queue, slots) -> Executor
read   <- Reader (log, rows, folds)   <- Store     Hub <- events, once they are durable
steer  -> Steering                    Recovery: what dead servers left, what others ask for
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gangline.backends.base import Backend
from gangline.ir.errors import (
    GanglineError,
    OverloadedError,
    TooLargeError,
)
from gangline.ir.program import Program
from gangline.ir.specs.event import STOPPED_STATUSES, Event
from gangline.ir.specs.fleet import Fleet
from gangline.runtime.clock import Clock, WallClock
from gangline.runtime.job_policy import verdict
from gangline.runtime.session import Session
from gangline.runtime.store import JobRow, Store, open_store

from .creation import Creation, Submitted
from .deliveries import Deliveries
from .draining import leave_running
from .faults import Faults
from .fleet import FleetView, capacity_document
from .graph import draw, graph_document
from .hub import Hub, Stop
from .intake import Intake, body_hash, limits_of, text_of
from .job_request import JobRequest
from .learning import Learning
from .offers import Offers
from .plan_report import plan_document, plan_report
from .plans import Plans
from .reader import JobFilter, Reader, carried_plan, carried_program, no_job, sees
from .recovery import Recovery
from .retention import Retention
from .runner import Runner, is_fault
from .settings import Settings
from .steering import Steering
from .streams import EventStreams
from .tenant import Tenant
from .webhooks import Sender

if TYPE_CHECKING:
    from gangline.workflows.workflow import Workflow

logger = logging.getLogger(__name__)


class Service:
    """Submit, watch and steer jobs. Every method takes the tenant who asks.

    Another tenant's job is NotFoundError, the same as one that does not exist.

    Args:
        session: on the running loop, its events published to `hub`.
        sender: sends webhooks; None makes one.
    """

    def __init__(
        self,
        session: Session,
        store: Store,
        offers: Offers,
        hub: Hub,
        settings: Settings | None = None,
        clock: Clock | None = None,
        sender: Sender | None = None,
    ) -> None:
        self.session = session
        self.store = store
        self.offers = offers
        self.hub = hub
        self.settings = limits_ = settings or Settings()
        self.clock = clock = clock or WallClock()
        self.draining, executor = False, session.executor
        self.fleet = FleetView(session, clock)
        hub.taps.append(self.fleet.count)
        self.direct = executor.direct
        self.plans = Plans(session, limits_, clock)
        self._learning = Learning(session, store)
        self._intake = Intake(offers, self.plans, session, limits_, clock)
        self.runner = Runner(executor, store, limits_, clock, self._learning.started, self._ended)
        executor.on_lapse(self.runner.forget_taken)
        self.reader = Reader(store, hub, limits_, self.runner.queue.position)
        self.streams = EventStreams(self.reader, limits_.max_listeners)
        self._steering = Steering(store, executor, self.runner, hub, clock, self._append)
        self._recovery = Recovery(
            store,
            self.runner,
            hub,
            limits_,
            clock,
            executor.owner,
            self._steering.apply,
            self._append,
            executor.running.keys,
        )
        self._creation = Creation(
            store, executor.owner, self.runner, self.reader, self._recovery, hub, limits_, clock
        )
        self.direct.observers += [self.fleet.count_direct, self._creation.quotas.observe]
        self._sender = sender or Sender(limits_)
        self.deliveries = Deliveries(store, self._sender, limits_, clock, self._told)
        self._retention = Retention(store, clock, limits_.retain_s)
        self._faults = Faults(store, self.reader, clock, executor.owner, self._append)

    # -- its life

    async def start(self) -> None:
        """Begin: take what a dead server left, and look for work from then on."""
        await self.session.executor.start()
        self._recovery.start()
        self.deliveries.start()
        self._retention.start()

    async def drain(self) -> None:
        """Accept nothing more, and leave all jobs in the store for other servers to go on with."""
        if self.draining:
            return
        self.draining = True
        await self._recovery.stop()
        for job_id, epoch in self.runner.stop():
            self.runner.release(job_id, epoch)
        await leave_running(self.session.executor, self.settings.drain_s)
        try:
            async with asyncio.timeout(self.settings.drain_s):
                await asyncio.to_thread(self.store.flush)
        except (TimeoutError, GanglineError) as error:
            logger.warning("the store did not take all leases back: %s", error)

    async def close(self) -> None:
        """Drain and end every task of the service."""
        await self.drain()
        await self._retention.stop()
        await self.deliveries.stop()
        await self._learning.stop()

    def ready(self) -> dict[str, Any]:
        """Say whether the service can take jobs: `{"ready": bool, "checks": {name: bool}}`."""
        backends = self.session.backends.values()
        checks = {
            "store": self.store.healthy() and self._recovery.healthy,
            "accepting": not self.draining,
            "engines": all(getattr(backend, "alive", True) for backend in backends),
        }
        return {"ready": all(checks.values()), "checks": checks}

    # -- jobs begin

    async def submit(
        self, tenant: Tenant, request: JobRequest, key: str | None = None, trace: str | None = None
    ) -> Submitted:
        """Accept one job; it is stored when this returns.

        Args:
            key: the Idempotency-Key: equal key and request give the job made first.
            trace: the caller's W3C traceparent, kept with the job.

        Raises:
            NotFoundError: no such workflow. InputError: an input is wrong. QuotaError,
            OverloadedError, AdmissionError, IdempotencyError, ConflictError (the id is taken).
        """
        with self.runner.accept() if request.mode == "background" else nullcontext():
            return await self._submit(tenant, request, key, trace)

    async def _submit(
        self, tenant: Tenant, request: JobRequest, key: str | None, trace: str | None
    ) -> Submitted:
        self._check_room()
        text = text_of(request)
        accepted = await self._intake.accept(tenant, request, text, trace)
        if request.webhook is not None:
            await self._sender.check(request.webhook.url)
        idempotency = None if key is None else (key, body_hash(text))
        made = await self._creation.create(tenant, request, accepted, idempotency)
        if request.webhook is not None and not made.replayed:
            self.deliveries.expect(made.id)
        return made

    async def submit_many(
        self,
        tenant: Tenant,
        requests: Sequence[JobRequest],
        key: str | None = None,
        trace: str | None = None,
    ) -> list[Submitted | GanglineError]:
        """Accept several jobs, each on its own merits; the outcomes are in order.

        With `key`, item n has the idempotency key `key:n`.
        """
        if len(requests) > self.settings.max_batch:
            raise TooLargeError(
                f"The batch has {len(requests)} jobs; at most {self.settings.max_batch} are taken",
                where="jobs",
                next_step="Send it in parts.",
            )
        keys = [None if key is None else f"{key}:{n}" for n in range(len(requests))]
        given = zip(requests, keys, strict=True)
        # One caller is no rush: the first jobs of a batch need not wait for the last one.
        calls = [self._submit(tenant, request, name, trace) for request, name in given]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        return [_outcome(found) for found in outcomes]

    async def plan(self, tenant: Tenant, request: JobRequest) -> dict[str, Any]:
        """Predict a job without running it (schema: docs/schemas/job_plan.json)."""
        offer = self.offers.find(request.workflow)
        await offer.compiled()
        offer.checked(request.input)
        program = await offer.compiled(request.model)
        limit = limits_of(offer, request)
        policy = self._intake.policy(offer, request)
        planned = await self.plans.get(program, *limit)
        return plan_document(
            planned.plan,
            workflow=offer.name,
            program_hash=planned.program_hash,
            percentiles=await self.plans.percentiles(planned),
            limits=limit,
            calibration=await self.plans.calibration(),
            waiting=self.runner.queue.num_waiting(tenant.name),
            policy=verdict(program, policy),
        )

    # -- jobs seen

    async def job(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Give one job's document."""
        return await self.reader.document(await self._row(tenant, job_id))

    async def steps(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Give the job's step records: `{"data": [...]}` (schema: docs/schemas/step.json)."""
        await self._row(tenant, job_id)
        return await self.reader.steps(job_id)

    async def events(
        self, tenant: Tenant, job_id: str, after: int = 0
    ) -> AsyncGenerator[Event, None]:
        """Give the job's events with a number above `after`, then live ones as they happen.

        Without gap or duplicate; `step.delta` events (seq 0) come live only. The iterator ends
        when the job is over; a job that asks a person (`input_required`) is not over. Awaiting
        this checks the id; iterating waits for events. Close the iterator when you leave early.
        """
        await self._row(tenant, job_id)
        return self.streams.open(tenant.name, job_id, after)

    async def plan_of(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Give predicted against actual, per stage (schema: docs/schemas/job_plan_report.json)."""
        await self._row(tenant, job_id)
        fold = await self.reader.fold(job_id)
        return plan_report(job_id, fold, carried_plan(fold), await self.plans.calibration())

    async def graph(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Give the job's graph with the states of its steps (schema: docs/schemas/job_graph.json)."""
        await self._row(tenant, job_id)
        fold = await self.reader.fold(job_id)
        return await asyncio.to_thread(
            lambda: graph_document(job_id, carried_program(fold), fold, carried_plan(fold))
        )

    async def drawn(self, tenant: Tenant, job_id: str, form: str) -> str:
        """Give the job's graph as text: `mermaid` or `svg`."""
        document, program = await self.graph(tenant, job_id), await self.program(tenant, job_id)
        return await asyncio.to_thread(draw, document, program, form)

    async def program(self, tenant: Tenant, job_id: str) -> Program:
        """Give the program a job carries, for drawings of it."""
        await self._row(tenant, job_id)
        return carried_program(await self.reader.fold(job_id))

    async def artifacts(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Give what the job left beside its output: `{"data": []}`, as steps leave nothing else."""
        await self._row(tenant, job_id)
        return {"data": []}

    async def jobs(self, tenant: Tenant, wanted: JobFilter | None = None) -> dict[str, Any]:
        """Give one page of jobs: `{"data": [...], "next": cursor or null}`."""
        return await self.reader.page(tenant, wanted or JobFilter())

    async def wait(self, tenant: Tenant, job_id: str, seconds: float) -> dict[str, Any]:
        """Give the job's document when it stopped, or as it is after `seconds`."""
        stopped = self.hub.stopped(job_id)
        try:
            # A job that is held here has not stopped, and whose it is need not be read.
            held = self.runner.held.get(job_id)
            before = row = None
            if held is None or not sees(tenant, held.tenant):
                row = await self._row(tenant, job_id)
            else:
                before = held.row
            if row is None or row.status not in STOPPED_STATUSES:
                limit = min(seconds, self.settings.max_wait_s)
                await asyncio.wait([stopped], timeout=limit)
                row = _row_after(before, stopped) or await self._row(tenant, job_id)
        finally:
            self.hub.forget(job_id, stopped)
        stop = stopped.result() if stopped.done() else None
        return await self.reader.document(row, None if stop is None else stop.event)

    # -- jobs steered

    async def cancel(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Stop a job, whoever runs it; ConflictError if it has ended. Gives its document."""
        await self._steering.cancel(await self._row(tenant, job_id))
        return await self.job(tenant, job_id)

    async def resume(
        self, tenant: Tenant, job_id: str, interrupt: str, value: Any
    ) -> dict[str, Any]:
        """Answer a job's question; ConflictError if it does not ask this one, InputError if the
        value does not fit, QuotaError if nothing more may be in flight. Gives its document."""
        self._check_open()
        row = await self._row(tenant, job_id)
        async with self._creation.room(tenant, row):
            await self._steering.resume(row, interrupt, value)
        return await self.job(tenant, job_id)

    async def retry(
        self,
        tenant: Tenant,
        job_id: str,
        *,
        step: str | None = None,
        rerun: Sequence[str] = (),
        inputs: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Go on with a job that stopped: recorded steps are not run again.

        Args:
            step: run this step and all that comes after it anew, whatever is recorded.
            rerun: writing steps that a person has confirmed may run again.
            inputs: values for inputs whose secrets were not stored.
        """
        self._check_open()
        row = await self._row(tenant, job_id)
        async with self._creation.room(tenant, row):
            await self._steering.retry(row, step, rerun, inputs or {})
        return await self.job(tenant, job_id)

    async def fork(
        self,
        tenant: Tenant,
        job_id: str,
        *,
        step: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Submitted:
        """Make a new job from a recorded one: results of all that does not come after `step`
        are taken over; `inputs` replace inputs. Without a step nothing is taken over."""
        self._check_room()
        row = await self._row(tenant, job_id)
        return await self._creation.fork(tenant, row, step, inputs or {}, key)

    # -- what is there

    def workflows(self) -> dict[str, Any]:
        """Give the workflows offered: `{"data": [...]}`."""
        return {"data": [self.offers.find(name).document() for name in self.offers.names()]}

    def workflow(self, name: str) -> dict[str, Any]:
        """Give one workflow; NotFoundError if it is not offered."""
        return self.offers.find(name).document()

    async def devices(self, tenant: Tenant) -> dict[str, Any]:
        """Give the fleet's devices: `{"data": [...]}` (schema: docs/schemas/fleet_devices.json)."""
        return {"data": self.fleet.rows("admin" in tenant.scopes)}

    async def capacity(self, tenant: Tenant) -> dict[str, Any]:
        """Give how much room the caller has (schema: docs/schemas/capacity.json).

        Callers see their own jobs and limits; the server's load as a whole is an admin's.
        """
        left = await self.quota_left(tenant)
        return capacity_document(tenant, self.runner.queue, left, not self.draining)

    async def quota_left(self, tenant: Tenant) -> dict[str, float | None]:
        """Give what the caller's jobs leave of its quota; null where nothing limits it."""
        return await self._creation.quotas.left(tenant)

    # -- inside

    async def _row(self, tenant: Tenant, job_id: str) -> JobRow:
        return await self.reader.row(tenant, job_id)

    def _check_open(self) -> None:
        if self.draining:
            raise _overloaded("The server is stopping", 1.0)

    def _check_room(self) -> None:
        self._check_open()
        if self.store.queue_depth > self.settings.max_queued:
            raise _overloaded("The store has more to write than it can keep up with", 1.0)
        if self._recovery.num_queued >= self.settings.max_queued:
            raise _overloaded(f"{self.settings.max_queued} jobs wait already", 5.0)

    async def _append(self, job_id: str, events: Sequence[Event], epoch: int) -> None:
        """Store events of a job this process holds but does not run, and tell of them."""
        await self.store.append(job_id, events, epoch)
        self.hub.publish(events)

    async def _told(self, job_id: str) -> dict[str, Any] | None:
        row = await self.reader.find(job_id)
        return None if row is None else await self.reader.document(row)

    def _ended(self, job_id: str, tenant: str, error: BaseException | None) -> None:
        """A job has left this process: it stopped, or was given up."""
        self._recovery.feed()
        self._learning.ended(job_id)
        self.deliveries.stopped(job_id)
        if is_fault(error):
            self._faults.bury(job_id, error)
        elif error is not None and not self.draining:
            logger.warning("job %s was left as it is stored: %s", job_id, error)


@asynccontextmanager
async def open_service(
    workflows: Iterable[Workflow[..., Any] | str] = (),
    *,
    store: Store | str | Path | None = None,
    fleet: Fleet | None = None,
    backends: Mapping[str, Backend] | None = None,
    settings: Settings | None = None,
    clock: Clock | None = None,
    sender: Sender | None = None,
) -> AsyncIterator[Service]:
    """Open a service on the running loop; it is drained and closed at the end.

    Args:
        workflows: what is offered: workflows, or their names as on the command line.
        store: an open store (left open), or where it is: a path, a URL, None for the user's own.
        fleet, backends: as for `Session`.
        sender: sends webhooks, in tests.
    """
    settings = settings or Settings()
    opened = store if isinstance(store, Store) else open_store(store)
    hub = Hub(settings.hub_queue)
    loop = asyncio.get_running_loop()
    session = Session(fleet, backends, opened, clock, loop, hub.publish)
    service = Service(session, opened, Offers(workflows), hub, settings, clock, sender)
    try:
        await service.start()
        yield service
    finally:
        await service.close()
        await session.executor.aclose()
        if opened is not store:
            await asyncio.to_thread(opened.close)


def _row_after(before: JobRow | None, stopped: asyncio.Future[Stop | None]) -> JobRow | None:
    """Give the row of a job that stopped without reading it; None if it must be read."""
    stop = stopped.result() if stopped.done() else None
    change = None if stop is None else stop.change
    if before is None or change is None or change.first_seq != before.last_seq + 1:
        return None
    return before.after(change)


def _overloaded(what: str, retry_after_s: float) -> OverloadedError:
    return OverloadedError(what, next_step="Try again a little later.", retry_after_s=retry_after_s)


def _outcome(found: Submitted | BaseException) -> Submitted | GanglineError:
    if isinstance(found, Submitted | GanglineError):
        return found
    raise found


__all__ = ["JobFilter", "Service", "Submitted", "no_job", "open_service"]
