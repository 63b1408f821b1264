"""One request on its way: who asks, under which trace, with what."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import getrandbits
from typing import TYPE_CHECKING, Any

from gangline.runtime.service.tenant import Tenant

if TYPE_CHECKING:
    from .context import Context

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
NOBODY = Tenant("", frozenset())


class Frame:
    """What every request has before it is routed.

    Attributes:
        headers: by lower-case name; of a header sent twice the last counts.
        trace_id: 32 hex digits, the caller's or a new one.
        span_id: 16 hex digits, new: this request in the trace.
        parent_id: the caller's span, or empty.
        began_s: on the monotonic clock.
    """

    __slots__ = (
        "began_s",
        "flags",
        "headers",
        "parent_id",
        "request_id",
        "route",
        "span_id",
        "tenant",
        "trace_id",
    )

    def __init__(self, raw_headers: list[tuple[bytes, bytes]]) -> None:
        self.began_s = time.perf_counter()
        self.headers = dict(raw_headers)
        self.route = ""
        self.tenant = NOBODY
        given = self.headers.get(b"traceparent")
        match = _TRACEPARENT.fullmatch(given) if given else None
        if match:
            self.trace_id, self.parent_id = match[1].decode(), match[2].decode()
            self.flags = match[3].decode()
        else:
            self.trace_id, self.parent_id = f"{getrandbits(128) or 1:032x}", ""
            self.flags = "01"
        self.span_id = f"{getrandbits(64) or 1:016x}"
        asked = self.headers.get(b"x-request-id")
        keep = asked is not None and _REQUEST_ID.fullmatch(asked)
        self.request_id = asked.decode() if asked and keep else self.span_id

    @property
    def traceparent(self) -> str:
        """W3C trace context of what this request causes."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    @property
    def cause(self) -> str:
        """What a job keeps of the request that made it: `traceparent`, with `-root` behind it
        where no caller began the trace (so that nobody has decided yet whether to sample it)."""
        return self.traceparent if self.parent_id else f"{self.traceparent}-root"

    def header(self, name: bytes) -> str:
        """Give a header's text; empty where it was not sent."""
        return self.headers.get(name, b"").decode("latin-1")


@dataclass(slots=True)
class Call:
    """A request that was routed, for the handler of its operation.

    Attributes:
        path: values of the path's parameters.
        query: the operation's query model, checked; None where it has none.
        body: the operation's body model, checked; raw bytes where it has no model.
    """

    scope: Mapping[str, Any]
    receive: Receive
    context: Context
    frame: Frame
    tenant: Tenant
    path: Mapping[str, str]
    query: Any = None
    body: Any = None

    def header(self, name: bytes) -> str:
        """Give a header's text; empty where it was not sent."""
        return self.frame.header(name)
