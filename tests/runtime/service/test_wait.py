"""Waiting for a job: what is answered without reading the job back is what the store holds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.specs.event import Event
from gangline.runtime.service.hub import Hub
from gangline.runtime.service.service import Service
from tests.runtime.service.cases import request, tenant, until

A = tenant("a")


def reads_of(service: Service) -> list[str]:
    """Note the jobs whose rows are read from now on."""
    found: list[str] = []
    find = service.store.find

    def noting(job_id: str) -> Any:
        found.append(job_id)
        return find(job_id)

    service.store.find = noting  # type: ignore[method-assign]
    return found


@pytest.mark.parametrize(
    ("workflow", "given", "status"),
    [
        ("four", {"n": 1}, "succeeded"),
        ("asking", {"n": 1}, "input_required"),
        ("mended", {"path": "", "n": 1}, "failed"),
    ],
)
def test_the_document_of_a_job_that_stopped_is_the_stores(
    serve: Any, tmp_path: Path, workflow: str, given: dict[str, Any], status: str
) -> None:
    if "path" in given:
        given = {**given, "path": str(tmp_path / "absent" / "x")}

    async def main() -> None:
        async with serve() as service:
            wanted = request(
                workflow, input=given, deadline_ms=60_000, budget_usd=5.0, metadata={"a": "b"}
            )
            made = await service.submit(A, wanted)
            reads = reads_of(service)
            waited = await service.wait(A, made.id, 20)
            assert reads == []  # it was not read back, and is still what reading would give
            await until(lambda: made.id not in service.runner.held)
            assert waited == await service.job(A, made.id)
            assert waited["status"] == status and reads == [made.id]

    asyncio.run(main())


def test_who_comes_late_is_told_what_the_store_holds(serve: Any, gate: Any) -> None:
    opened = gate("g")

    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: service.store.job(made.id).last_seq > 1)  # events nobody heard
            waiting = asyncio.ensure_future(service.wait(A, made.id, 20))
            await asyncio.sleep(0)
            opened.set()
            waited = await waiting
            assert waited["status"] == "succeeded" and waited["started_s"] is not None
            assert waited == await service.job(A, made.id)

    asyncio.run(main())


def test_the_hub_gives_what_events_changed_only_where_it_heard_all_of_them() -> None:
    def event(seq: int, kind: str = "step.completed") -> Event:
        return Event("j", seq, kind, float(seq), "s", {"usd": 1.0, "late": False, "output": 1})

    async def main() -> None:
        hub = Hub()
        whole, twice = hub.stopped("j"), hub.stopped("k")
        hub.publish([event(2), event(0, "step.delta"), event(3)])
        hub.publish([event(4, "job.completed")])
        stop = whole.result()
        assert stop is not None and stop.change is not None and stop.event.seq == 4
        assert (stop.change.first_seq, stop.change.last_seq) == (2, 4)
        assert (stop.change.usd, stop.change.steps, stop.change.status) == (2.0, 2, "succeeded")
        again = hub.stopped("j")
        hub.relay([event(5), event(5)])
        hub.relay([event(6, "job.completed")])
        stop = again.result()
        assert stop is not None and stop.change is None
        hub.forget("k", twice)
        assert hub.watched == set()

    asyncio.run(main())
