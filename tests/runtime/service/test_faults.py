"""What a running service stands: a database that restarts, an engine that dies, time that jumps."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.backends.base import Sampled, SchedulerOutput
from gangline.backends.engine.backend import EngineBackend
from gangline.backends.fake import FakeEncoder, FakeRunner
from gangline.ir.errors import StoreError
from gangline.runtime.execution import own_lease
from gangline.runtime.service.service import open_service
from gangline.runtime.service.settings import Settings
from gangline.runtime.store import postgres
from tests.postgres_server import PostgresServer
from tests.runtime.service.cases import CALLS, WORKFLOWS, request, tenant, until

A = tenant("a")
SMALL = Settings(
    max_running=4,
    queue_in_memory=16,
    queue_per_tenant=8,
    queue_floor=1,
    control_every_s=0.02,
    claim_every_s=0.04,
)
"""Most jobs wait in the store, so that they are claimed and read all the time."""


def reached(accepted: dict[str, str], wanted: int) -> bool:
    return len(accepted) >= wanted


@pytest.mark.parametrize("patience_s", [10.0, 0.05])
def test_a_database_that_restarts_under_load_loses_no_job(
    serve: Any,
    postgres_server: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    patience_s: float,
) -> None:
    """With little patience also what waits for the writer fails while the server is away."""
    monkeypatch.setattr(postgres, "PATIENCE_S", patience_s)
    monkeypatch.setattr(own_lease, "LEASE_S", 1.5)
    path, accepted = tmp_path / "told", dict[str, str]()

    async def main() -> None:
        async with serve(SMALL, store=postgres_server.new_schema()) as service:
            ends = asyncio.Event()

            async def submit(name: str) -> None:
                number = 0
                while not ends.is_set():
                    number += 1
                    asked = request("steps", input={"path": str(path), "name": f"{name}{number}"})
                    while True:
                        try:
                            made = await service.submit(A, asked, f"{name}{number}")
                        except StoreError:
                            await asyncio.sleep(0.02)
                        else:
                            accepted[made.id] = f"{name}{number}"
                            break
                    await asyncio.sleep(0.01)

            senders = [asyncio.ensure_future(submit(name)) for name in "wxyz"]
            for how in ("immediate", "fast", "immediate"):
                wanted = len(accepted) + 60
                await until(partial(reached, accepted, wanted))
                await asyncio.to_thread(postgres_server.stop, how)
                await asyncio.sleep(0.1)
                await asyncio.to_thread(postgres_server.start)
            ends.set()
            await asyncio.gather(*senders)
            for job_id in accepted:
                document = await service.wait(A, job_id, 20)
                if document["status"] == "input_required":  # cut off from its log in a write
                    await service.resume(A, job_id, document["interrupt"]["id"], {"rerun": True})
                    document = await service.wait(A, job_id, 20)
                assert document["status"] == "succeeded", document
            await until(lambda: service.ready()["ready"])

    asyncio.run(main())
    lines = Counter(path.read_text().split())
    assert {f"{name}.1.2.3" for name in accepted.values()} <= set(lines)


class Deadly(FakeRunner):
    """A model whose first step ends the thread it runs on."""

    struck = False

    def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
        if not Deadly.struck:
            Deadly.struck = True
            raise SystemExit("the driver is gone")
        return super().execute(output, num_steps)


@gl.llm(model="smollm2-135m", max_tokens=16)
def say(word: str) -> str:
    """Say {word}."""
    raise NotImplementedError


@gl.workflow
def speech(word: str) -> str:
    """Say a word."""
    return say(word)


def test_an_engine_that_dies_fails_its_jobs_so_that_they_may_be_retried_and_no_others(
    db: Path, gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = gate("g")
    monkeypatch.setattr(Deadly, "struck", False)

    async def main() -> None:
        backend = EngineBackend(lambda _: Deadly({"": "said"}), lambda _: FakeEncoder())
        async with open_service(
            [speech, *WORKFLOWS], store=db, backends={"cpu/0": backend}
        ) as service:
            beside = await service.submit(A, request("held", input={"gate": "g"}))
            fatal = await service.submit(A, request("speech", input={"word": "hello"}))
            failed = await service.wait(A, fatal.id, 20)
            assert failed["status"] == "failed" and failed["error"]["code"] == "backend"
            assert "the driver is gone" in failed["error"]["detail"]
            await until(lambda: not service.ready()["ready"])
            state = service.ready()
            assert not state["checks"]["engines"]
            assert state["checks"]["store"] and state["checks"]["accepting"]
            other = await service.submit(A, request("four"))
            assert (await service.wait(A, other.id, 20))["status"] == "succeeded"
            opened.set()
            assert (await service.wait(A, beside.id, 20))["status"] == "succeeded"
            await service.retry(A, fatal.id)
            assert (await service.wait(A, fatal.id, 20))["output"] == "said"
            assert service.ready()["ready"]

    asyncio.run(main())


@pytest.mark.parametrize("jump_s", [86_400.0, -86_400.0])
def test_the_time_jumps_under_two_servers(
    serve: Any, gate: Any, monkeypatch: pytest.MonkeyPatch, jump_s: float
) -> None:
    """A server from before the jump and one from after it: no job changes hands or expires."""
    opened = gate("g")

    async def main() -> None:
        async with serve() as before:
            limits: Any = {"deadline_ms": 600_000, "on_deadline": "expire"}
            first = await before.submit(A, request("held", input={"gate": "g"}, **limits), "first")
            await until(lambda: CALLS == ["g"])
            real = time.time
            monkeypatch.setattr(time, "time", lambda: real() + jump_s)
            async with serve() as after:
                again = await before.submit(
                    A, request("held", input={"gate": "g"}, **limits), "first"
                )
                assert again.replayed and again.id == first.id
                made = [await side.submit(A, request("four")) for side in (before, after) * 3]
                for job in made:
                    done = await after.wait(A, job.id, 20)
                    assert (done["status"], done["output"]) == ("succeeded", 12)
                opened.set()
                done = await after.wait(A, first.id, 20)
                assert (done["status"], done["late"]) == ("succeeded", False)
                assert 0 <= done["actual"]["seconds"] < 60
                kinds = [event.type for event in after.store.events(first.id)]
                assert kinds.count("job.started") == 1
        assert CALLS == ["g"]

    asyncio.run(main())
