"""Carry a client's requests to an ASGI application in this process, without a socket.

Unlike httpx's own transport, an answer's body streams, so that events arrive as they happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, Any]], Any]


class AppTransport(httpx.AsyncBaseTransport):
    """For an `AsyncClient` on the loop that the application runs on."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Call the application; gives its answer once that has begun."""
        return await _Exchange(self._app, request, await request.aread()).begin()


class _Exchange(httpx.AsyncByteStream):
    """One request and the body of its answer. Closing it early is what a lost client looks like."""

    def __init__(self, app: Any, request: httpx.Request, body: bytes) -> None:
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=8)
        self._received = [{"type": "http.request", "body": body, "more_body": False}]
        self._gone = asyncio.Event()
        self._request = request
        self._task = asyncio.create_task(app(_scope(request), self._receive, self._send))

    async def begin(self) -> httpx.Response:
        """Wait for the head of the answer; raises what the application raised before it."""
        head = await self._next()
        if head is None:
            raise httpx.RemoteProtocolError("the application gave no answer")
        return httpx.Response(
            head["status"], headers=head.get("headers", []), stream=self, request=self._request
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (message := await self._next()) is not None:
            if body := message.get("body"):
                yield body
            if not message.get("more_body"):
                return
        raise httpx.RemoteProtocolError("the application ended its answer early")

    async def aclose(self) -> None:
        """Hang up, and wait for the application to notice."""
        self._gone.set()
        # What the application still wants to send is thrown away.
        while not self._task.done():
            waiter = asyncio.ensure_future(self._messages.get())
            await asyncio.wait((waiter, self._task), return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    async def _next(self) -> dict[str, Any] | None:
        waiter = asyncio.ensure_future(self._messages.get())
        try:
            await asyncio.wait((waiter, self._task), return_when=asyncio.FIRST_COMPLETED)
            if waiter.done():
                return waiter.result()
        finally:
            waiter.cancel()
        if not self._messages.empty():
            return self._messages.get_nowait()
        self._task.result()
        return None

    async def _receive(self) -> dict[str, Any]:
        if self._received:
            return self._received.pop()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self._messages.put(message)


class BlockingTransport(httpx.BaseTransport):
    """For a `Client` in another thread than the application's loop; `run` runs a coroutine there."""

    def __init__(self, app: Any, run: Run) -> None:
        self._inner = AppTransport(app)
        self._run = run

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Call the application; gives its answer once that has begun."""
        request.read()
        answer = self._run(self._inner.handle_async_request(request))
        stream = _BlockingStream(answer.stream, self._run)
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=stream, request=request
        )


class _BlockingStream(httpx.SyncByteStream):
    def __init__(self, stream: Any, run: Run) -> None:
        self._stream = stream
        self._run = run

    def __iter__(self) -> Iterator[bytes]:
        pieces = aiter(self._stream)

        async def following() -> bytes | None:
            return await anext(pieces, None)

        while (piece := self._run(following())) is not None:
            yield piece

    def close(self) -> None:
        """Hang up."""
        self._run(self._stream.aclose())


def _scope(request: httpx.Request) -> dict[str, Any]:
    path, _, query = request.url.raw_path.partition(b"?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": ("127.0.0.1", 0),
        "server": (request.url.host, request.url.port),
    }
