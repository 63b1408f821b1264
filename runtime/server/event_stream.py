"""Server-sent events: an ASGI answer that ends with its client, and frees everything then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from .call import Receive, Send
from .gone import client_gone
from .reply import Headers, dump

MEDIA_TYPE = b"text/event-stream"
_HEARTBEAT = b": still here\n\n"
_HEAD = ((b"content-type", MEDIA_TYPE), (b"x-accel-buffering", b"no"))


class EventStream:
    """Send what an iterator gives, each already written as an event.

    Args:
        events: closed when the stream ends, however it ends.
        heartbeat_s: silence after which a comment is sent, so that proxies keep the connection.
        slow_s: how long the reader may leave data unread before the connection is cut. It goes
            on from the last id it has seen when it comes back.
        closing: set when the server stops; the stream then ends, to be taken up elsewhere.
        shut_out: returns once the reader may read no more; the stream ends then.
    """

    def __init__(
        self,
        events: AsyncIterator[bytes],
        *,
        heartbeat_s: float,
        slow_s: float,
        headers: Headers = (),
        closing: asyncio.Event | None = None,
        shut_out: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._events = events
        self._heartbeat_s = heartbeat_s
        self._slow_s = slow_s
        self._headers = [*_HEAD, *headers]
        self._closing = closing or asyncio.Event()
        self._shut_out = shut_out

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self._headers}
        try:
            await send(start)
            if scope["method"] != "HEAD":
                await self._until_gone(receive, send)
            await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            cut = scope.get("gangline.abort")
            if cut is not None:
                cut()  # closing would wait for the reader to take what it does not take
        finally:
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()

    async def _until_gone(self, receive: Receive, send: Send) -> None:
        sending = asyncio.create_task(self._send(send))
        ends: list[asyncio.Task[Any]] = [
            asyncio.create_task(client_gone(receive)),
            asyncio.create_task(self._closing.wait()),
        ]
        if self._shut_out is not None:
            ends.append(asyncio.create_task(self._shut_out()))
        try:
            await asyncio.wait((sending, *ends), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, *ends):
                task.cancel()
            await asyncio.gather(sending, *ends, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        following: asyncio.Future[bytes] | None = None
        try:
            # Invariant: `following` is the one call of the iterator that has not answered yet; a
            # heartbeat must not cancel it, or the event it brings would be lost.
            while True:
                if following is None:
                    following = asyncio.ensure_future(anext(self._events, b""))
                done, _ = await asyncio.wait((following,), timeout=self._heartbeat_s)
                data = following.result() if done else _HEARTBEAT
                if not data:
                    return
                following = None if done else following
                async with asyncio.timeout(self._slow_s):
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            if following is not None and not following.done():
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)


def event_bytes(name: str, data: Any, event_id: int | None = None) -> bytes:
    """Write one event; JSON has no line breaks, so one data line holds it."""
    head = b"" if event_id is None else b"id: %d\n" % event_id
    return b"%sevent: %s\ndata: %s\n\n" % (head, name.encode(), dump(data))
