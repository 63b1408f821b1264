"""HTTP/1.1 of uvicorn with limits on how large and slow a request may be, and a way to cut it."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class ServerProtocol(HttpToolsProtocol):
    """One connection; a request that is too large in its head or arrives too slowly ends it.

    A request's scope has `gangline.abort`, which drops the connection with all that is unsent.
    """

    max_head_bytes = 64 * 2**10
    arrival_s = 30.0
    _arrived = False
    _in_head = True
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.arrival_s, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Only a request that did not come whole in one piece needs a timer. Parts of a head are
        # counted here, because the parser keeps them to itself.
        if self._arrived:
            self._stop_timer()
        elif not self.transport.is_closing():
            if self._timer is None:
                self._timer = self.loop.call_later(self.arrival_s, self._late)
            if self._in_head:
                self._head_bytes += len(data)
                if self._head_bytes > self.max_head_bytes:
                    self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arrived, self._in_head, self._head_bytes = False, True, 0
        self.scope["gangline.abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]

    def on_headers_complete(self) -> None:
        self._in_head = False
        if len(self.url) + sum(len(n) + len(v) for n, v in self.headers) > self.max_head_bytes:
            self._refuse()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None and not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._arrived = True
        if self.cycle is not None and not self.transport.is_closing():
            super().on_message_complete()

    def _refuse(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if not self._arrived and not self.transport.is_closing():
            self.transport.close()


def protocol_class(max_head_bytes: int, arrival_s: float) -> type[Any]:
    """Give the protocol with its limits."""
    limits = {"max_head_bytes": max_head_bytes, "arrival_s": arrival_s}
    return type("LimitedProtocol", (ServerProtocol,), limits)
