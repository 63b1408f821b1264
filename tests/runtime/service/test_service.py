"""The service as a server uses it: submit, isolation, idempotency, events, steering, documents."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import (
    AdmissionError,
    ConflictError,
    GanglineError,
    IdempotencyError,
    InputError,
    NotFoundError,
    OverloadedError,
    QuotaError,
    RequestError,
    TooLargeError,
)
from gangline.ir.specs.event import Event
from gangline.runtime.service.job_request import JobRequest
from gangline.runtime.service.reader import JobFilter
from gangline.runtime.service.service import Service
from gangline.runtime.service.settings import Settings
from gangline.runtime.service.tenant import Quota, Tenant
from gangline.runtime.store import Store
from tests.runtime.service.cases import CALLS, broken, joined, request, tenant, twice, until

A, B, ADMIN = tenant("a"), tenant("b"), tenant("root", "admin")
Validate = Callable[[str, Any], None]
ABSENT = "01a20778-42ba-7e33-bf8d-517c93ebed91"


async def read_all(service: Service, job_id: str, after: int = 0) -> list[Event]:
    return [event async for event in await service.events(A, job_id, after)]


def test_a_job_from_submit_to_result(serve: Any, validate: Validate) -> None:
    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request(metadata={"of": "mine"}, priority=7))
            assert not made.replayed and made.document["status"] == "queued"
            validate("job", made.document)
            done = await service.wait(A, made.id, 20)
            validate("job", done)
            assert (done["status"], done["output"], done["tenant"]) == ("succeeded", 12, "a")
            assert (done["priority"], done["metadata"]) == (7, {"of": "mine"})
            assert done["created_s"] <= done["started_s"] <= done["ended_s"]
            steps = (await service.steps(A, made.id))["data"]
            assert [step["status"] for step in steps] == ["succeeded", "succeeded"]
            for step in steps:
                validate("step", step)

    asyncio.run(main())


def test_it_is_stored_when_submit_returns(serve: Any, db: Path) -> None:
    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request())
            with sqlite3.connect(db) as other:
                rows = other.execute("SELECT id FROM jobs").fetchall()
            other.close()
            assert rows == [(made.id,)]

    asyncio.run(main())


def test_what_is_refused_leaves_nothing(serve: Any) -> None:
    async def main() -> None:
        settings = Settings(max_input_bytes=2000)
        async with serve(settings) as service:
            wrong: list[tuple[JobRequest, type[GanglineError]]] = [
                (request("absent"), NotFoundError),
                (request(input={}), InputError),
                (request(input={"n": "many"}), InputError),
                (request(input={"n": 1, "m": 2}), InputError),
                (request(id="x" * 36), RequestError),
                (request(model="no such model"), GanglineError),
                (
                    request("notes", input={"path": "x" * 2000, "text": ""}),
                    TooLargeError,
                ),
                (
                    request(webhook={"url": "https://127.0.0.1/x"}),
                    RequestError,
                ),
            ]
            for asked, error in wrong:
                with pytest.raises(error):
                    await service.submit(A, asked)
            assert (await service.jobs(ADMIN))["data"] == []
            outcomes = await service.submit_many(A, [request(), wrong[1][0], request()])
            assert [isinstance(found, GanglineError) for found in outcomes] == [False, True, False]

    asyncio.run(main())


def test_another_tenants_job_does_not_exist(serve: Any, gate: Any) -> None:
    gate("g")

    async def refusal(call: Any) -> tuple[Any, ...]:
        with pytest.raises(NotFoundError) as caught:
            await call
        return (type(caught.value), caught.value.to_json())

    async def main() -> None:
        async with serve() as service:
            theirs = (await service.submit(B, request("held", input={"gate": "g"}))).id
            await until(lambda: CALLS == ["g"])
            calls: list[Callable[[str], Any]] = [
                lambda job_id: service.job(A, job_id),
                lambda job_id: service.steps(A, job_id),
                lambda job_id: service.events(A, job_id),
                lambda job_id: service.plan_of(A, job_id),
                lambda job_id: service.graph(A, job_id),
                lambda job_id: service.program(A, job_id),
                lambda job_id: service.artifacts(A, job_id),
                lambda job_id: service.wait(A, job_id, 0.0),
                lambda job_id: service.cancel(A, job_id),
                lambda job_id: service.resume(A, job_id, "x", 1),
                lambda job_id: service.retry(A, job_id),
                lambda job_id: service.fork(A, job_id),
                lambda job_id: service.jobs(A, JobFilter(after=job_id)),
            ]
            # Nor does it take any longer to be told so, as a wait for its end would.
            await asyncio.wait_for(refusal(service.wait(A, theirs, 60)), 20)
            for call in calls:
                kind, absent = await refusal(call(ABSENT))
                _, hidden = await refusal(call(theirs))
                assert kind is NotFoundError
                assert {
                    name: text.replace(theirs, ABSENT) for name, text in hidden.items()
                } == absent
            assert (await service.jobs(A))["data"] == []
            seen = await service.capacity(A)
            assert (seen["running"], seen["queued"], seen["tenants"]) == (0, 0, None)
            assert all(row["running"] is None for row in (await service.devices(A))["data"])
            # Its owner and an admin see it.
            assert (await service.capacity(B))["running"] == 1
            assert (await service.capacity(ADMIN))["tenants"] == [
                {"tenant": "b", "running": 1, "queued": 0}
            ]
            for who in (B, ADMIN):
                assert (await service.job(who, theirs))["id"] == theirs
            listed = await service.jobs(ADMIN, JobFilter(tenant="b"))
            assert [row["id"] for row in listed["data"]] == [theirs]
            assert (await service.jobs(ADMIN, JobFilter(tenant="a")))["data"] == []
            mine = await service.jobs(A, JobFilter(tenant="b"))  # not an admin: ignored
            assert mine["data"] == []

    asyncio.run(main())


def test_one_key_is_one_job_even_while_the_first_is_in_flight(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "told"

    async def main() -> None:
        async with serve() as service:
            asked = request("notes", input={"path": str(path), "text": "x"})
            calls = [service.submit(A, asked, "key-1") for _ in range(25)]
            made = await asyncio.gather(*calls)
            assert len({found.id for found in made}) == 1
            assert sorted(found.replayed for found in made) == [False] + 24 * [True]
            await service.wait(A, made[0].id, 20)
            again = await service.submit(A, asked, "key-1")
            assert again.replayed and again.document["output"] == "x"
            assert path.read_text() == "x\nx\n"
            # How the caller waits is not what it asks for.
            assert (
                await service.submit(A, asked.model_copy(update={"mode": "wait"}), "key-1")
            ).replayed
            with pytest.raises(IdempotencyError):
                await service.submit(A, request(), "key-1")
            others = await service.submit(B, request(), "key-1")
            assert not others.replayed and others.id != made[0].id

    asyncio.run(main())


def test_a_replay_is_not_refused_by_the_quota(serve: Any, gate: Any) -> None:
    opened = gate("g")
    few = Tenant("a", frozenset({"submit", "read"}), Quota(max_in_flight=2))

    async def main() -> None:
        async with serve() as service:
            asked = request("held", input={"gate": "g"})
            made = await service.submit(few, asked, "k1")
            tries = [service.submit(few, asked, f"k{number}") for number in range(2, 12)]
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
            assert sum(not isinstance(found, BaseException) for found in outcomes) == 1
            assert all(
                isinstance(found, QuotaError)
                for found in outcomes
                if isinstance(found, BaseException)
            )
            assert (await service.submit(few, asked, "k1")).id == made.id
            with pytest.raises(QuotaError):
                await service.submit(few, request(), "k1")
            opened.set()
            await service.wait(few, made.id, 20)
            assert (await service.capacity(few))["left"]["in_flight"] is not None

    asyncio.run(main())


def test_an_id_of_the_callers_own_is_taken_once(serve: Any) -> None:
    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request(id=ABSENT.upper()))
            assert made.id == ABSENT
            for who in (A, B):
                with pytest.raises(ConflictError) as caught:
                    await service.submit(who, request(id=ABSENT))
                assert ABSENT not in str(caught.value)

    asyncio.run(main())


def test_no_event_is_lost_between_the_log_and_the_live_tail(
    serve: Any, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is stored after the log was read and before anybody listened is what a toy loses."""
    opened, ended = gate("g"), threading.Event()

    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            read = service.store.events

            def slow(job_id: str, *args: Any) -> list[Event]:
                found: list[Event] = read(job_id, *args)
                if not opened.is_set():
                    opened.set()
                    assert ended.wait(20)
                return found

            service.hub.taps.append(
                lambda events: ended.set() if events[-1].type == "job.completed" else None
            )
            monkeypatch.setattr(service.store, "events", slow)
            seen = await asyncio.wait_for(read_all(service, made.id), 20)
            assert [event.seq for event in seen] == list(range(1, 6))

    asyncio.run(main())


def test_listeners_at_every_moment_hear_each_event_once(serve: Any) -> None:
    async def main() -> None:
        async with serve(Settings(page_events=7, hub_queue=16)) as service:
            listeners: list[tuple[int, asyncio.Future[list[Event]]]] = []

            def listen(events: Sequence[Event]) -> None:
                for event in events:
                    if event.seq in (1, 2, 3, 30, 31, 400, 401, 900, 1200, 1600, 1604, 1605):
                        after = event.seq % 7
                        reading = read_all(service, event.job_id, after)
                        listeners.append((after, asyncio.ensure_future(reading)))

            service.hub.taps.append(listen)
            made = await service.submit(A, request("many", input={"n": 800}))
            last = (await service.wait(A, made.id, 60))["last_seq"]
            assert last == 1605 and len(listeners) == 12
            for after, listener in listeners:
                seen = [event.seq for event in await asyncio.wait_for(listener, 20) if event.seq]
                assert seen == list(range(after + 1, last + 1))
            assert service.hub.num_listeners() == 0
            assert await read_all(service, made.id, last) == []

    asyncio.run(main())


def test_an_event_told_elsewhere_is_fetched_from_the_log(serve: Any, gate: Any) -> None:
    gate("g")

    async def main() -> None:
        async with serve(Settings(control_every_s=60.0)) as service:
            made = await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            stream = await service.events(A, made.id)
            assert [(await anext(stream)).seq for _ in range(3)] == [1, 2, 3]
            held = service.runner.held[made.id]
            silent = [
                Event(made.id, 4, "step.queued", 0.0, "x"),
                Event(made.id, 5, "step.queued", 0.0, "y"),
            ]
            await service.store.append(made.id, silent, held.epoch)
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0.01)
            service.hub.publish(silent[1:])  # 4 was told by nobody
            assert (await asyncio.wait_for(waiting, 20)).seq == 4
            assert (await asyncio.wait_for(anext(stream), 20)).seq == 5
            await stream.aclose()

    asyncio.run(main())


def test_tenants_have_so_many_streams(serve: Any, gate: Any) -> None:
    gate("g")

    async def main() -> None:
        async with serve(Settings(max_listeners=1)) as service:
            made = await service.submit(A, request("held", input={"gate": "g"}))
            stream = await service.events(A, made.id)
            await anext(stream)
            with pytest.raises(QuotaError):
                await service.events(A, made.id)
            await stream.aclose()
            again = await service.events(A, made.id)
            await anext(again)
            await again.aclose()

    asyncio.run(main())


def test_waiting_ends_with_the_job_or_the_time(serve: Any, gate: Any) -> None:
    opened = gate("g")

    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request("held", input={"gate": "g"}))
            assert (await service.wait(A, made.id, 0.02))["status"] in ("queued", "running")
            waiting = [asyncio.ensure_future(service.wait(A, made.id, 20)) for _ in range(5)]
            await asyncio.sleep(0.01)
            opened.set()
            assert {(await found)["output"] for found in waiting} == {"g"}
            assert service.hub.watched == set()

    asyncio.run(main())


def test_lists_come_in_pages_and_by_filters(serve: Any, validate: Validate) -> None:
    async def main() -> None:
        async with serve() as service:
            ids = [(await service.submit(A, request())).id for _ in range(5)]
            for job_id in ids:
                await service.wait(A, job_id, 20)
            first = await service.jobs(A, JobFilter(limit=2))
            validate("job_list", first)
            second = await service.jobs(A, JobFilter(limit=2, after=first["next"]))
            third = await service.jobs(A, JobFilter(limit=2, after=second["next"]))
            seen = [row["id"] for page in (first, second, third) for row in page["data"]]
            assert seen == ids[::-1] and third["next"] is None
            assert (await service.jobs(A, JobFilter(status="failed")))["data"] == []
            assert len((await service.jobs(A, JobFilter(workflow="four")))["data"]) == 5
            created = first["data"][0]["created_s"]
            assert len((await service.jobs(A, JobFilter(created_before=created)))["data"]) == 4
            for part in (ids[1], ids[1][:-1]):
                found = (await service.jobs(A, JobFilter(id_prefix=part)))["data"]
                assert ids[1] in [row["id"] for row in found]
                assert all(row["id"].startswith(part) for row in found)
            shared = JobFilter(id_prefix=ids[0][:6], limit=3)
            assert [row["id"] for row in (await service.jobs(A, shared))["data"]] == ids[:1:-1]
            assert (await service.jobs(B, shared))["data"] == []

    asyncio.run(main())


def test_cancel_a_job_that_waits_and_one_that_runs(serve: Any, gate: Any) -> None:
    gate("g")

    async def main() -> None:
        async with serve(Settings(max_running=1)) as service:
            runs = await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            waits = await service.submit(A, request())
            stream = asyncio.ensure_future(read_all(service, waits.id))
            assert (await service.job(A, waits.id))["position"] == 0
            cancelled = await service.cancel(A, waits.id)
            assert (cancelled["status"], cancelled["error"]["code"]) == ("cancelled", "cancelled")
            assert [event.type for event in await stream] == ["job.queued", "job.cancelled"]
            assert (await service.cancel(A, waits.id))["status"] == "cancelled"
            assert (await service.cancel(A, runs.id))["status"] == "cancelled"
            after = await service.submit(A, request())
            done = await service.wait(A, after.id, 20)
            assert done["status"] == "succeeded"
            with pytest.raises(ConflictError):
                await service.cancel(A, after.id)

    asyncio.run(main())


def test_a_failed_job_is_retried_without_its_recorded_steps(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "there"

    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request("mended", input={"path": str(path), "n": 4}))
            failed = await service.wait(A, made.id, 20)
            assert failed["status"] == "failed" and failed["error"]["code"] == "step"
            assert failed["error_code"] == "step"
            path.write_text("now")
            again = await service.retry(A, made.id)
            assert again["status"] in ("running", "succeeded")
            done = await service.wait(A, made.id, 20)
            assert done["output"] == "now 8" and done["error"] is None
            events = await read_all(service, made.id)
            ran = [event.step_id for event in events if event.type == "step.completed"]
            assert sorted(ran) == sorted([broken.name, joined.name, twice.name])
            with pytest.raises(ConflictError):
                await service.retry(A, made.id)
            with pytest.raises(InputError):
                await service.fork(A, made.id, inputs={"absent": 1})
            path.write_text("later")
            fork = await service.fork(A, made.id, step=broken.name)
            assert fork.document["forked_from"] == made.id
            assert (await service.wait(A, fork.id, 20))["output"] == "later 8"
            changed = await service.fork(A, made.id, inputs={"n": 5}, key="f")
            assert (await service.wait(A, changed.id, 20))["output"] == "later 10"
            assert (await service.fork(A, made.id, inputs={"n": 5}, key="f")).replayed
            from_step = await service.retry(A, made.id, step=broken.name)
            assert from_step["status"] in ("running", "succeeded")
            assert (await service.wait(A, made.id, 20))["output"] == "later 8"

    asyncio.run(main())


def test_a_retry_that_was_acknowledged_survives_its_server(
    serve: Any, gate: Any, tmp_path: Path
) -> None:
    gate("g")
    path = tmp_path / "there"

    async def main() -> None:
        async with serve(Settings(max_running=1)) as service:
            made = await service.submit(A, request("mended", input={"path": str(path), "n": 4}))
            assert (await service.wait(A, made.id, 20))["status"] == "failed"
            path.write_text("now")
            await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            assert (await service.retry(A, made.id))["status"] == "running"
        async with serve() as service:
            assert (await service.wait(A, made.id, 20))["output"] == "now 8"

    asyncio.run(main())


def test_what_does_not_stop_cannot_go_on(serve: Any, gate: Any) -> None:
    gate("g")

    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request("held", input={"gate": "g"}))
            with pytest.raises(ConflictError):
                await service.retry(A, made.id)
            with pytest.raises(ConflictError):
                await service.resume(A, made.id, "x", 1)

    asyncio.run(main())


def test_a_job_that_waits_past_its_hard_deadline_expires_without_a_slot(
    serve: Any, gate: Any
) -> None:
    gate("g")

    async def main() -> None:
        async with serve(Settings(max_running=1, control_every_s=0.02)) as service:
            await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            made = await service.submit(A, request(deadline_ms=50, on_deadline="expire"))
            done = await service.wait(A, made.id, 20)
            assert (done["status"], done["error"]["code"]) == ("expired", "expired")
            assert service.runner.queue.num_running == 1

    asyncio.run(main())


def test_a_stopping_server_takes_nothing_and_lets_others_go_on(serve: Any, gate: Any) -> None:
    opened = gate("g")

    async def main() -> None:
        async with serve(Settings(max_running=1)) as first:
            running = await first.submit(A, request("held", input={"gate": "g"}))
            waiting = await first.submit(A, request())
            await until(lambda: CALLS == ["g"])
            await first.drain()
            assert first.ready()["ready"] is False
            for call in (first.submit(A, request()), first.retry(A, waiting.id)):
                with pytest.raises(OverloadedError) as caught:
                    await call
                assert caught.value.retry_after_s
            opened.set()
            async with serve() as second:
                for made in (running, waiting):
                    done = await asyncio.wait_for(second.wait(A, made.id, 20), 20)
                    assert done["status"] == "succeeded"
                events = [event async for event in await second.events(A, running.id)]
                starts = [event.data for event in events if event.type == "job.started"]
                assert len(starts) == 2 and all("takeover" not in data for data in starts)

    asyncio.run(main())


def test_more_jobs_than_memory_holds_wait_in_the_store(serve: Any, gate: Any) -> None:
    opened = gate("g")
    settings = Settings(
        max_running=2,
        queue_in_memory=12,
        queue_per_tenant=6,
        queue_floor=2,
        control_every_s=0.02,
        claim_every_s=0.04,
    )

    async def main() -> None:
        async with serve(settings) as service:
            plug = [await service.submit(A, request("held", input={"gate": "g"})) for _ in range(2)]
            made = [await service.submit(A, request()) for _ in range(60)]
            others = [await service.submit(B, request()) for _ in range(3)]
            assert len(service.runner.queue) <= 12 + 2
            opened.set()
            for found in plug + made:
                assert (await service.wait(A, found.id, 30))["status"] == "succeeded"
            for found in others:
                assert (await service.wait(B, found.id, 30))["status"] == "succeeded"
            assert len(service.runner.held) == 0 and service.runner.queue.num_running == 0

    asyncio.run(main())


def test_a_tenants_single_job_does_not_wait_for_anothers_queue(serve: Any, gate: Any) -> None:
    opened = gate("g")

    async def main() -> None:
        async with serve(Settings(max_running=1)) as service:
            await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            made = [await service.submit(A, request()) for _ in range(100)]
            single = await service.submit(B, request())
            assert (await service.job(B, single.id))["position"] == 0
            assert (await service.job(A, made[40].id))["position"] == 40
            order: list[str] = []
            service.hub.taps.append(
                lambda events: order.extend(e.job_id for e in events if e.type == "job.completed")
            )
            opened.set()
            await service.wait(A, made[-1].id, 20)
            assert order.index(single.id) <= 2

    asyncio.run(main())


def test_a_secret_stays_in_memory_and_is_asked_for_after_a_crash(
    serve: Any, gate: Any, tmp_path: Path
) -> None:
    gate("g")
    secret = "postgresql://me:hunter2@db/x"

    async def main() -> None:
        async with serve(Settings(max_running=1, queue_per_tenant=0, queue_floor=0)) as service:
            path = str(tmp_path / "there")
            made = await service.submit(A, request("notes", input={"path": path, "text": secret}))
            done = await service.wait(A, made.id, 20)
            assert done["status"] == "succeeded" and Path(path).read_text() == 2 * f"{secret}\n"
            await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            waits = await service.submit(A, request("notes", input={"path": path, "text": secret}))
            await service.drain()
            async with serve() as second:
                asked = await second.wait(A, waits.id, 20)
                assert asked["status"] == "input_required" and "hunter2" not in str(asked)
                assert "'text'" in asked["error"]["detail"]
                with pytest.raises(InputError):
                    await second.retry(A, waits.id)
                await second.retry(A, waits.id, inputs={"text": secret})
                assert (await second.wait(A, waits.id, 20))["status"] == "succeeded"
            assert Path(path).read_text() == 4 * f"{secret}\n"

    asyncio.run(main())


def test_documents_of_plans_graphs_devices_and_workflows(serve: Any, validate: Validate) -> None:
    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request("many", input={"n": 40}))
            await service.wait(A, made.id, 20)
            graph = await service.graph(A, made.id)
            validate("job_graph", graph)
            nodes = {node["id"]: node for node in graph["nodes"]}
            assert nodes[twice.name]["steps"] == {"succeeded": 40}
            assert nodes[twice.name]["parent"] == "map"
            assert nodes["map"]["status"] == "succeeded"
            assert {"source": "numbers", "target": "map"} in graph["edges"]
            report = await service.plan_of(A, made.id)
            validate("job_plan_report", report)
            assert not report["planned"] and report["actual"]["seconds"] > 0
            plan = await service.plan(A, request("many", input={"n": 40}))
            validate("job_plan", plan)
            validate("capacity", await service.capacity(A))
            validate("capacity", await service.capacity(ADMIN))
            validate("fleet_devices", await service.devices(A))
            validate("fleet_devices", await service.devices(ADMIN))
            for workflow in service.workflows()["data"]:
                validate("workflow", workflow)
            assert (await service.program(A, made.id)).name == "many"

    asyncio.run(main())


def test_jobs_that_cannot_be_done_in_time_are_not_admitted(serve: Any, validate: Validate) -> None:
    from gangline.runtime.machine.default_backends import default_fleet

    async def main() -> None:
        async with serve(fleet=default_fleet()) as service:
            late = request("many", input={"n": 3}, deadline_ms=0.001, admit="feasible")
            with pytest.raises(AdmissionError) as caught:
                await service.submit(A, late)
            assert "deadline" in caught.value.detail
            plan = await service.plan(A, late)
            validate("job_plan", plan)
            assert plan["admission"]["feasible"] is False and plan["admission"]["reasons"]
            assert plan["predicted"]["p50_s"] <= plan["predicted"]["p95_s"]
            calls, planner = [], service.session.plan

            def plan_once(*args: Any) -> Any:
                calls.append(args)
                return planner(*args)

            service.session.plan = plan_once
            ids = [
                (
                    await service.submit(A, request("many", input={"n": 3}, deadline_ms=60_000 + n))
                ).id
                for n in range(20)
            ]
            assert len(calls) == 1  # limits that are nearly equal share a plan
            done = await service.wait(A, ids[0], 20)
            assert done["status"] == "succeeded" and done["predicted"]["seconds"] > 0
            report = await service.plan_of(A, ids[0])
            validate("job_plan_report", report)
            assert report["planned"] and report["error"]["seconds"] is not None
            validate("job_graph", await service.graph(A, ids[0]))

    asyncio.run(main())


def test_the_cache_salt_is_the_tenant(serve: Any) -> None:
    async def main() -> None:
        async with serve() as service:
            made = await service.submit(B, request())
            (queued, *_) = [event async for event in await service.events(B, made.id)]
            assert queued.data["tenant"] == "b"

    asyncio.run(main())


def test_readiness_names_what_is_missing(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    well = {"store": True, "accepting": True, "engines": True}

    async def main() -> None:
        async with serve() as service:
            assert service.ready() == {"ready": True, "checks": well}
            with monkeypatch.context() as patched:
                patched.setattr(service.store, "healthy", lambda: False)
                assert service.ready() == {"ready": False, "checks": {**well, "store": False}}
            assert service.ready()["ready"]
            await service.drain()
            told = service.ready()
            assert not told["ready"] and not told["checks"]["accepting"]

    asyncio.run(main())


def test_a_fault_of_ours_ends_the_job_and_not_the_server(
    serve: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from gangline.runtime.dispatch.job_run import JobRun

    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("in the runtime")

    async def main() -> None:
        async with serve() as service:
            with monkeypatch.context() as patched:
                patched.setattr(JobRun, "completed", fail)
                made = await service.submit(A, request())
                done = await service.wait(A, made.id, 20)
            assert done["status"] == "failed" and "ZeroDivisionError" in done["error"]["detail"]
            fine = await service.submit(A, request())
            assert (await service.wait(A, fine.id, 20))["status"] == "succeeded"

    asyncio.run(main())
    assert "failed inside the server" in caplog.text


def test_a_store_is_left_open_where_it_was_brought(serve: Any, db: Path) -> None:
    async def main() -> None:
        with Store(db) as store:
            async with serve(store=store) as service:
                made = await service.submit(A, request())
                await service.wait(A, made.id, 20)
            assert store.job(made.id).status == "succeeded"

    asyncio.run(main())


def test_a_stopping_server_lets_a_write_end_and_begins_no_other(
    serve: Any, gate: Any, tmp_path: Path
) -> None:
    opened, path = gate("w"), tmp_path / "told"

    async def main() -> None:
        asked = request("slow_notes", input={"gate": "w", "path": str(path), "text": "x"})
        async with serve() as first:
            made = await first.submit(A, asked)
            await until(lambda: CALLS == ["w"])
            draining = asyncio.ensure_future(first.drain())
            await asyncio.sleep(0.05)
            assert not draining.done()
            opened.set()
            await draining
            assert path.read_text() == "x\n"
            events = first.store.events(made.id)
            assert [event.type for event in events][-1] == "step.completed"
        async with serve() as second:
            done = await second.wait(A, made.id, 20)
            assert (done["status"], path.read_text()) == ("succeeded", "x\nx\n")

    asyncio.run(main())


def test_a_question_is_answered_once_and_only_if_it_fits(serve: Any, validate: Validate) -> None:
    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request("asking", input={"n": 4}))
            asks = await service.wait(A, made.id, 20)
            validate("job", asks)
            assert asks["status"] == "input_required"
            assert asks["interrupt"]["question"] == "How many more?"
            name = asks["interrupt"]["id"]
            with pytest.raises(ConflictError):
                await service.resume(A, made.id, "no such question", 1)
            with pytest.raises(InputError):
                await service.resume(A, made.id, name, "some")
            again = (await service.job(A, made.id))["status"], service.runner.held
            assert again == ("input_required", {})
            answers = [service.resume(A, made.id, name, 2) for _ in range(4)]
            outcomes = await asyncio.gather(*answers, return_exceptions=True)
            refused = [found for found in outcomes if isinstance(found, BaseException)]
            assert len(refused) == 3 and all(isinstance(found, ConflictError) for found in refused)
            done = await service.wait(A, made.id, 20)
            assert (done["status"], done["output"], done["interrupt"]) == ("succeeded", 10, None)
            with pytest.raises(ConflictError):
                await service.resume(A, made.id, name, 3)

    asyncio.run(main())


def test_an_expired_job_has_its_time_again_when_it_is_retried(serve: Any, gate: Any) -> None:
    opened = gate("g")

    async def main() -> None:
        async with serve() as service:
            asked = request("held", input={"gate": "g"}, deadline_ms=300, on_deadline="expire")
            made = await service.submit(A, asked)
            assert (await service.wait(A, made.id, 20))["status"] == "expired"
            opened.set()
            await service.retry(A, made.id)
            assert (await service.wait(A, made.id, 20))["status"] == "succeeded"

    asyncio.run(main())


def test_only_jobs_that_ran_alone_teach_the_planner(serve: Any, gate: Any) -> None:
    opened = gate("g")

    async def main() -> None:
        async with serve() as service:
            learned: list[str] = []

            class History:
                def learn(self, program: Any, result: Any, fleet: Any, models: Any) -> None:
                    learned.append(result.job_id)

            service.session.history = History()
            alone = await service.submit(A, request())
            await service.wait(A, alone.id, 20)
            await until(lambda: learned == [alone.id])
            service._learning._at_s = 0.0
            holds = await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            beside = await service.submit(A, request())
            await service.wait(A, beside.id, 20)
            opened.set()
            await service.wait(A, holds.id, 20)
            await service._learning.stop()
            assert learned == [alone.id]

    asyncio.run(main())


def test_a_look_at_a_job_that_is_out_of_date_changes_nothing(serve: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with serve() as service:
            path = str(tmp_path / "absent")
            made = await service.submit(A, request("mended", input={"path": path, "n": 4}))
            await service.wait(A, made.id, 20)
            seen = service.store.job(made.id)
            await service.retry(A, made.id)
            await service.wait(A, made.id, 20)
            now = service.store.job(made.id)
            assert now.status == seen.status == "failed" and now.last_seq > seen.last_seq
            with pytest.raises(ConflictError):
                await service._steering.retry(seen, None, (), {})
            assert service.store.job(made.id).last_seq == now.last_seq
            await until(lambda: service.store.job(made.id).owner == "")

    asyncio.run(main())


def test_however_full_the_memory_is_everybody_has_a_place(serve: Any, gate: Any) -> None:
    gate("g")
    settings = Settings(max_running=1, queue_in_memory=4, queue_per_tenant=3, queue_floor=1)

    async def main() -> None:
        async with serve(settings) as service:
            await service.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            for _ in range(3):
                await service.submit(A, request())
            for name in "bcd":
                made = await service.submit(tenant(name), request())
                assert made.id in service.runner.queue
            assert not service.runner.has_room("a") and not service.runner.has_room("b")
            over = await service.submit(A, request())
            assert over.id not in service.runner.held and over.document["position"] is None

    asyncio.run(main())


def test_a_caller_that_goes_away_leaves_no_job_behind_that_nobody_runs(serve: Any) -> None:
    few = Tenant("a", frozenset({"submit", "read"}), Quota(max_in_flight=50))

    async def main() -> None:
        async with serve() as service:
            for steps in range(12):
                submitting = asyncio.ensure_future(service.submit(few, request()))
                for _ in range(steps):
                    await asyncio.sleep(0)
                submitting.cancel()
                await asyncio.gather(submitting, return_exceptions=True)
            await until(lambda: not service._creation._tasks)
            await until(
                lambda: set(service.store.counts("a")) <= {"succeeded"} and not service.runner.held
            )
            assert service._creation.quotas._accounts["a"].pending == 0
            assert service.store.counts("a")["succeeded"] > 0

    asyncio.run(main())


def test_a_job_held_by_nobody_here_is_given_back(serve: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("gangline.runtime.service.recovery.STRAYS_EVERY", 1)

    async def main() -> None:
        async with serve() as service:
            made = await service.submit(A, request())
            await service.wait(A, made.id, 20)
            fork = await service.fork(A, made.id)
            await service.wait(A, fork.id, 20)
            with monkeypatch.context() as patched:
                patched.setattr(service.runner, "add", lambda *_: None)  # the fault
                lost = await service.submit(A, request())
            assert (await service.wait(A, lost.id, 20))["status"] == "succeeded"

    asyncio.run(main())
