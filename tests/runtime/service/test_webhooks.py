"""Webhook messages: signed, pinned to one address, without redirects; against a real receiver too."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from gangline.ir.errors import RequestError
from gangline.runtime.service.settings import Settings
from gangline.runtime.service.webhooks import (
    Attempt,
    Message,
    Sender,
    backoff_s,
    message_body,
    signature,
)

MESSAGE = Message("job:7", "https://hook.example/told?a=b", "whsec_c2VjcmV0IGtleSBvZiBtaW5l", b"{}")


class Names:
    """A resolver that gives another answer every time it is asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return [self.answers.pop(0)]


def reply(status: int, headers: dict[str, str] | None = None) -> httpx.Response:
    async def nothing() -> AsyncIterator[bytes]:
        yield b""

    return httpx.Response(status, headers=headers, content=nothing())


def send(
    message: Message,
    answer: httpx.Response | Exception,
    names: Names,
    settings: Settings | None = None,
) -> tuple[Attempt, list[httpx.Request]]:
    seen: list[httpx.Request] = []

    async def receive(request: httpx.Request) -> httpx.Response:
        await request.aread()
        seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def main() -> Attempt:
        sender = Sender(settings or Settings(), httpx.MockTransport(receive), names)
        try:
            return await sender.send(message, 1_700_000_000.9)
        finally:
            await sender.close()

    return asyncio.run(main()), seen


def test_a_message_is_signed_and_goes_to_the_address_under_its_name() -> None:
    attempt, (request,) = send(MESSAGE, reply(204), Names("93.184.216.34"))
    assert attempt.ok
    assert str(request.url) == "https://93.184.216.34/told?a=b"
    assert request.headers["host"] == "hook.example"
    assert request.extensions["sni_hostname"] == "hook.example"
    assert request.headers["webhook-id"] == "job:7"
    assert request.headers["webhook-timestamp"] == "1700000000"
    expected = hmac.new(b"secret key of mine", b"job:7.1700000000.{}", hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == "v1," + base64.b64encode(expected).decode()


def test_a_plain_secret_signs_as_it_is_and_without_one_nothing_is_signed() -> None:
    digest = hmac.new(b"0123456789abcdef", b"a.5.body", hashlib.sha256).digest()
    assert signature("0123456789abcdef", "a", 5, b"body").endswith(
        base64.b64encode(digest).decode()
    )
    _, (request,) = send(Message("a", MESSAGE.url, None, b"{}"), reply(200), Names("8.8.8.8"))
    assert "webhook-signature" not in request.headers


def test_a_name_is_resolved_once_per_attempt_so_it_cannot_be_rebound() -> None:
    names = Names("93.184.216.34", "127.0.0.1")
    attempt, (request,) = send(MESSAGE, reply(200), names)
    assert attempt.ok, attempt.error
    assert names.asked == ["hook.example"]
    assert request.url.host == "93.184.216.34"
    again, seen = send(MESSAGE, reply(200), names)
    assert not again.ok and seen == [] and "not public" in again.error


@pytest.mark.parametrize("status", (301, 302, 307, 308))
def test_redirects_are_not_followed(status: int) -> None:
    answer = reply(status, headers={"location": "http://169.254.169.254/latest"})
    attempt, seen = send(MESSAGE, answer, Names("8.8.8.8", "8.8.8.8"))
    assert not attempt.ok and not attempt.final and len(seen) == 1
    assert "redirects" in attempt.error


def test_gone_is_final_and_faults_of_the_network_are_told() -> None:
    gone, _ = send(MESSAGE, reply(410), Names("8.8.8.8"))
    assert gone.final
    failed, _ = send(MESSAGE, httpx.ConnectError("refused"), Names("8.8.8.8"))
    assert not failed.ok and not failed.final and "ConnectError" in failed.error


def test_urls_that_can_only_be_wrong_are_refused_at_once() -> None:
    sender = Sender(Settings())
    for url in (
        "http://127.0.0.1/x",
        "https://[::1]/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://169.254.169.254/latest",
        "https://2130706433/",
        "gopher://hook.example",
    ):
        with pytest.raises(RequestError):
            asyncio.run(sender.check(url))
    asyncio.run(sender.check("https://hook.example/x"))
    asyncio.run(Sender(Settings(allow_private_webhooks=True)).check("http://127.0.0.1/x"))


def test_large_jobs_are_told_of_without_their_output() -> None:
    document = {"id": "j", "output": "x" * 5000}
    whole = json.loads(message_body("job.completed", 1.5, document, 10_000))
    assert whole == {"type": "job.completed", "timestamp": 1.5, "data": document}
    cut = json.loads(message_body("job.completed", 1.5, document, 1000))
    assert cut["data"] == {"id": "j", "output": None, "output_omitted": True}


def test_waits_grow_over_eight_tries() -> None:
    waits = [backoff_s(attempts, 0.5) for attempts in range(1, 8)]
    assert waits == sorted(waits) and sum(waits) > 8 * 3600
    assert backoff_s(1, 0.0) < backoff_s(1, 1.0)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def receiver(handler: Handler) -> Any:
    """A real server on loopback; gives its port. Its connections end with it."""
    answering: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        answering.add(task)
        try:
            await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for task in answering:
        task.cancel()
    await asyncio.gather(*answering, return_exceptions=True)
    await asyncio.sleep(0)  # a closed connection is lost in the loop's next round


def test_a_real_receiver_on_loopback_when_it_is_allowed() -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        heard.append(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    async def main() -> tuple[Attempt, Attempt]:
        async with receiver(answer) as port:
            message = Message("a:1", f"http://127.0.0.1:{port}/in", "0123456789abcdef", b'{"a":1}')
            refusing, sender = Sender(Settings()), Sender(Settings(allow_private_webhooks=True))
            outcomes = await refusing.send(message, 5.0), await sender.send(message, 5.0)
            await refusing.close()
            await sender.close()
            return outcomes

    refused, sent = asyncio.run(main())
    assert not refused.ok and "not public" in refused.error
    assert sent.ok, sent.error
    (text,) = heard
    assert text.startswith(b"POST /in HTTP/1.1\r\n") and text.endswith(b'{"a":1}')
    assert b"host: 127.0.0.1:" in text.lower() and b"webhook-signature: v1," in text.lower()


def test_a_receiver_that_says_too_much_or_nothing_does_not_hold_us() -> None:
    written = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            for _ in range(1000):
                writer.write(b"x" * 100_000)
                await writer.drain()
                written += 100_000
        except OSError:
            pass

    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> tuple[Attempt, Attempt]:
        settings = Settings(allow_private_webhooks=True, webhook_timeout_s=5.0)
        quick = Settings(allow_private_webhooks=True, webhook_timeout_s=0.2)
        async with receiver(flood) as loud, receiver(silence) as quiet:
            senders = Sender(settings), Sender(quick)
            one = Message("a", f"http://127.0.0.1:{loud}/", None, b"{}")
            two = Message("b", f"http://127.0.0.1:{quiet}/", None, b"{}")
            outcomes = await senders[0].send(one, 0.0), await senders[1].send(two, 0.0)
            for sender in senders:
                await sender.close()
            return outcomes

    flooded, silent = asyncio.run(main())
    assert flooded.ok and written < 50_000_000
    assert not silent.ok and "in time" in silent.error
