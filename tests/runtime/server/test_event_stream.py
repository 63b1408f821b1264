"""Streams of events end with their reader, keep it awake, and cut it off when it does not read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gangline.runtime.server.event_stream import EventStream, event_bytes

WAIT_S = 10.0


class Wire:
    """The server's side of a connection: what was sent, and when the client goes."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.gone = asyncio.Event()
        self.blocked = False
        self.cut = False
        self.some = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if message.get("body"):
            if self.blocked:
                await asyncio.Event().wait()
            self.sent.append(message["body"])
            self.some.set()

    def scope(self) -> dict[str, Any]:
        return {"method": "GET", "gangline.abort": lambda: setattr(self, "cut", True)}


class Source:
    """Events that come when they are put; knows whether it was closed."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = False

    async def events(self) -> AsyncIterator[bytes]:
        try:
            while (event := await self.queue.get()) is not None:
                yield event
        finally:
            self.closed = True


def stream(source: Source, **more: Any) -> EventStream:
    given = {"heartbeat_s": WAIT_S, "slow_s": WAIT_S, **more}
    return EventStream(source.events(), **given)


def test_a_stream_ends_when_its_events_do() -> None:
    async def check() -> None:
        wire, source = Wire(), Source()
        for event in (b"a", b"b", None):
            source.queue.put_nowait(event)
        await asyncio.wait_for(stream(source)(wire.scope(), wire.receive, wire.send), WAIT_S)
        assert wire.sent == [b"a", b"b"] and source.closed and not wire.cut

    asyncio.run(check())


@pytest.mark.parametrize("reason", ["client", "server"])
def test_everything_is_freed_when_a_side_goes(reason: str) -> None:
    async def check() -> None:
        wire, source, closing = Wire(), Source(), asyncio.Event()
        answer = stream(source, closing=closing)
        task = asyncio.create_task(answer(wire.scope(), wire.receive, wire.send))
        source.queue.put_nowait(b"a")
        await asyncio.wait_for(wire.some.wait(), WAIT_S)
        (wire.gone if reason == "client" else closing).set()
        await asyncio.wait_for(task, WAIT_S)
        assert source.closed
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(check())


def test_silence_is_broken_by_heartbeats_and_no_event_is_lost() -> None:
    async def check() -> None:
        wire, source = Wire(), Source()
        answer = stream(source, heartbeat_s=0.001)
        task = asyncio.create_task(answer(wire.scope(), wire.receive, wire.send))
        async with asyncio.timeout(WAIT_S):
            while len(wire.sent) < 3:
                wire.some.clear()
                await wire.some.wait()
            assert all(part.startswith(b":") and part.endswith(b"\n\n") for part in wire.sent)
            for event in (b"a", b"b", None):
                source.queue.put_nowait(event)
            await task
        assert [part for part in wire.sent if not part.startswith(b":")] == [b"a", b"b"]

    asyncio.run(check())


def test_a_reader_that_does_not_read_is_cut_off() -> None:
    async def check() -> None:
        wire, source = Wire(), Source()
        wire.blocked = True
        source.queue.put_nowait(b"a")
        answer = stream(source, slow_s=0.01)
        await asyncio.wait_for(answer(wire.scope(), wire.receive, wire.send), WAIT_S)
        assert wire.cut and source.closed

    asyncio.run(check())


def test_an_event_is_one_line_of_data() -> None:
    text = event_bytes("step.delta", {"text": "a\n\nevent: job.completed\rb"}, 7).decode()
    head, data = text.split("data: ")
    assert head == "id: 7\nevent: step.delta\n"
    assert data.endswith("\n\n") and "\n" not in data[:-2] and "\r" not in data
    assert json.loads(data)["text"].startswith("a\n\nevent")
    assert not event_bytes("step.delta", {}).startswith(b"id")
