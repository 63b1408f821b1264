"""Leases: given back when a job is left, also by a store that could not do it at once."""

from __future__ import annotations

import threading
from typing import Any

from gangline.ir.errors import StoreError
from gangline.runtime.dispatch.job import Job
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import Store, Ticket


def test_a_lease_that_could_not_be_given_back_is_given_back_at_a_later_beat(
    builder: Any, plain_tool: Any, tools: Any, executor: Executor, store: Store, monkeypatch: Any
) -> None:
    reached, leave = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        leave.wait(20)

    tools["wait"] = plain_tool(wait)
    p = builder()
    future = executor.submit(Job("w", p.done(p.tool("wait")), {}))
    assert reached.wait(20)
    store.flush()
    (job_id,) = executor.running
    release = store.release

    def refuse(job_id: str, epoch: int) -> Ticket[None]:
        ticket: Ticket[None] = Ticket()
        ticket.settle(None, StoreError("the disk is full"))
        return ticket

    monkeypatch.setattr(store, "release", refuse)
    executor.interrupt()
    leave.set()
    assert future.exception(20) is not None
    assert store.owned(executor.owner) == {job_id: 1}
    monkeypatch.setattr(store, "release", release)
    assert executor._lease is not None
    executor._mailbox.post(executor._lease._beat)
    done = threading.Event()
    executor._mailbox.post(done.set)
    assert done.wait(20)
    store.flush()
    assert store.owned(executor.owner) == {}


def test_a_job_that_ended_is_nobody_s_and_a_closed_executor_holds_nothing(
    builder: Any, plain_tool: Any, tools: Any, store: Store
) -> None:
    reached, leave = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        leave.wait(20)

    tools.update(wait=plain_tool(wait), one=plain_tool(lambda: 1))
    p = builder()
    q = builder()
    with Executor({}, tools.get, store=store) as executor:
        assert executor.run(Job("w", q.done(q.tool("one")), {})).output == 1
        assert store.owned(executor.owner) == {}
        executor.submit(Job("w", p.done(p.tool("wait")), {}))
        assert reached.wait(20)
        store.flush()
        assert len(store.owned(executor.owner)) == 1
    leave.set()
    store.flush()
    assert store.owned(executor.owner) == {}
