"""Between the client's core and httpx: requests, replies, and what a failed exchange means."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import httpx

from gangline.ir.errors import ServiceError, UsageError
from gangline.runtime.redact import redact

from .call import Failure, Reply, Request

SERVER = "GANGLINE_SERVER"
API_KEY = "GANGLINE_API_KEY"
DEFAULT_SERVER = "http://127.0.0.1:8080"
STREAM_SILENCE_S = 45.0
"""A stream that says nothing for this long is broken: the server's heartbeat is every 15 s."""

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_LOST = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)


def settings(base_url: str | None, api_key: str | None, timeout: float) -> dict[str, Any]:
    """Give the arguments of an httpx client; what is None comes from the environment.

    Redirects are not followed: the key is for this server and no other.
    """
    from gangline import __version__

    url = (base_url or os.environ.get(SERVER) or DEFAULT_SERVER).rstrip("/")
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(
            f"{redact(url)!r} is not the address of a server",
            next_step=f"Write it as {DEFAULT_SERVER}.",
        )
    headers = {"User-Agent": f"gangline/{__version__}", "Accept": "application/json"}
    key = api_key or os.environ.get(API_KEY)
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return {
        "base_url": url,
        "headers": headers,
        "timeout": httpx.Timeout(timeout, connect=min(timeout, 5.0)),
        "follow_redirects": False,
    }


def sent(request: Request, usual: httpx.Timeout, *, stream: bool = False) -> dict[str, Any]:
    """Give the arguments of `build_request`."""
    read_s = STREAM_SILENCE_S if stream else (usual.read or 0.0) + request.patience_s
    timeout = httpx.Timeout(connect=usual.connect, write=usual.write, pool=usual.pool, read=read_s)
    arguments: dict[str, Any] = {
        "method": request.method,
        "url": request.path,
        "params": dict(request.params) or None,
        "headers": {**_trace(), **request.headers},
        "timeout": timeout,
    }
    if request.body is not None:
        arguments["json"] = request.body
    return arguments


def reply(response: httpx.Response) -> Reply:
    """Give a response that has been read; a body that is not JSON is no document."""
    document = None
    if "json" in response.headers.get("content-type", ""):
        try:
            document = response.json()
        except ValueError:
            document = None
    return Reply(response.status_code, dict(response.headers), document)


def failure(error: httpx.HTTPError, base_url: str) -> Failure:
    """Say what a failed exchange means for the request."""
    reached = not isinstance(error, _UNSENT)
    happened = "did not answer" if reached else "cannot be reached"
    why = str(error) or type(error).__name__
    told = ServiceError(
        f"The server at {redact(base_url)} {happened}: {redact(why)}",
        next_step="See that it runs (`gangline serve`), and that its address is right.",
    )
    told.__cause__ = error
    transient = not reached or isinstance(error, _LOST)
    return Failure(told, transient=transient, untouched=not reached)


def _trace() -> Mapping[str, str]:
    """Give the W3C trace context of a caller that uses OpenTelemetry; nothing is imported."""
    if "opentelemetry.trace" not in sys.modules:
        return {}
    from opentelemetry.propagate import inject

    headers: dict[str, str] = {}
    inject(headers)
    return headers
