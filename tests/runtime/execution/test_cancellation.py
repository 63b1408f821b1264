"""Cancellation reaches tools of every kind, and waits for writes, but not for ever."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

import gangline as gl
from gangline.ir.errors import JobError
from gangline.runtime.dispatch.job import Job, JobResult
from gangline.runtime.execution import driver as driver_module
from gangline.runtime.execution.executor import Executor
from gangline.workflows.text_to_sql.sandbox import Limits, Sandbox

ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r"


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it never came to that"
        time.sleep(0.005)


def cancel_when(
    executor: Executor, job: Job, ready: Callable[[], Any], store: Any, kind: str = "cancelled"
) -> JobResult:
    future = executor.submit(job)
    until(ready)
    store.flush()  # a tool that reads may begin before its job is on disk
    (row,) = store.jobs()
    executor.cancel(row.id)
    result = future.result(20.0)
    assert result.status == kind
    return result


def test_a_thread_that_looks_ends(
    builder: Any, tools: dict[str, Any], plain_tool: Any, executor: Executor, store: Any
) -> None:
    began, ended = threading.Event(), threading.Event()

    def poll() -> None:
        began.set()
        while not gl.cancelled():
            time.sleep(0.005)
        ended.set()

    tools["poll"] = plain_tool(poll)
    p = builder()
    cancel_when(executor, Job("w", p.done(p.tool("poll")), {}), began.is_set, store)
    assert ended.wait(20.0)


def test_an_async_tool_is_cancelled(
    builder: Any, tools: dict[str, Any], plain_tool: Any, executor: Executor, store: Any
) -> None:
    began, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.sleep(60.0)
        finally:
            if gl.cancelled():
                ended.set()

    tools["wait"] = plain_tool(wait, is_async=True)
    p = builder()
    cancel_when(executor, Job("w", p.done(p.tool("wait")), {}), began.is_set, store)
    assert ended.wait(20.0)


def test_a_query_of_a_cancelled_job_is_killed_within_a_second(
    builder: Any,
    tools: dict[str, Any],
    plain_tool: Any,
    executor: Executor,
    store: Any,
    tmp_path: Any,
) -> None:
    path = str(tmp_path / "x.sqlite")
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE t (x INTEGER)")
    database.close()
    sandbox, began, outcomes = Sandbox(), threading.Event(), list[str]()
    sandbox.run(path, "SELECT 1")
    (child,) = [worker._process.pid for worker in sandbox._idle]

    def query() -> None:
        began.set()
        outcomes.append(sandbox.run(path, ENDLESS, Limits(timeout_s=60.0)).kind)

    tools["query"] = plain_tool(query)
    p = builder()
    try:
        cancel_when(executor, Job("w", p.done(p.tool("query")), {}), began.is_set, store)
        until(lambda: outcomes)
        assert outcomes == ["cancelled"], "it did not go on until its own limit of 60 s"
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
    finally:
        sandbox.close()


def test_a_tool_out_of_time_is_told(
    builder: Any, tools: dict[str, Any], plain_tool: Any, executor: Executor
) -> None:
    ended = threading.Event()

    def poll() -> None:
        while not gl.cancelled():
            time.sleep(0.005)
        ended.set()

    tools["poll"] = plain_tool(poll)
    p = builder()
    result = executor.run(Job("w", p.done(p.tool("poll", timeout_s=0.5)), {}))
    assert result.status == "failed" and ended.wait(20.0)


def both(builder: Any) -> Any:
    p = builder()
    return p.done(p.compute("list", p.tool("send", effects="write"), p.tool("look")))


def test_a_write_is_told_and_its_result_recorded(
    builder: Any, tools: dict[str, Any], plain_tool: Any, executor: Executor, store: Any
) -> None:
    writing, looking, looked = threading.Event(), threading.Event(), threading.Event()

    def send() -> str:
        writing.set()
        while not gl.cancelled():
            time.sleep(0.005)
        assert looked.wait(20.0), "what only reads is cancelled at once, not after the write"
        return "half"

    async def look() -> None:
        looking.set()
        try:
            await asyncio.sleep(60.0)
        finally:
            looked.set()

    tools.update(send=plain_tool(send), look=plain_tool(look, is_async=True))
    ready = lambda: writing.is_set() and looking.is_set()
    result = cancel_when(executor, Job("w", both(builder), {}), ready, store)
    steps = {step.id: step for step in result.steps}
    assert steps["send"].status == "succeeded" and steps["look"].error is not None
    assert steps["look"].error["code"] == "cancelled"


def test_a_write_that_does_not_end_is_not_waited_for_without_bound(
    builder: Any,
    tools: dict[str, Any],
    plain_tool: Any,
    executor: Executor,
    store: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver_module, "GRACE_S", 0.1)
    writing, release = threading.Event(), threading.Event()

    def send() -> None:
        writing.set()
        release.wait(30.0)

    tools["send"] = plain_tool(send)
    p = builder()
    job = Job("w", p.done(p.tool("send", effects="write")), {})
    result = cancel_when(executor, job, writing.is_set, store)
    release.set()
    (step,) = result.steps
    assert step.status == "failed" and step.error is not None
    assert "not known" in step.error["detail"], "its effect may have happened: that is recorded"


def test_a_failed_job_lets_its_writes_finish_undisturbed(
    builder: Any, tools: dict[str, Any], plain_tool: Any, executor: Executor
) -> None:
    writing, failing, told = threading.Event(), threading.Event(), list[bool]()

    def send() -> str:
        writing.set()
        assert failing.wait(20.0)
        time.sleep(0.05)
        told.append(gl.cancelled())
        return "whole"

    def look() -> None:
        assert writing.wait(20.0)
        failing.set()
        raise JobError("no")

    tools.update(send=plain_tool(send), look=plain_tool(look))
    result = executor.run(Job("w", both(builder), {}))
    assert result.status == "failed" and told == [False]
    assert {step.id: step.status for step in result.steps}["send"] == "succeeded"


def test_an_expired_job_ends_within_bounds(
    builder: Any,
    tools: dict[str, Any],
    plain_tool: Any,
    executor: Executor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver_module, "GRACE_S", 0.05)
    release = threading.Event()
    tools["send"] = plain_tool(lambda: release.wait(30.0))
    p = builder()
    program = p.done(p.tool("send", effects="write"))
    job = Job("w", program, {}, deadline_s=1.0, on_deadline="expire")
    result = executor.run(job)
    release.set()
    assert result.status == "expired" and result.steps[0].error is not None


def test_a_write_whose_record_is_not_on_disk_yet_is_not_begun(
    builder: Any, tools: dict[str, Any], plain_tool: Any, executor: Executor, store: Any
) -> None:
    called = threading.Event()
    tools["send"] = plain_tool(called.set)
    p = builder()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nothing reaches the disk until this ends
        future = executor.submit(Job("w", p.done(p.tool("send", effects="write")), {}))
        until(lambda: [run for run in executor.running.values() if run.run.last_seq >= 3])
        (job_id,) = executor.running
        executor.cancel(job_id)
        until(lambda: executor.running[job_id].run.stopping)
        other.execute("COMMIT")
    result = future.result(20.0)
    assert result.status == "cancelled" and not called.is_set()
    (step,) = result.steps
    assert step.status == "failed" and step.error is not None
    assert step.error["code"] == "cancelled", "nothing was done, and that is known"
