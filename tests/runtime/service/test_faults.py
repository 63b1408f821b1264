"""The database goes away under a running service, and comes back: no accepted job is left lying."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import StoreError
from gangline.runtime.execution import leases
from gangline.runtime.service.settings import Settings
from gangline.runtime.store import postgres
from tests.postgres_server import PostgresServer
from tests.runtime.service.cases import request, tenant, until

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
    monkeypatch.setattr(leases, "LEASE_S", 1.5)
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
