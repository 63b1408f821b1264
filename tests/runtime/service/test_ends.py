"""How jobs come to an end by themselves, and what goes on again: deadlines at rest, retention, quotas."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gangline.ir.errors import NotFoundError, QuotaError
from gangline.runtime.execution import step_calls
from gangline.runtime.service.job_request import JobRequest
from gangline.runtime.service.service import Service
from gangline.runtime.service.settings import Settings
from gangline.runtime.service.tenant import Quota, Tenant
from tests.runtime.service.cases import CALLS, request, tenant, until

A = tenant("a")
ADMIN = Tenant("root", frozenset({"admin"}), Quota(max_in_flight=0))


async def submitted(service: Service, by: Tenant, asked: JobRequest) -> Any:
    """Submit as soon as the quota has room: a count of a moment ago may refuse."""
    for _ in range(1000):
        try:
            return await service.submit(by, asked)
        except QuotaError:
            await asyncio.sleep(0.005)
    raise AssertionError("there never was room")


def test_what_goes_on_again_counts_as_in_flight(serve: Any, gate: Any) -> None:
    gate("g")
    one = Tenant("a", frozenset({"submit", "read"}), Quota(max_in_flight=1))

    async def main() -> None:
        async with serve() as service:
            cancelled = await service.submit(one, request("held", input={"gate": "g"}))
            await service.cancel(one, cancelled.id)
            await service.wait(one, cancelled.id, 20)
            asked = await submitted(service, one, request("asking"))
            asks = await service.wait(one, asked.id, 20)
            await submitted(service, one, request("held", input={"gate": "g"}))
            with pytest.raises(QuotaError):
                await service.retry(one, cancelled.id)
            with pytest.raises(QuotaError):
                await service.resume(one, asked.id, asks["interrupt"]["id"], 1)
            await service.retry(ADMIN, cancelled.id)  # not of the admin's own
            assert (await service.job(one, cancelled.id))["status"] in ("queued", "running")
            assert (await service.job(one, asked.id))["status"] == "input_required"

    asyncio.run(main())


def test_a_job_that_waits_for_a_person_past_its_hard_deadline_expires(serve: Any) -> None:
    async def main() -> None:
        async with serve() as service:
            asked = request("asking", deadline_ms=400, on_deadline="expire")
            made = await service.submit(A, asked)
            late = await service.submit(A, request("asking", deadline_ms=400))
            assert (await service.wait(A, made.id, 20))["status"] == "input_required"
            events = [event async for event in await service.events(A, made.id)]
            assert events[-1].type == "job.expired"
            done = await service.job(A, made.id)
            assert (done["status"], done["error"]["code"]) == ("expired", "expired")
            assert (await service.job(A, late.id))["status"] == "input_required"
            assert service.runner.held == {}

    asyncio.run(main())


def test_a_fork_that_waits_past_its_hard_deadline_expires_without_a_slot(
    serve: Any, gate: Any
) -> None:
    gate("g")

    async def main() -> None:
        async with serve(Settings(max_running=1, control_every_s=0.02)) as service:
            made = await service.submit(A, request(deadline_ms=50, on_deadline="expire"))
            await service.wait(A, made.id, 20)
            await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            fork = await service.fork(A, made.id)
            assert (await service.wait(A, fork.id, 20))["status"] == "expired"

    asyncio.run(main())


def test_jobs_that_ended_long_ago_are_forgotten(serve: Any, gate: Any) -> None:
    gate("g")
    quick = Settings(control_every_s=0.02, retain_s=1.0)

    async def main() -> None:
        async with serve() as service:
            old = (await service.submit(A, request())).id
            await service.wait(A, old, 20)
            late = service.store.job(old).updated_s + 1.0
            await until(lambda: service.clock.now() > late)
        async with serve(quick) as service:
            runs = await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: service.store.find(old) is None)
            with pytest.raises(NotFoundError):
                await service.job(A, old)
            late = service.store.job(runs.id).updated_s + 1.5
            await until(lambda: service.clock.now() > late)
            assert (await service.job(A, runs.id))["status"] == "running"

    asyncio.run(main())


def test_what_can_never_be_stored_ends_its_job(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would be taken up again and again, and its steps with it."""
    monkeypatch.setattr(step_calls, "plain", lambda value: 1 << 20_000)

    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request())
            done = await service.wait(A, made.id, 20)
            assert done["status"] == "failed" and "stored" in done["error"]["detail"]

    asyncio.run(main())
