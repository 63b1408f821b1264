"""Several servers on one store: each job runs once, a dead server's jobs go on, requests arrive."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import ConflictError
from gangline.ir.specs.event import Event
from gangline.runtime.service.recovery import count_takeovers
from gangline.runtime.service.settings import Settings
from gangline.runtime.store import Store
from gangline.runtime.store.owner import owner_name
from tests.runtime.service.cases import CALLS, request, tenant, until

A, B = tenant("a"), tenant("b")
ROOT = Path(__file__).parents[3]
JOBS = 300


@pytest.fixture(params=["sqlite", "postgres"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the servers of a test keep their jobs: every test here runs on both databases."""
    if request.param == "sqlite":
        return str(tmp_path / "jobs" / "jobs.sqlite")
    return str(request.getfixturevalue("postgres_server").new_schema())


def test_two_servers_run_each_job_once(serve: Any, tmp_path: Path) -> None:
    """Small memories make both leave jobs in the store and claim each other's."""
    path = tmp_path / "told"
    small = Settings(
        max_running=4,
        queue_in_memory=16,
        queue_per_tenant=8,
        queue_floor=1,
        control_every_s=0.02,
        claim_every_s=0.04,
    )

    async def main() -> None:
        async with serve(small) as one, serve(small) as two:

            async def submit(service: Any, name: str) -> list[str]:
                made = []
                for number in range(JOBS):
                    asked = request("notes", input={"path": str(path), "text": f"{name}{number}"})
                    made.append((await service.submit(A, asked)).id)
                return made

            ids = await asyncio.gather(submit(one, "x"), submit(two, "y"))
            for job_id in (*ids[0], *ids[1]):
                assert (await two.wait(A, job_id, 60))["status"] == "succeeded"
            starts = [
                event
                for job_id in (*ids[0], *ids[1])
                for event in one.store.events(job_id)
                if event.type == "job.started"
            ]
            assert len(starts) == 2 * JOBS

    asyncio.run(main())
    lines = Counter(path.read_text().split())
    assert lines == {f"{name}{number}": 2 for name in "xy" for number in range(JOBS)}


SERVER = """
import asyncio, sys
sys.path.insert(0, {root!r})
from gangline.backends.fake import FakeBackend
from gangline.runtime.service.service import open_service
from gangline.runtime.service.settings import Settings
from tests.runtime.service.cases import WORKFLOWS, request, tenant

async def main():
    settings = Settings(max_running=8)
    backends = {{"cpu/0": FakeBackend()}}
    async with open_service(WORKFLOWS, store={db!r}, backends=backends, settings=settings) as service:
        for number in range({jobs}):
            asked = request("steps", input={{"path": {path!r}, "name": f"j{{number}}"}})
            made = await service.submit(tenant("a"), asked)
            print(made.id, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_killed_servers_jobs_go_on_elsewhere_and_no_recorded_step_runs_twice(
    serve: Any, db: str, tmp_path: Path
) -> None:
    path = tmp_path / "told"
    text = SERVER.format(root=str(ROOT), db=db, jobs=JOBS, path=str(path))
    with subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as server:
        assert server.stdout is not None
        # Killed in the middle: some jobs have ended, some run, some wait.
        acknowledged = [server.stdout.readline().strip() for _ in range(JOBS * 2 // 3)]
        os.kill(server.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in server.stdout]
    assert all(acknowledged)

    async def main() -> None:
        async with serve(Settings()) as service:  # the usual rhythm: within 2 s or so
            started = asyncio.get_running_loop().time()
            before = [row.id for row in service.store.jobs(1000) if row.status == "running"]
            for job_id in before[:3]:
                await service.wait(A, job_id, 20)
            if before:
                assert asyncio.get_running_loop().time() - started < 10
            for job_id in acknowledged:
                document = await service.wait(A, job_id, 60)
                if document["status"] == "input_required":
                    # Killed inside a call that writes: whether it happened, only a person knows.
                    question = document["interrupt"]["id"]
                    assert "note" in question
                else:
                    assert document["status"] == "succeeded", document
            recorded = Counter(
                event.data["value"]
                for job_id in acknowledged
                for event in service.store.events(job_id)
                if event.type == "step.completed" and event.data["stage"].startswith("note")
            )
            lines = Counter(path.read_text().split())
            # Whatever is recorded happened exactly once; what is not, at most once.
            assert all(lines[name] == 1 for name in recorded)
            assert set(recorded.values()) == {1} and max(lines.values()) == 1
            assert len(recorded) >= 3 * (len(acknowledged) - 16)

    asyncio.run(main())


def dead_owner() -> str:
    """Give the name of a process of this host that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return owner_name().replace(f":{os.getpid()}:", f":{process.pid}:")


def abandon(store: Store, job_id: str, *events: tuple[str, dict[str, Any]]) -> None:
    """Leave a job as a server does that dies: held by nobody alive, its log like this."""
    owner = dead_owner()
    epoch = store.acquire(job_id, owner)
    last = store.job(job_id).last_seq
    made = [
        Event(job_id, last + at, kind, 1e9, data.get("step_id", ""), data)
        for at, (kind, data) in enumerate(events, 1)
    ]
    store.append(job_id, made, epoch).result()


async def stored_job(serve: Any, workflow: str, **options: Any) -> str:
    """Put a job into the store and leave it there."""
    settings = Settings(max_running=1, queue_per_tenant=0, queue_floor=0, claim_every_s=60.0)
    async with serve(settings) as service:
        service.runner.queue.max_running = 0
        return str((await service.submit(A, request(workflow, **options))).id)


def test_a_job_that_brings_servers_down_is_failed_in_the_end(serve: Any, db: str) -> None:
    async def main() -> None:
        poison = await stored_job(serve, "four")
        with Store(db) as store:
            abandon(store, poison, ("job.started", {"resumed": True, "takeover": 3}))
        async with serve() as service:
            done = await service.wait(A, poison, 20)
            assert done["status"] == "failed"
            assert "taken over 4 times" in done["error"]["detail"]
            # A person may try again, and then it counts anew.
            await service.retry(A, poison)
            assert (await service.wait(A, poison, 20))["status"] == "succeeded"

    asyncio.run(main())


def test_a_suspect_runs_alone_among_suspects(serve: Any, db: str, gate: Any) -> None:
    opened = gate("g")

    async def main() -> None:
        asked = {"input": {"gate": "g"}}
        suspects = [await stored_job(serve, "held", **asked) for _ in range(2)]
        plain = await stored_job(serve, "held", **asked)
        with Store(db) as store:
            for job_id in suspects:
                abandon(store, job_id, ("job.started", {"resumed": True, "takeover": 1}))
            abandon(store, plain, ("job.started", {}))
        async with serve() as service:
            await until(lambda: len(CALLS) == 2)
            await asyncio.sleep(0.1)
            assert service.runner.queue.num_running == 2 and len(service.runner.queue) == 1
            assert plain in service.session.executor.running
            opened.set()
            for job_id in (*suspects, plain):
                assert (await service.wait(A, job_id, 20))["status"] == "succeeded"
            starts = [
                event.data.get("takeover")
                for event in service.store.events(suspects[0])
                if event.type == "job.started"
            ]
            assert starts == [1, 2]

    asyncio.run(main())


def test_takeovers_count_from_the_last_progress_on() -> None:
    def log(*events: tuple[str, dict[str, Any]]) -> int:
        return count_takeovers(
            [Event("j", n, kind, 0.0, "", data) for n, (kind, data) in enumerate(events)]
        )

    start, step = "job.started", ("step.completed", dict[str, Any]())
    assert log((start, {})) == 0
    assert log((start, {}), (start, {"takeover": 1}), (start, {"takeover": 2})) == 2
    assert log((start, {"takeover": 2}), step) == 0
    assert log((start, {"takeover": 2}), ("step.started", {})) == 2
    assert log((start, {"takeover": 2}), ("step.failed", {})) == 0
    assert log((start, {"takeover": 2}), (start, {"resumed": True})) == 0


def test_a_server_follows_and_cancels_what_another_one_runs(serve: Any, gate: Any) -> None:
    gate("g")

    async def main() -> None:
        async with serve() as one, serve() as two:
            made = await one.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"] and one.store.job(made.id).status == "running")
            stream = await two.events(A, made.id, 1)
            assert [(await anext(stream)).seq for _ in range(2)] == [2, 3]
            waiting = asyncio.ensure_future(two.wait(A, made.id, 20))
            with pytest.raises(ConflictError):
                await two.retry(A, made.id)
            await two.cancel(A, made.id)
            assert (await waiting)["status"] == "cancelled"
            rest = [event.type async for event in stream]
            assert rest[-1] == "job.cancelled"
            assert (await one.job(A, made.id))["status"] == "cancelled"
            assert one.runner.queue.num_running == 0

    asyncio.run(main())


def test_a_server_cancels_what_waits_in_another_ones_memory(serve: Any, gate: Any) -> None:
    gate("g")

    async def main() -> None:
        quick = Settings(max_running=1, control_every_s=0.02, claim_every_s=0.04)
        async with serve(quick) as one, serve(quick) as two:
            await one.submit(A, request("held", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            waits = await one.submit(A, request())
            assert (await two.job(A, waits.id))["position"] is None
            await two.cancel(A, waits.id)
            done = await two.wait(A, waits.id, 20)
            assert done["status"] == "cancelled"
            assert len(one.runner.queue) == 0
            types = [event.type for event in one.store.events(waits.id)]
            assert types == ["job.queued", "job.cancelled"]

    asyncio.run(main())


def test_jobs_that_were_taken_while_the_lease_had_run_out_are_not_started(
    serve: Any, gate: Any
) -> None:
    opened = gate("g")

    async def main() -> None:
        async with serve(Settings(max_running=1, control_every_s=0.02)) as one:
            first = await one.submit(A, request("held", input={"gate": "g"}))
            taken, kept = [await one.submit(A, request()) for _ in range(2)]
            one.store.release(taken.id, 1).result()
            one.store.acquire(taken.id, "another process")
            fence = one.session.executor._around.fence
            fence.until_s = 0.0
            fence.look()
            await until(lambda: taken.id not in one.runner.held)
            assert {first.id, kept.id} <= one.runner.held.keys()
            opened.set()
            for job in (first, kept):
                assert (await one.wait(A, job.id, 20))["status"] == "succeeded"
            assert [event.type for event in one.store.events(taken.id)] == ["job.queued"]

    asyncio.run(main())


def test_a_cancel_that_was_accepted_outlives_the_server(
    serve: Any, gate: Any, tmp_path: Path
) -> None:
    """It waits for a write to end when the server dies; the next one does not ask, it cancels."""
    opened = gate("g")

    async def main() -> None:
        asked = {"gate": "g", "path": str(tmp_path / "told"), "text": "a"}
        async with serve() as one:
            made = await one.submit(A, request("slow_notes", input=asked))
            await until(lambda: CALLS == ["g"])
            assert (await one.cancel(A, made.id))["status"] == "running"
            one.session.executor.drop(made.id)  # as a dead server leaves it
            assert (await one.wait(A, made.id, 20))["status"] == "cancelled"
            types = [event.type for event in one.store.events(made.id)]
            assert types.count("job.started") == 1 and "job.input_required" not in types
            opened.set()

    asyncio.run(main())


def test_a_job_nobody_holds_is_cancelled_at_once(serve: Any) -> None:
    async def main() -> None:
        free = await stored_job(serve, "four")
        async with serve(Settings(control_every_s=60.0, claim_every_s=120.0)) as service:
            service.runner.queue.max_running = 0
            assert (await service.cancel(A, free))["status"] == "cancelled"

    asyncio.run(main())


def test_an_answer_reaches_the_server_that_runs_the_rest(serve: Any, gate: Any) -> None:
    opened = gate("g")

    async def main() -> None:
        async with serve() as one, serve() as two:
            made = await one.submit(A, request("asking_beside", input={"gate": "g"}))
            await until(lambda: CALLS == ["g"])
            await until(lambda: any(e.data.get("interrupt") for e in one.store.events(made.id)))
            await two.resume(A, made.id, "ask", 5)

            def answered() -> bool:
                events = one.store.events(made.id)
                return any(e.step_id == "ask" and e.type == "step.completed" for e in events)

            await until(answered)
            opened.set()
            assert (await two.wait(A, made.id, 20))["output"] == "g 5"

    asyncio.run(main())


def test_sixty_four_submitters_never_see_a_locked_store(serve: Any, db: str) -> None:
    async def main() -> None:
        async with serve() as one, serve() as two:

            async def many(number: int) -> None:
                service = (one, two)[number % 2]
                for turn in range(8):
                    await service.submit(A, request(), f"{number}-{turn}")

            await asyncio.gather(*(many(number) for number in range(64)))
            await until(lambda: one.store.counts("a").get("succeeded") == 512)

    assert threading.active_count() < 100
    asyncio.run(main())
