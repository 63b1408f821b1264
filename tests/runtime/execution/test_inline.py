"""Inline tools: called on the loop itself, recorded like any other."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import gangline as gl
from gangline.ir.errors import TraceError
from gangline.runtime.dispatch.job import Job, result_of
from gangline.runtime.execution.driver import MAX_INLINE
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import Store
from gangline.workflows.registry import TOOLS


def job(program: Any, **inputs: Any) -> Job:
    return Job("hand_made", program, inputs)


def chain(builder: Any, num_steps: int, **attributes: Any) -> Any:
    p = builder("n")
    value = p.inputs[0]
    for _ in range(num_steps):
        value = p.tool("add", value, **attributes)
    return p.done(value)


def test_it_runs_on_the_loop_s_thread(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    tools["where"] = plain_tool(lambda: threading.current_thread().name, is_inline=True)
    p = builder()
    assert executor.run(job(p.done(p.tool("where", timeout_s=5.0)))).output == "gangline-loop"


@pytest.mark.parametrize("effects", ["read", "write"])
def test_a_long_chain_needs_no_stack_and_is_stored(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, effects: str
) -> None:
    tools["add"] = plain_tool(lambda a0: a0 + 1, is_inline=True)
    result = executor.run(job(chain(builder, 400, effects=effects), n=0))
    assert result.output == 400
    assert result_of(store.events(result.job_id)).to_json() == result.to_json()


def test_other_jobs_have_their_turn(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    """A chain of inline tools may not hold the loop until it ends."""
    order: list[str] = []

    def long(a0: int) -> int:
        order.append("long")
        return a0 + 1

    tools["add"] = plain_tool(long, is_inline=True)

    async def short() -> None:
        await asyncio.sleep(0)
        order.append("short")

    tools["short"] = plain_tool(short, is_async=True)
    gate = threading.Event()

    def hold() -> None:
        gate.wait(10)

    executor._mailbox.post(hold)  # both jobs are there before either begins
    p = builder()
    futures = [
        executor.submit(job(chain(builder, 20 * MAX_INLINE), n=0)),
        executor.submit(job(p.done(p.tool("short")))),
    ]
    gate.set()
    for future in futures:
        future.result(20)
    assert order.index("short") <= 5 * MAX_INLINE


def test_a_write_is_recorded_as_started_before_it_is_called(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store
) -> None:
    seen: list[list[str]] = []

    def send(a0: int) -> int:
        (row,) = store.jobs()
        seen.append([event.step_id for event in store.events(row.id) if event.step_id])
        return a0

    tools["add"] = plain_tool(send, is_inline=True)
    assert executor.run(job(chain(builder, 2, effects="write"), n=1)).status == "succeeded"
    assert seen == [["add"], ["add", "add", "add#2"]]


def test_what_it_raises_fails_its_job_only(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    def leave() -> None:
        raise SystemExit

    tools["leave"] = plain_tool(leave, is_inline=True)
    p = builder()
    for _ in range(2):
        error = executor.submit(job(p.done(p.tool("leave")))).result(10).error
        assert error is not None and "SystemExit" in error["detail"]


def test_a_result_that_is_no_json_fails_the_step(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor
) -> None:
    for odd in (float("nan"), "\udc80", {1, 2}):
        tools["odd"] = plain_tool(lambda odd=odd: odd, is_inline=True)
        p = builder()
        error = executor.run(job(p.done(p.tool("odd")))).error
        assert error is not None and "JSON" in error["detail"]


def test_the_decorator_takes_it_and_refuses_an_async_function() -> None:
    @gl.tool(effects="none", inline=True)
    def quick_inline_sum(a: int, b: int) -> int:
        return a + b

    assert TOOLS.get("quick_inline_sum").is_inline  # type: ignore[union-attr]
    with pytest.raises(TraceError, match="async"):

        @gl.tool(inline=True)
        async def quick_async(a: int) -> int:
            return a


def test_writes_that_wait_for_their_turn_are_not_made_once_the_job_is_cancelled(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store
) -> None:
    calls: list[int] = []

    def send(a0: int) -> int:
        calls.append(a0)
        if len(calls) == 1:
            (job_id,) = executor.running
            executor.cancel(job_id)
        return a0

    tools["send"] = plain_tool(send, is_inline=True)
    p = builder("n")
    items = p.compute("range", p.inputs[0])
    program = p.done(p.map(items, lambda item: p.tool("send", item, effects="write")))
    result = executor.submit(job(program, n=10 * MAX_INLINE)).result(20)
    assert result.status == "cancelled"
    assert len(calls) <= MAX_INLINE  # the turn that was under way
    done = [event for event in store.events(result.job_id) if event.type == "step.completed"]
    assert len(done) == len(calls)
