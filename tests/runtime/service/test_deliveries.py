"""Webhooks from a job's end to a receiver: at least once, retried, in the tenant's turn."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from gangline.runtime.clock import VirtualClock
from gangline.runtime.service.deliveries import AT_ONCE_PER_TENANT
from gangline.runtime.service.settings import Settings
from gangline.runtime.service.webhooks import Sender
from tests.runtime.service.cases import request, tenant, until

A, B = tenant("a"), tenant("b")
HOOK = {"url": "https://hook.example/told", "secret": "0123456789abcdef"}
QUICK = Settings(control_every_s=0.02, claim_every_s=0.04)


class Receiver:
    """A receiver that answers what it is told to, and remembers what it heard."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.waiting = 0

    async def __call__(self, asked: httpx.Request) -> httpx.Response:
        body = json.loads(await asked.aread())
        self.heard.append((asked.headers["webhook-id"], body))
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1
        status = self.statuses.pop(0) if self.statuses else 200

        async def nothing() -> AsyncIterator[bytes]:
            yield b""

        return httpx.Response(status, content=nothing())

    def sender(self, settings: Settings = QUICK) -> Sender:
        async def resolver(host: str, port: int) -> Sequence[str]:
            return ["93.184.216.34"]

        return Sender(settings, httpx.MockTransport(self), resolver)


def test_a_receiver_is_told_once_what_became_of_the_job(serve: Any, validate: Any) -> None:
    async def main() -> None:
        receiver = Receiver()
        async with serve(QUICK, sender=receiver.sender()) as service:
            made = await service.submit(A, request(webhook=HOOK))
            await until(lambda: bool(receiver.heard))
            ((message_id, body),) = receiver.heard
            assert body["type"] == "job.completed" and message_id
            validate("job", body["data"])
            assert (body["data"]["id"], body["data"]["output"]) == (made.id, 12)
            assert "0123456789abcdef" not in str(await service.job(A, made.id))
            events = [event async for event in await service.events(A, made.id)]
            assert "0123456789abcdef" not in str(events)
            await until(lambda: not service.store.deliveries(2e9))

    asyncio.run(main())


def test_only_the_events_asked_for(serve: Any) -> None:
    async def main() -> None:
        receiver = Receiver()
        async with serve(QUICK, sender=receiver.sender()) as service:
            await service.submit(A, request(webhook={**HOOK, "events": ["job.failed"]}))
            last = await service.submit(A, request(webhook={**HOOK, "events": ["job.completed"]}))
            await until(lambda: bool(receiver.heard))
            await asyncio.sleep(0.05)
            assert [body["data"]["id"] for _, body in receiver.heard] == [last.id]

    asyncio.run(main())


def test_a_receiver_that_fails_is_told_again_with_the_same_id(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gangline.runtime.service.webhooks.BACKOFF_S", (0.01,) * 7)
    monkeypatch.setattr("gangline.runtime.service.deliveries.LOOK_EVERY_S", 0.02)

    async def main() -> None:
        receiver = Receiver(500, 302, 503)
        async with serve(QUICK, sender=receiver.sender()) as service:
            await service.submit(A, request(webhook=HOOK))
            await until(lambda: len(receiver.heard) == 4)
            assert len({message_id for message_id, _ in receiver.heard}) == 1
            await asyncio.sleep(0.1)
            assert len(receiver.heard) == 4

    asyncio.run(main())


def test_after_eight_tries_or_a_gone_it_is_given_up(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gangline.runtime.service.webhooks.BACKOFF_S", (0.01,) * 7)
    monkeypatch.setattr("gangline.runtime.service.deliveries.LOOK_EVERY_S", 0.02)

    async def main() -> None:
        broken, gone = Receiver(*[500] * 100), Receiver(410)
        for receiver, tries in ((broken, 8), (gone, 1)):
            async with serve(QUICK, sender=receiver.sender()) as service:
                await service.submit(A, request(webhook=HOOK))
                await until(lambda: len(receiver.heard) == tries)  # noqa: B023
                await asyncio.sleep(0.2)
                assert len(receiver.heard) == tries

    asyncio.run(main())


def test_a_message_survives_the_server(serve: Any) -> None:
    async def main() -> None:
        deaf, receiver = Receiver(), Receiver()
        deaf.open.clear()
        async with serve(QUICK, sender=deaf.sender()) as service:
            await service.submit(A, request(webhook=HOOK))
            await until(lambda: deaf.waiting == 1)
        # Handed out and not answered: it is hidden for a minute, then another server has it.
        clock = VirtualClock(2e9)
        async with serve(QUICK, sender=receiver.sender(), clock=clock):
            await until(lambda: bool(receiver.heard))
        assert receiver.heard[0][0] == deaf.heard[0][0]

    asyncio.run(main())


def test_a_tenant_whose_receiver_hangs_does_not_hold_up_the_others(serve: Any) -> None:
    async def main() -> None:
        receiver = Receiver()
        receiver.open.clear()
        async with serve(QUICK, sender=receiver.sender()) as service:
            for _ in range(20):
                await service.submit(A, request(webhook=HOOK))
            await until(lambda: receiver.waiting == AT_ONCE_PER_TENANT)
            other = await service.submit(B, request(webhook=HOOK))
            await until(lambda: any(b["data"]["id"] == other.id for _, b in receiver.heard))
            assert receiver.waiting == AT_ONCE_PER_TENANT + 1
            receiver.open.set()
            await until(lambda: len({message_id for message_id, _ in receiver.heard}) == 21, 40)

    asyncio.run(main())
