"""While many submits are being stored, few jobs are started; none is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

from gangline.runtime.clock import WallClock
from gangline.runtime.service import runner as module
from gangline.runtime.service.fair_queue import Waiting
from gangline.runtime.service.runner import Held, Runner
from gangline.runtime.service.settings import Settings
from tests.runtime.service.cases import request, tenant

NUM = 20


class Executor:
    """Remembers what was started."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def start_job(self, job_id: str, *_: Any, **__: Any) -> None:
        self.started.append(job_id)


def make(executor: Executor) -> Runner:
    settings = Settings(max_running=16, busy_accepting=4, busy_running=3)
    some: Any = executor
    nothing: Any = None
    return Runner(some, nothing, settings, WallClock(), lambda _: None, lambda *_: None)


def fill(runner: Runner) -> None:
    for number in range(NUM):
        runner.add(Waiting(f"j{number}", "t", 5, float(number)), Held(1, "t", ()))


def test_a_rush_of_submits_goes_before_the_jobs_behind_them() -> None:
    async def check() -> None:
        executor = Executor()
        runner = make(executor)
        storing = [runner.accept() for _ in range(4)]
        for one in storing:
            one.__enter__()
        fill(runner)
        await asyncio.sleep(0)
        assert executor.started == ["j0", "j1", "j2"]
        for one in storing:
            one.__exit__(None, None, None)
        assert runner.accepting == 0
        async with asyncio.timeout(10 + module.BUSY_S):
            while len(executor.started) < 16:
                await asyncio.sleep(0.001)

    asyncio.run(check())


def test_a_few_submits_hold_nothing_back() -> None:
    async def check() -> None:
        executor = Executor()
        runner = make(executor)
        with runner.accept(), runner.accept(), runner.accept():
            fill(runner)
            await asyncio.sleep(0)
            assert len(executor.started) == 16

    asyncio.run(check())


def test_a_batch_is_no_rush(serve: Any) -> None:
    async def check() -> None:
        async with serve(Settings(busy_accepting=4)) as service:
            seen: list[int] = []
            create = service.store.create

            def noting(*given: Any, **named: Any) -> Any:
                seen.append(service.runner.accepting)
                return create(*given, **named)

            service.store.create = noting
            made = await service.submit_many(tenant(), [request(mode="background")] * 8)
            assert len(made) == 8 and seen == [0] * 8
            await service.submit(tenant(), request(mode="background"))
            assert seen[-1] == 1

    asyncio.run(check())
