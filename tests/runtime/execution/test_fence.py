"""A process that slept past its lease looks at it before it calls a tool again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gangline.ir.errors import LeaseLost
from gangline.runtime.execution import fence, own_lease
from gangline.runtime.execution.fence import Fence
from gangline.runtime.store import Store
from tests.runtime.execution.test_executor_on_loop import Served, serve


@pytest.fixture
def sleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let an hour pass unnoticed, on the clock that tells whether the lease lasts."""
    real = fence.now_s

    def pass_by() -> None:
        for module in (fence, own_lease):
            monkeypatch.setattr(module, "now_s", lambda: real() + 3600.0)

    return pass_by


def gated(plain_tool: Any, tools: Any) -> tuple[threading.Event, threading.Event, list[int]]:
    reached, release, calls = threading.Event(), threading.Event(), list[int]()

    def first() -> int:
        reached.set()
        release.wait(30)
        return 1

    def second(a0: int) -> int:
        calls.append(a0)
        return a0 + 1

    tools.update(first=plain_tool(first), second=plain_tool(second))
    tools["inline"] = replace(plain_tool(second), is_inline=True)
    return reached, release, calls


@pytest.mark.parametrize("then", ["second", "inline"])
@pytest.mark.parametrize("taken", [True, False])
def test_what_was_taken_meanwhile_is_not_called_and_what_was_not_goes_on(
    builder: Any, plain_tool: Any, tools: Any, store: Store, sleep: Any, then: str, taken: bool
) -> None:
    """Even a call that only reads: another process may have recorded its result."""
    reached, release, calls = gated(plain_tool, tools)
    p = builder()
    program = p.done(p.tool(then, p.tool("first")))

    async def body(served: Served) -> None:
        job_id, ended = await served.begin(program)
        assert await asyncio.to_thread(reached.wait, 20)
        sleep()
        if taken:
            store.release(job_id, 1).result()
            store.acquire(job_id, "thief")
        release.set()
        if taken:
            with pytest.raises(LeaseLost):
                await ended
            assert calls == [] and not served.executor.running
        else:
            assert (await ended).run.dispatcher.output == 2
            assert calls == [1]

    serve(tools, store, body)


def test_a_call_that_waits_for_a_thread_looks_too(
    builder: Any, plain_tool: Any, tools: Any, store: Store, sleep: Any
) -> None:
    reached, release, calls = gated(plain_tool, tools)
    p, q = builder(), builder()
    occupying = p.done(p.tool("first"))
    queued = q.done(q.tool("second", q.constant(5)))

    async def body(served: Served) -> None:
        served.executor._around.workers._max_workers = 1
        _, first = await served.begin(occupying)
        assert await asyncio.to_thread(reached.wait, 20)
        job_id, second = await served.begin(queued)
        sleep()
        store.release(job_id, 1).result()
        store.acquire(job_id, "thief")
        release.set()
        with pytest.raises(LeaseLost):
            await second
        assert (await first).run.dispatcher.output == 1
        assert calls == []

    serve(tools, store, body)


def test_jobs_that_were_taken_are_told_of_once_it_is_open_again(
    builder: Any, plain_tool: Any, tools: Any, store: Store, sleep: Any
) -> None:
    """A queue before the executor drops what others took, before any of it starts."""
    reached, release, _ = gated(plain_tool, tools)
    p = builder()
    program = p.done(p.tool("second", p.tool("first")))
    told: list[dict[str, int]] = []

    async def body(served: Served) -> None:
        served.executor.on_lapse(lambda owned: told.append(dict(owned)))
        job_id, ended = await served.begin(program)
        assert await asyncio.to_thread(reached.wait, 20)
        assert told == []
        sleep()
        release.set()
        await ended
        assert told == [{job_id: 1}]

    serve(tools, store, body)


def test_a_fence_lets_all_that_wait_in_and_looks_once() -> None:
    found, looks = Fence(), list[int]()
    assert found.is_open
    found.look, found.until_s = lambda: looks.append(1), fence.now_s() - 1.0
    passed: list[str] = []
    for name in "ab":
        found.wait(lambda name=name: passed.append(name))  # type: ignore[misc]
    assert (passed, looks, found.is_open) == ([], [1], False)
    found.open_until(fence.now_s() + 60.0)
    assert passed == ["a", "b"] and found.is_open
