"""What every request passes first: Host, Origin, content type and size; headers of every answer.

Pure ASGI, outermost. The checks need no body and no key, so strangers are turned away cheaply.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Mapping
from typing import Any

from gangline.ir.errors import ForbiddenError, RequestError
from gangline.runtime.telemetry.access import Access

from .body import ClientGone, too_large
from .call import Frame, Receive, Send
from .context import Context
from .problem import Refused, malformed, problem

_JSON_TYPES = frozenset({"application/json", "application/a2a+json"})
"""Neither can be sent by another site's form; A2A has a JSON type of its own."""
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_STRICT_CSP = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_ALWAYS: Mapping[bytes, bytes] = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": _STRICT_CSP,
    b"cache-control": b"no-store",
}
"""Headers of every answer that does not set them itself."""


class Guard:
    """Wrap the application; `scope["gangline"]` then holds the request's Frame."""

    def __init__(self, app: Any, context: Context) -> None:
        self._app = app
        self._context = context
        self._max_bytes = context.settings.max_body_bytes
        hosts = context.settings.allowed_hosts
        self._any_host = "*" in hosts
        self._hosts = {"localhost", socket.gethostname().lower(), *(h.lower() for h in hosts)}
        self._known_hosts: set[bytes] = set()
        self._origins = {origin.lower() for origin in context.settings.allowed_origins}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        frame = Frame(scope["headers"])
        scope["gangline"] = frame
        status = 499  # what a client gets that went away: nothing

        async def sending(message: dict[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _dressed(list(message.get("headers", ())), frame)
            await send(message)

        try:
            self._check(scope, frame)
            await self._app(scope, self._counted(frame, receive), sending)
        except Refused as refused:
            answer = problem(refused, instance=scope["path"], trace_id=frame.trace_id)
            await answer(scope, receive, sending)
        except ClientGone:
            pass
        finally:
            self._observe(scope["method"], frame, status)

    def close(self) -> None:
        """End streams and waits: the server stops."""
        self._context.closing.set()

    def _check(self, scope: Mapping[str, Any], frame: Frame) -> None:
        headers = frame.headers
        self._check_host(scope, headers.get(b"host", b""))
        if scope["method"] not in _WRITES:
            return
        self._check_origin(headers)
        length = headers.get(b"content-length", b"")
        chunked = b"transfer-encoding" in headers
        if chunked or length.strip(b"0"):
            _check_type(frame.header(b"content-type"))
        if len(length) > 18 or (length and int(length) > self._max_bytes):
            raise too_large(self._max_bytes)

    def _check_host(self, scope: Mapping[str, Any], host: bytes) -> None:
        # Names a browser resolved may be an attacker's, pointed at this machine; an address in
        # the place of a name cannot be.
        if host in self._known_hosts or self._any_host:
            return
        if sum(name == b"host" for name, _ in scope["headers"]) > 1:
            raise malformed("The request names two hosts", "Send one Host header.", "host")
        name = _host_name(host.decode("latin-1"))
        if name.lower() not in self._hosts and not _is_address(name):
            raise Refused(
                ForbiddenError(
                    "This server does not answer to that host name",
                    where="host",
                    next_step="Use its address, or start it with --allow-host NAME.",
                )
            )
        if len(self._known_hosts) < 64:
            self._known_hosts.add(host)

    def _check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        origin = headers.get(b"origin")
        if origin is None:
            if headers.get(b"sec-fetch-site", b"none") in (b"none", b"same-origin"):
                return
        else:
            told = origin.decode("latin-1").lower()
            own = told.partition("://")[2].encode() == headers.get(b"host", b"").lower()
            if own or told in self._origins:
                return
        raise Refused(
            ForbiddenError(
                "Another site's page may not change anything here",
                where="origin",
                next_step="Start the server with --allow-origin ORIGIN to let it.",
            )
        )

    def _counted(self, frame: Frame, receive: Receive) -> Receive:
        """Count a body whose length was not announced; the parser holds others to theirs."""
        if b"transfer-encoding" not in frame.headers:
            return receive
        size = 0

        async def counting() -> dict[str, Any]:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                raise too_large(self._max_bytes)
            return message

        return counting

    def _observe(self, method: str, frame: Frame, status: int) -> None:
        if not self._context.observers:
            return
        seconds = time.perf_counter() - frame.began_s
        told = Access(
            method=method,
            route=frame.route,
            status=status,
            seconds=seconds,
            tenant=frame.tenant.name,
            request_id=frame.request_id,
            trace_id=frame.trace_id,
            at_s=time.time(),
            span_id=frame.span_id,
            parent_id=frame.parent_id,
            sampled=bool(int(frame.flags, 16) & 1),
        )
        for observer in self._context.observers:
            observer(told)


def _dressed(headers: list[tuple[bytes, bytes]], frame: Frame) -> list[tuple[bytes, bytes]]:
    there = {name for name, _ in headers}
    headers.extend(pair for pair in _ALWAYS.items() if pair[0] not in there)
    headers.append((b"x-request-id", frame.request_id.encode()))
    headers.append((b"traceparent", frame.traceparent.encode()))
    return headers


def _check_type(content_type: str) -> None:
    media_type, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if media_type.strip().lower() in _JSON_TYPES and charset in ("", "utf-8", "utf8"):
        return
    error = RequestError(
        f"The body is of type {content_type[:100] or 'unknown'!r}",
        where="content-type",
        next_step="Send JSON in UTF-8, with `Content-Type: application/json`.",
    )
    raise Refused(error, 415)


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
