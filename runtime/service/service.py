"""The job service: one object a server asks for everything about jobs. On one asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gangline.backends.base import Backend
from gangline.ir.errors import GanglineError, NotFoundError
from gangline.ir.specs.event import FINAL_STATUSES, Event
from gangline.ir.specs.fleet import Fleet
from gangline.runtime.clock import Clock, WallClock
from gangline.runtime.job import result_of
from gangline.runtime.session import Options, Session
from gangline.runtime.store import JobRow, Store

from .documents import job_resource, job_row
from .hub import ENDED, STOPPED, Hub, Lagged
from .job_request import JobRequest
from .offers import Offers
from .settings import Settings
from .tenant import Tenant

if TYPE_CHECKING:
    from gangline.workflows.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Submitted:
    """An accepted job: its document, and whether an idempotency key gave an earlier one."""

    document: Mapping[str, Any]
    replayed: bool = False

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.document["id"])


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a list shows, newest first; times are seconds since the epoch."""

    limit: int = 50
    after: str = ""
    status: str | None = None
    workflow: str | None = None
    created_after: float | None = None
    created_before: float | None = None
    tenant: str | None = None  # admins only: one tenant's jobs; None shows an admin all


class Service:
    """Submit, watch and steer jobs. Every method takes the tenant who asks.

    Another tenant's job is NotFoundError, the same as one that does not exist.
    """

    def __init__(
        self,
        session: Session,
        store: Store,
        offers: Offers,
        settings: Settings | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.session = session
        self.store = store
        self.offers = offers
        self.settings = settings or Settings()
        self.clock = clock or WallClock()
        self.hub = Hub(self.settings.hub_queue)
        self.draining = False
        self._tenants: dict[str, str] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Begin: take what a dead server left, and look for work from then on."""
        self._loop = asyncio.get_running_loop()

    async def drain(self) -> None:
        """Accept nothing more, and leave running jobs in the store for other servers."""
        self.draining = True

    async def close(self) -> None:
        """Drain and end every task of the service."""
        await self.drain()

    def ready(self) -> dict[str, Any]:
        """Say whether the service can take jobs: `{"ready": bool, "checks": {name: text}}`."""
        return {"ready": not self.draining, "checks": {"store": "ok", "service": "ok"}}

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
        offer = self.offers.find(request.workflow)
        deadline_s = request.deadline_ms / 1000 if request.deadline_ms else None
        options = Options(deadline_s, request.budget_usd, request.model, offer.source)
        job = self.session.job(offer.workflow, request.input, options)
        loop = asyncio.get_running_loop()
        first: asyncio.Future[str] = loop.create_future()

        def tell(event: Event) -> None:
            loop.call_soon_threadsafe(self._tell, first, event)

        self.session.executor.submit(job, tell)
        job_id = await first
        await asyncio.to_thread(self.store.flush)
        self._tenants[job_id] = tenant.name
        return Submitted(await self.job(tenant, job_id))

    def _tell(self, first: asyncio.Future[str], event: Event) -> None:
        if event.type == "job.queued":
            first.set_result(event.job_id)
        self.hub.publish([event])

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
        keys = [None if key is None else f"{key}:{n}" for n in range(len(requests))]
        given = zip(requests, keys, strict=True)
        calls = [self.submit(tenant, request, name, trace) for request, name in given]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        return [_outcome(found) for found in outcomes]

    async def plan(self, tenant: Tenant, request: JobRequest) -> dict[str, Any]:
        """Predict a job without running it (schema: docs/schemas/job_plan.json)."""
        raise NotImplementedError

    # -- jobs seen

    async def job(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Give one job's document."""
        row = self._row(tenant, job_id)
        last = self.store.events(job_id, row.last_seq - 1)
        return job_resource(row, last[-1] if last else None)

    async def steps(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Give the job's step records: `{"data": [...]}` (schema: docs/schemas/step.json)."""
        self._row(tenant, job_id)
        return {"data": result_of(self.store.events(job_id)).to_json()["steps"]}

    async def events(self, tenant: Tenant, job_id: str, after: int = 0) -> AsyncIterator[Event]:
        """Give the job's events with a number above `after`, then live ones as they happen.

        Without gap or duplicate; `step.delta` events (seq 0) come live only. The iterator ends
        when the job is over; a job that asks a person (`input_required`) is not over. Awaiting
        this checks the id; iterating waits for events. Close the iterator when you leave early.
        """
        self._row(tenant, job_id)
        return self._events(job_id, after)

    async def _events(self, job_id: str, after: int) -> AsyncIterator[Event]:
        with self.hub.subscribe(job_id) as live:
            # Invariant: every event up to `after` was given, none twice.
            while True:
                for event in self.store.events(job_id, after):
                    after = event.seq
                    yield event
                if self.store.job(job_id).status in FINAL_STATUSES:
                    return
                try:
                    while True:
                        event = await live.get()
                        if event.seq > after or event.seq == 0:
                            after = max(after, event.seq)
                            yield event
                        if event.type in ENDED and event.seq == after:
                            return
                except Lagged:
                    continue

    async def plan_of(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Give predicted against actual, per stage (schema: docs/schemas/job_plan_report.json)."""
        raise NotImplementedError

    async def graph(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Give the job's graph with the states of its steps (schema: docs/schemas/job_graph.json)."""
        raise NotImplementedError

    async def artifacts(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Give what the job left behind: `{"data": [...]}`; empty today."""
        self._row(tenant, job_id)
        return {"data": []}

    async def jobs(self, tenant: Tenant, wanted: JobFilter | None = None) -> dict[str, Any]:
        """Give one page of jobs: `{"data": [...], "next": cursor or null}`."""
        wanted = wanted or JobFilter()
        rows = self.store.jobs(wanted.limit + 1, wanted.after, wanted.status)
        page = [job_row(row) for row in rows[: wanted.limit]]
        return {"data": page, "next": page[-1]["id"] if len(rows) > wanted.limit else None}

    async def wait(self, tenant: Tenant, job_id: str, seconds: float) -> dict[str, Any]:
        """Give the job's document when it stopped, or as it is after `seconds`."""
        stopped = self.hub.stopped(job_id)
        document = await self.job(tenant, job_id)
        if document["status"] not in {*FINAL_STATUSES, "input_required"}:
            await asyncio.wait([stopped], timeout=seconds)
            document = await self.job(tenant, job_id)
        return document

    # -- jobs steered

    async def cancel(self, tenant: Tenant, job_id: str) -> dict[str, Any]:
        """Stop a job, whoever runs it; ConflictError if it has ended. Gives its document."""
        self._row(tenant, job_id)
        self.session.executor.cancel(job_id)
        return await self.job(tenant, job_id)

    async def resume(
        self, tenant: Tenant, job_id: str, interrupt: str, value: Any
    ) -> dict[str, Any]:
        """Answer a job's question; ConflictError if it does not ask this one, InputError if the
        value does not fit. Gives its document."""
        raise NotImplementedError

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
        raise NotImplementedError

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
        are taken over; `inputs` replace inputs."""
        raise NotImplementedError

    # -- what is there

    def workflows(self) -> dict[str, Any]:
        """Give the workflows offered: `{"data": [...]}`."""
        return {"data": [self.offers.find(name).document() for name in self.offers.names()]}

    def workflow(self, name: str) -> dict[str, Any]:
        """Give one workflow; NotFoundError if it is not offered."""
        return self.offers.find(name).document()

    async def devices(self, tenant: Tenant) -> dict[str, Any]:
        """Give the fleet's devices: `{"data": [...]}` (schema: docs/schemas/fleet_devices.json)."""
        return {"data": []}

    async def capacity(self, tenant: Tenant) -> dict[str, Any]:
        """Give how much room the caller has (schema: docs/schemas/capacity.json)."""
        return {}

    def _row(self, tenant: Tenant, job_id: str) -> JobRow:
        owner = self._tenants.get(job_id)
        if owner is None or (owner != tenant.name and "admin" not in tenant.scopes):
            raise no_job(job_id)
        return self.store.job(job_id)


@asynccontextmanager
async def open_service(
    workflows: Iterable[Workflow[..., Any] | str] = (),
    *,
    store: Store | str | Path | None = None,
    fleet: Fleet | None = None,
    backends: Mapping[str, Backend] | None = None,
    settings: Settings | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Service]:
    """Open a service on the running loop; it is drained and closed at the end.

    Args:
        workflows: what is offered: workflows, or their names as on the command line.
        store: an open store (left open), or where it is: a path, a URL, None for the user's own.
        fleet, backends: as for `Session`.
    """
    opened = store if isinstance(store, Store) else Store(Path(store) if store else None)
    session = Session(fleet, backends, opened, clock)
    service = Service(session, opened, Offers(workflows), settings, clock)
    await service.start()
    try:
        yield service
    finally:
        await service.close()
        await asyncio.to_thread(session.close)
        if opened is not store:
            await asyncio.to_thread(opened.close)


def no_job(job_id: str) -> NotFoundError:
    """Say that there is no such job: the same words whether it is somebody else's or nobody's."""
    return NotFoundError(f"There is no job {job_id[:64]!r}", next_step="Check the id.")


def _outcome(found: Submitted | BaseException) -> Submitted | GanglineError:
    if isinstance(found, Submitted | GanglineError):
        return found
    raise found


__all__ = ["ENDED", "STOPPED", "JobFilter", "Service", "Submitted", "no_job", "open_service"]
