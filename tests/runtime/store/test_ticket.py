"""Tickets: waited for, awaited, called back in one go per commit."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from gangline.ir.errors import LeaseLost
from gangline.ir.specs.event import Event
from gangline.runtime.store import Store, Ticket
from gangline.runtime.store.ticket import Call

Make = Callable[..., Event]


def test_outcomes_and_callbacks() -> None:
    ticket: Ticket[int] = Ticket()
    told = list[int]()
    ticket.add_done_callback(lambda done: told.append(done.result()))
    with pytest.raises(TimeoutError):
        ticket.result(0.01)
    calls = ticket.settle(3, None)
    assert ticket.done() and told == []
    for call in calls:
        call()
    ticket.add_done_callback(lambda done: told.append(done.result() + 1))
    assert told == [3, 4] and ticket.result() == 3 and ticket.exception() is None
    failed: Ticket[int] = Ticket()
    failed.settle(None, KeyError("x"))
    with pytest.raises(KeyError):
        failed.result()


def test_many_threads_wait_for_one_ticket() -> None:
    ticket: Ticket[int] = Ticket()
    seen = list[int]()
    threads = [threading.Thread(target=lambda: seen.append(ticket.result(10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    ticket.settle(1, None)
    for thread in threads:
        thread.join(10)
    assert seen == [1] * 8


def test_one_call_delivers_a_commit(sqlite_store: Store, queued: Make) -> None:
    store = sqlite_store
    deliveries, gate = list[int](), threading.Event()
    store.create(queued(), "w", "me").result()
    store._do(lambda _: gate.wait(10))

    def deliver(calls: Sequence[Call]) -> None:
        deliveries.append(len(calls))
        for call in calls:
            call()

    store.deliver = deliver
    told = list[int]()
    before = store.commits
    for seq in range(2, 52):
        ticket = store.append("a", [Event("a", seq, "step.completed", 1.0, "s")], 1)
        ticket.add_done_callback(partial(_tell, told, seq))
    assert store.queue_depth > 40
    gate.set()
    store.flush()
    store.flush()
    assert told == list(range(2, 52))
    assert deliveries == [50] and store.commits - before <= 4


def test_awaited_on_a_loop(store: Store, queued: Make) -> None:
    async def body(on_loop: bool) -> None:
        loop = asyncio.get_running_loop()
        if on_loop:
            store.deliver = lambda calls: loop.call_soon_threadsafe(
                lambda: [call() for call in calls]
            )
        name = f"a{on_loop}"
        created = await store.create(queued(name), "w", "me")
        assert created.job_id == name
        with pytest.raises(LeaseLost):
            await store.append(name, [Event(name, 2, "job.started", 1.0)], 9)
        done = store.append(name, [Event(name, 2, "job.started", 1.0)], 1)
        done.result()
        await done
        with pytest.raises(TimeoutError):  # one who gives up harms nobody
            await asyncio.wait_for(Ticket[int](), 0.01)
        many = [store.append(name, [Event(name, n, "job.started", 1.0)], 1) for n in range(3, 40)]
        await asyncio.gather(*(_wait(ticket) for ticket in many))

    async def _wait(ticket: Ticket[None]) -> None:
        await ticket

    asyncio.run(body(False))
    asyncio.run(body(True))


def test_a_callback_that_fails_ends_nothing(store: Store, queued: Make) -> None:
    ticket = store.create(queued(), "w", "me")
    ticket.add_done_callback(lambda _: 1 // 0) if not ticket.done() else None
    store.append("a", [Event("a", 2, "job.started", 1.0)], 1).result(10)


class SlowQueue:
    """A queue whose reader stops at a gate with what it has taken."""

    def __init__(self, queue: Any, gate: threading.Event) -> None:
        self._queue, self._gate = queue, gate
        self.put, self.get_nowait, self.qsize = queue.put, queue.get_nowait, queue.qsize

    def get(self) -> Any:
        taken = self._queue.get()
        self._gate.wait(20)
        return taken


def test_what_is_written_here_never_overtakes(sqlite_store: Store, queued: Make) -> None:
    store, gate = sqlite_store, threading.Event()
    writer = store._writer
    store.create(queued(), "w", "me").result()
    writer._queue = SlowQueue(writer._queue, gate)  # type: ignore[assignment]
    store.flush()  # the thread comes back for more, to the slow queue
    first = store.append("a", [Event("a", 2, "step.completed", 1.0, "s")], 1)
    end = time.monotonic() + 20
    while writer._queue.qsize():
        assert time.monotonic() < end
        time.sleep(0.001)
    second = store.append("a", [Event("a", 3, "step.completed", 1.0, "s")], 1, here=True)
    assert not second.done()
    gate.set()
    first.result(20)
    second.result(20)
    third = store.append("a", [Event("a", 4, "step.completed", 1.0, "s")], 1, here=True)
    end = time.monotonic() + 20
    while writer._num_open:
        assert time.monotonic() < end
        time.sleep(0.001)
    third.result(20)
    assert store.append("a", [Event("a", 5, "step.completed", 1.0, "s")], 1, here=True).done()


def _tell(told: list[int], seq: int, _: object) -> None:
    told.append(seq)
