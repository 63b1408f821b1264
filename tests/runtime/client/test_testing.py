"""The clients against the real application: in this process, and once over a socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import gangline as gl
from gangline.ir.errors import GanglineError, InputError, NotFoundError, StepError
from gangline.runtime.client import testing
from gangline.runtime.client.job_handle import JobHandle
from gangline.runtime.example_database import make_example_database
from gangline.workflows.databases import DATABASES
from gangline.workflows.registry import load


@gl.tool(effects="read")
def plus(number: int) -> int:
    return number + 1


@gl.llm(model="smollm2-135m", max_tokens=16)
def greet(number: int) -> str:
    """Greet {number}."""
    raise NotImplementedError


@gl.workflow
def three(number: int) -> int:
    """Add three."""
    return plus(plus(plus(number)))


@gl.workflow
def greeting(number: int) -> str:
    """Greet a number."""
    return greet(plus(number))


@gl.tool(effects="read")
def broken_number(number: int) -> int:
    raise ValueError(f"no {number}")


@gl.workflow
def failing(number: int) -> int:
    """Fail."""
    return broken_number(number)


GATE = threading.Event()


@gl.tool(effects="read")
def wait_for_gate(number: int) -> int:
    GATE.wait(30)
    return number


@gl.workflow
def gated(number: int) -> int:
    """Wait."""
    return wait_for_gate(number)


WORKFLOWS = (three, greeting, failing, gated)


@pytest.fixture
def client() -> Iterator[gl.Client]:
    GATE.clear()
    with testing.client(*WORKFLOWS, replies={"": "good day"}) as made:
        yield made
        GATE.set()


def test_submit_and_result(client: gl.Client) -> None:
    job = client.submit(three, number=4, deadline=30.0)
    assert job.result(timeout=30) == 7
    assert job.last.status == "succeeded"
    assert job.last.deadline_s is not None
    assert [step["status"] for step in job.steps()] == ["succeeded"] * 3


def test_by_name_and_waiting_in_one_request(client: gl.Client) -> None:
    job = client.submit("three", number=4, wait=30)
    assert (job.last.status, job.last.output) == ("succeeded", 7)


def test_equal_keys_are_one_job(client: gl.Client) -> None:
    first = client.submit(three, number=1, idempotency_key="k")
    assert client.submit(three, number=1, idempotency_key="k").id == first.id
    with pytest.raises(GanglineError) as caught:
        client.submit(three, number=2, idempotency_key="k")
    assert caught.value.code == "idempotency"


def test_errors_have_their_types(client: gl.Client) -> None:
    with pytest.raises(NotFoundError):
        client.submit("nobody", number=1)
    with pytest.raises(NotFoundError):
        client.job("0190b8f5-0000-7000-8000-000000000000")
    with pytest.raises(InputError):
        client.submit("three", number="many")
    with pytest.raises(InputError):
        client.submit("three")
    with pytest.raises(StepError, match="no 3"):
        client.submit(failing, number=3).result(timeout=30)


def test_events_come_while_the_job_runs(client: gl.Client) -> None:
    events = client.submit(gated, number=1).events()
    seen = [next(events).type]
    while seen[-1] != "step.started":
        seen.append(next(events).type)
    GATE.set()
    seen += [event.type for event in events]
    assert seen == [
        "job.queued", "job.started", "step.started", "step.completed", "job.completed",
    ]  # fmt: skip


def test_leaving_a_stream_early_is_noticed(client: gl.Client) -> None:
    """The application sees a client that went away, and ends its answer."""
    events: Any = client.submit(gated, number=1).events()
    while next(events).type != "step.started":
        pass
    closed = threading.Thread(target=events.close)
    closed.start()
    closed.join(10)
    assert not closed.is_alive()
    assert not GATE.is_set()


def test_tokens_stream(client: gl.Client) -> None:
    job = client.submit(greeting, number=1)
    events = list(job.events())
    durable = [event.seq for event in events if event.seq]
    assert durable == list(range(1, len(durable) + 1))
    assert job.result() == "good day"
    again = list(job.events(after=durable[-3]))
    assert [event.seq for event in again] == durable[-2:]


def test_cancel(client: gl.Client) -> None:
    job = client.submit(gated, number=1)
    events = job.events()
    while next(events).type != "step.started":
        pass
    job.cancel()
    assert job.wait(timeout=30).status == "cancelled"
    with pytest.raises(GanglineError) as caught:
        job.result()
    assert caught.value.code == "cancelled"


def test_lists(client: gl.Client) -> None:
    ids = [client.submit(three, number=n).id for n in range(5)]
    assert [job.id for job in client.jobs()] == ids[::-1]
    assert [job.id for job in client.jobs(limit=2)] == ids[:2:-1]
    assert {one["name"] for one in client.workflows()} == {one.name for one in WORKFLOWS}


def test_batch(client: gl.Client) -> None:
    found = client.batch(three, [{"number": 1}, {"number": 2}], priority=7)
    handles = [one for one in found if isinstance(one, JobHandle)]
    assert [job.result(timeout=30) for job in handles] == [4, 5]
    assert {job.last.priority for job in handles} == {7}


def test_async_client() -> None:
    async def go() -> None:
        async with testing.async_client(*WORKFLOWS, replies={"": "good day"}) as client:
            job = await client.submit(greeting, number=1)
            types = [event.type async for event in job.events()]
            assert types[0] == "job.queued"
            assert types[-1] == "job.completed"
            assert await job.result(timeout=30) == "good day"
            many = [client.submit(three, number=n) for n in range(20)]
            jobs = await asyncio.gather(*many)
            results = await asyncio.gather(*[job.result(timeout=30) for job in jobs])
            assert results == [n + 3 for n in range(20)]
            with pytest.raises(StepError):
                await (await client.submit(failing, number=1)).result(timeout=30)

    asyncio.run(go())


@pytest.fixture
def url() -> Iterator[str]:
    with testing.server(*WORKFLOWS, replies={"": "good day"}) as address:
        yield address


def test_over_a_socket(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANGLINE_SERVER", url)
    with gl.Client() as client:
        job = client.submit(greeting, number=1, deadline=30.0)
        types = [event.type for event in job.events()]
        assert types[0] == "job.queued"
        assert types[-1] == "job.completed"
        assert job.result() == "good day"
        assert client.submit(three, number=1, wait=30).last.output == 4

    async def go() -> None:
        async with gl.AsyncClient() as client:
            job = await client.submit(three, number=2)
            assert [event.seq async for event in job.events() if event.seq][:2] == [1, 2]
            assert await job.result() == 5

    asyncio.run(go())


def test_the_example_of_the_design(tmp_path: Path) -> None:
    """A question to a database that only the server knows, with a deadline."""
    make_example_database(tmp_path / "shop.sqlite", num_orders=50, num_customers=10)
    text_to_sql = load("text_to_sql")
    DATABASES.add("shop", str(tmp_path / "shop.sqlite"))
    try:
        reply = {"SQL": "SELECT COUNT(*) FROM customer"}
        with testing.server(text_to_sql, replies=reply) as address, gl.Client(address) as client:
            job = client.submit(
                text_to_sql, question="How many customers are there?", db="shop", deadline=8.0
            )
            answer = job.result(timeout=60)
            (queued,) = [event for event in job.events() if event.type == "job.queued"]
    finally:
        DATABASES.remove("shop")
    assert answer.rows == [[10]]
    assert str(tmp_path) not in str(queued.data)


class Moving(httpx.BaseTransport):
    """Reach whichever server is there now; nothing while there is none."""

    def __init__(self) -> None:
        self.address: str | None = None
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.address is None:
            raise httpx.ConnectError("refused")
        request.url = httpx.URL(self.address).copy_with(raw_path=request.url.raw_path)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


def test_events_outlive_a_server(tmp_path: Path) -> None:
    """One iterator over two servers on one store: every durable event once, in order."""
    GATE.clear()
    moving, store = Moving(), tmp_path / "jobs.sqlite"
    client = gl.Client("http://localhost", transport=moving)
    first = testing.server(*WORKFLOWS, store=store)
    moving.address = first.__enter__()
    events = client.submit(gated, number=5).events()
    seen = [next(events)]
    while seen[-1].type != "step.started":
        seen.append(next(events))
    moving.address = None
    restart = threading.Thread(target=first.__exit__, args=(None, None, None))
    restart.start()
    with testing.server(*WORKFLOWS, store=store) as second:
        GATE.set()
        restart.join(30)
        moving.address = second
        seen += events
        client.close()
    durable = [event.seq for event in seen if event.seq]
    assert durable == list(range(1, len(durable) + 1))
    assert seen[-1].type == "job.completed"
    assert seen[-1].data["output"] == 5
