"""The executor on a loop it is given: jobs started from the store, events told once durable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from gangline.backends.fake import FakeBackend
from gangline.ir.errors import JobError, LeaseLost
from gangline.ir.specs.event import Event
from gangline.ir.specs.request import Cancel, UpdateDeadline
from gangline.runtime.dispatch.job import Job
from gangline.runtime.execution.driver import Driver
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import Store


class Served:
    """An executor on the running loop, and what it told."""

    def __init__(self, tools: dict[str, Any], store: Store, **backends: Any) -> None:
        self.told: list[Event] = []
        self.store = store
        self.executor = Executor(
            backends or {"cpu/0": FakeBackend({"greet:": "hello"})},
            tools.get,
            store=store,
            loop=asyncio.get_running_loop(),
            publish=self.publish,
        )
        self.check: Callable[[Sequence[Event]], None] = lambda events: None

    def publish(self, events: Sequence[Event]) -> None:
        self.check(events)
        self.told.extend(events)

    async def begin(self, program: Any, **inputs: Any) -> tuple[str, asyncio.Future[Driver]]:
        """Create a job as a service does, and start it."""
        queued = queued_event(program, inputs)
        ticket = self.store.create(queued, "hand_made", self.executor.owner, 30.0)
        await asyncio.to_thread(ticket.result)
        return queued.job_id, self.start(queued.job_id, 1, [queued])

    def start(
        self, job_id: str, epoch: int, events: Sequence[Event], **options: Any
    ) -> asyncio.Future[Driver]:
        ended: asyncio.Future[Driver] = asyncio.get_running_loop().create_future()

        def done(driver: Driver, error: BaseException | None) -> None:
            if error is None:
                ended.set_result(driver)
            else:
                ended.set_exception(error)

        self.executor.start_job(job_id, epoch, events, done, **options)
        return ended


_counter = iter(range(1, 1000))


def queued_event(program: Any, inputs: dict[str, Any]) -> Event:
    data = Job("hand_made", program, inputs, device="cpu/0").to_event_data()
    return Event(f"job-{next(_counter)}", 1, "job.queued", 1.0e9, "", data)


def serve(
    tools: dict[str, Any],
    store: Store,
    body: Callable[[Served], Coroutine[Any, Any, None]],
    **backends: Any,
) -> None:
    async def main() -> None:
        served = Served(tools, store, **backends)
        await served.executor.start()
        try:
            await asyncio.wait_for(body(served), 30)
        finally:
            await served.executor.aclose()

    asyncio.run(main())


def test_it_has_no_thread_of_its_own(builder: Any, tools: Any, store: Store) -> None:
    p = builder("q")
    program = p.done(p.llm("greet", p.inputs[0]))

    async def body(served: Served) -> None:
        assert "gangline-loop" not in [thread.name for thread in threading.enumerate()]
        job_id, ended = await served.begin(program, q="x")
        assert list(served.executor.running) == [job_id]
        driver = await ended
        assert driver.run.dispatcher.output == "hello" and not served.executor.running
        assert driver.journal.log is None

    serve(tools, store, body)


def test_events_are_told_in_order_and_only_once_they_are_stored(
    builder: Any, plain_tool: Any, tools: Any, store: Store
) -> None:
    tools["double"] = plain_tool(lambda a0: a0 + a0)
    p = builder("q")
    program = p.done(p.tool("double", p.llm("greet", p.inputs[0])))

    async def body(served: Served) -> None:
        job_id = ""

        def check(events: Sequence[Event]) -> None:
            stored = {event.seq for event in store.events(job_id)}
            assert all(event.seq in stored for event in events if event.seq)

        served.check = check
        queued = queued_event(program, {"q": "x"})
        job_id = queued.job_id
        store.create(queued, "hand_made", served.executor.owner, 30.0).result()
        await served.start(job_id, 1, [queued])
        told = [event.seq for event in served.told if event.type != "step.delta"]
        assert told == [event.seq for event in store.events(job_id)][1:]
        assert "step.delta" in [event.type for event in served.told]

    serve(tools, store, body)


def test_a_dropped_job_is_left_as_stored_and_free_for_others(
    builder: Any, plain_tool: Any, tools: Any, store: Store
) -> None:
    reached, release = threading.Event(), threading.Event()

    def wait() -> int:
        reached.set()
        release.wait(30)
        return 3

    tools["wait"] = plain_tool(wait)
    p = builder()
    program = p.done(p.tool("wait"))

    async def body(served: Served) -> None:
        job_id, ended = await served.begin(program)
        assert await asyncio.to_thread(reached.wait, 20)
        served.executor.drop(job_id)
        with pytest.raises(JobError, match="interrupted"):
            await ended
        release.set()
        await asyncio.to_thread(store.flush)
        epoch = store.acquire(job_id, "another")
        driver = await served.start(job_id, epoch, store.events(job_id))
        assert driver.run.dispatcher.output == 3

    serve(tools, store, body)


def test_a_job_whose_lease_was_taken_calls_no_further_tool(
    builder: Any, plain_tool: Any, tools: Any, store: Store
) -> None:
    reached, release, calls = threading.Event(), threading.Event(), list[str]()

    def first() -> int:
        reached.set()
        release.wait(30)
        return 1

    tools.update(
        first=plain_tool(first),
        pure=plain_tool(lambda a0: calls.append("pure")),
        write=plain_tool(lambda a0: calls.append("write")),
    )
    p = builder()
    program = p.done(p.tool("write", p.tool("first"), effects="write"))

    async def body(served: Served) -> None:
        job_id, ended = await served.begin(program)
        assert await asyncio.to_thread(reached.wait, 20)
        store.release(job_id, 1).result()
        store.acquire(job_id, "thief")
        release.set()
        with pytest.raises(LeaseLost):
            await ended
        assert calls == []
        assert not served.executor.running

    serve(tools, store, body)


def test_a_new_deadline_is_recorded_and_survives(
    builder: Any, plain_tool: Any, tools: Any, store: Store
) -> None:
    reached, release = threading.Event(), threading.Event()

    def wait() -> int:
        reached.set()
        release.wait(30)
        return 3

    tools["wait"] = plain_tool(wait)
    p = builder()
    program = p.done(p.tool("wait"))

    async def body(served: Served) -> None:
        job_id, ended = await served.begin(program)
        assert await asyncio.to_thread(reached.wait, 20)
        due = served.executor._clock.now() + 77.0
        served.executor.update_deadline(job_id, due)
        release.set()
        driver = await ended
        assert driver.run.dispatcher.deadline_s == pytest.approx(due)
        (changed,) = [e for e in store.events(job_id) if e.type == "job.replanned"]
        assert changed.data["deadline_s"] == pytest.approx(77.0, abs=1.0)

    serve(tools, store, body)


def test_engines_are_told_whose_a_request_is_and_how_urgent(
    builder: Any, tools: Any, store: Store
) -> None:
    """A salt keeps tenants apart in prefix caches; none pushes in front of another's requests."""
    backend = FakeBackend({"greet:": "hello"})
    told: list[tuple[str, int]] = []
    send = backend.send

    def watched(message: Any) -> None:
        told.append((message.cache_salt, message.priority))
        send(message)

    backend.send = watched  # type: ignore[method-assign]
    p = builder("q")
    program = p.done(p.llm("greet", p.inputs[0]))

    async def body(served: Served) -> None:
        for tenant, priority in (("acme", 5), ("umbrella", 9), ("acme", 1), ("local", 9)):
            queued = queued_event(program, {"q": "x"})
            data = {**queued.data, "tenant": tenant, "priority": priority}
            queued = Event(queued.job_id, 1, "job.queued", 1.0e9, "", data)
            store.create(queued, "hand_made", served.executor.owner, 30.0).result()
            await served.start(queued.job_id, 1, [queued])

    serve(tools, store, body, **{"cpu/0": backend})
    assert told == [("acme", 0), ("umbrella", 0), ("acme", 4), ("local", -4)]


def test_engines_hear_of_a_new_deadline_and_of_a_drop(
    builder: Any, tools: Any, store: Store
) -> None:
    backend = FakeBackend({"greet:": "hello"})
    sent: list[Any] = []
    reached = threading.Event()

    def swallow(message: Any) -> None:
        sent.append(message)
        reached.set()

    backend.send = swallow  # type: ignore[method-assign]
    p = builder("q")
    program = p.done(p.llm("greet", p.inputs[0]))

    async def body(served: Served) -> None:
        job_id, ended = await served.begin(program, q="x")
        assert await asyncio.to_thread(reached.wait, 20)
        await asyncio.sleep(0)
        served.executor.update_deadline(job_id, 2.0e9)
        served.executor.update_deadline("no such job", 2.0e9)
        assert served.executor.load("cpu/0") == 1
        served.executor.drop(job_id)
        with pytest.raises(JobError):
            await ended

    serve(tools, store, body, **{"cpu/0": backend})
    submit, update, cancel = sent
    assert isinstance(update, UpdateDeadline) and isinstance(cancel, Cancel)
    assert update.request_id == cancel.request_id == submit.request_id
    assert update.deadline_s == 2.0e9
