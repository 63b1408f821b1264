"""Bring jobs into the store, and into this process's queue if there is room in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from gangline.ir.errors import ConflictError, QuotaError
from gangline.ir.specs.event import STOPPED_STATUSES
from gangline.runtime.clock import Clock
from gangline.runtime.dispatch.hard_deadline import expires_s
from gangline.runtime.store import JobRow, Store
from gangline.runtime.store.job_row import fresh_row

from .documents import job_resource
from .fair_queue import Waiting
from .hub import Hub
from .intake import Accepted, body_hash, taken
from .job_request import JobRequest
from .quotas import Quotas
from .reader import Reader
from .recovery import Recovery
from .runner import Held, Runner
from .settings import Settings
from .steering import forked_log
from .tenant import Tenant


@dataclass(frozen=True, slots=True)
class Submitted:
    """An accepted job: its document, and whether an idempotency key gave an earlier one."""

    document: Mapping[str, Any]
    replayed: bool = False

    @property
    def id(self) -> str:
        """The job's id."""
        return str(self.document["id"])


class Creation:
    """Create jobs within their tenant's quota."""

    def __init__(
        self,
        store: Store,
        owner: str,
        runner: Runner,
        reader: Reader,
        recovery: Recovery,
        hub: Hub,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._owner = owner
        self._runner = runner
        self._reader = reader
        self._recovery = recovery
        self._hub = hub
        self._clock = clock
        self._tasks: set[asyncio.Task[Submitted]] = set()
        self.quotas = Quotas(self._usage, clock, settings.usage_ttl_s, store.spend)

    async def create(
        self,
        tenant: Tenant,
        request: JobRequest,
        accepted: Accepted,
        idempotency: tuple[str, str] | None,
    ) -> Submitted:
        """Store a job that was accepted; with a key used before, give the job of then.

        Args:
            idempotency: the caller's key, and the hash of what it asks for.
        """
        try:
            reserved = await self.quotas.reserve(tenant)
        except QuotaError:
            # A replay takes nothing from the quota, so the quota must not refuse it.
            replayed = await self._earlier(tenant, idempotency)
            if replayed is None:
                raise
            return replayed
        made = self._store_new(tenant, request, accepted, idempotency)
        return await self._settled(made, tenant, reserved)

    async def _settled(
        self, made: Coroutine[Any, Any, Submitted], tenant: Tenant, reserved: bool
    ) -> Submitted:
        """Carry a creation through, whatever becomes of who asked for it.

        A caller that went away in the middle must not leave a job that we hold and never run.
        """

        async def settle() -> Submitted:
            stored = False
            try:
                found = await made
                stored = not found.replayed
            finally:
                if reserved:
                    self.quotas.settle(tenant.name, stored)
            return found

        task = asyncio.get_running_loop().create_task(settle())
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Submitted]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # told to the caller, or nobody is left to tell

    async def _store_new(
        self,
        tenant: Tenant,
        request: JobRequest,
        accepted: Accepted,
        idempotency: tuple[str, str] | None,
    ) -> Submitted:
        queued, name, webhook = accepted.queued, tenant.name, request.webhook
        # A tenant whose jobs wait in the store already must not overtake them with newer ones.
        spilled = name in self._recovery.spilled or not self._runner.has_room(name)
        ours = accepted.keep or not spilled
        try:
            made = await self._store.create(
                queued,
                accepted.offer.name,
                self._owner if ours else "",
                tenant=name,
                priority=request.priority,
                idempotency=idempotency,
                webhook=None if webhook is None else webhook.model_dump(exclude_none=True),
            )
        except ConflictError:
            raise taken() from None
        if made.replayed:
            return await self._replayed(tenant, made.job_id)
        self._runner.weights[name] = tenant.quota.weight
        self._hub.publish([queued])
        row = fresh_row(queued, made.epoch)
        if ours:
            waiting = Waiting(
                queued.job_id, name, request.priority, queued.at_s, expires_s=expires_s([queued])
            )
            self._runner.add(waiting, Held(made.epoch, name, (queued,), row=row))
        else:
            self._recovery.spill(name)
        return self._submitted(row)

    @asynccontextmanager
    async def room(self, tenant: Tenant, row: JobRow) -> AsyncIterator[None]:
        """Hold a place of the tenant's quota for a job of its own that is to go on."""
        # One of which other branches run while it asks is in flight already.
        counts = row.tenant == tenant.name and row.status in STOPPED_STATUSES
        reserved = counts and await self.quotas.reserve(tenant)
        stored = False
        try:
            yield
            stored = True
        finally:
            if reserved:
                self.quotas.settle(tenant.name, stored)

    async def fork(
        self,
        tenant: Tenant,
        row: JobRow,
        step: str | None,
        inputs: Mapping[str, Any],
        key: str | None,
    ) -> Submitted:
        """Store a new job that begins with what another one recorded."""
        reserved = await self.quotas.reserve(tenant)
        made = self._store_fork(tenant, row, step, inputs, key)
        return await self._settled(made, tenant, reserved)

    async def _store_fork(
        self,
        tenant: Tenant,
        row: JobRow,
        step: str | None,
        inputs: Mapping[str, Any],
        key: str | None,
    ) -> Submitted:
        log = await forked_log(self._store, row, step, inputs, self._clock.now())
        idempotency = None if key is None else (key, _fork_hash(row.id, step, inputs))
        queued = log[0]
        made = await self._store.create(
            queued,
            row.workflow,
            self._owner,
            tenant=row.tenant,
            priority=row.priority,
            idempotency=idempotency,
            forked_from=row.id,
        )
        if made.replayed:
            return await self._replayed(tenant, made.job_id)
        if len(log) > 1:
            # A crash before this leaves a job that knows its results are missing, and fails.
            await self._store.append(queued.job_id, log[1:], made.epoch)
        self._hub.publish(log)
        waiting = Waiting(
            queued.job_id, row.tenant, row.priority, queued.at_s, expires_s=expires_s(log)
        )
        self._runner.add(waiting, Held(made.epoch, row.tenant, log))
        return self._submitted(replace(fresh_row(queued, made.epoch), last_seq=log[-1].seq))

    def _submitted(self, row: JobRow) -> Submitted:
        return Submitted(job_resource(row, None, self._runner.queue.position(row.id)))

    async def _replayed(self, tenant: Tenant, job_id: str) -> Submitted:
        row = await self._reader.row(tenant, job_id)
        return Submitted(await self._reader.document(row), replayed=True)

    async def _earlier(
        self, tenant: Tenant, idempotency: tuple[str, str] | None
    ) -> Submitted | None:
        """Give the job a key stands for already; None if there is none, or of another body."""
        if idempotency is None:
            return None
        key, body = idempotency
        found = await self._reader.light(self._store.earlier, tenant.name, key)
        if found is None or found[1] != body:
            return None
        return await self._replayed(tenant, found[0])

    async def _usage(self, tenant: str, since_s: float) -> Any:
        return await self._reader.light(self._store.usage, tenant, since_s)


def _fork_hash(job_id: str, step: str | None, inputs: Mapping[str, Any]) -> str:
    return body_hash(json.dumps(["fork", job_id, step, inputs], sort_keys=True))
