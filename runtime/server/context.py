"""What every handler may use: the service, the settings, the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .settings import ServerSettings

if TYPE_CHECKING:
    from gangline.runtime.service.service import Service

    from .auth import KeyRing


@dataclass(frozen=True, slots=True)
class Access:
    """One request that was answered, for logs and metrics.

    `route` is the path's template (empty where none matched), `seconds` until the answer's end,
    which was at `at_s` seconds since the epoch. `span_id` is the request in its trace, `parent_id`
    the caller's span, empty where it sent none; `sampled` is what the caller wants of the trace.
    """

    method: str
    route: str
    status: int
    seconds: float
    tenant: str
    request_id: str
    trace_id: str
    at_s: float = 0.0
    span_id: str = ""
    parent_id: str = ""
    sampled: bool = True


@dataclass(frozen=True, slots=True)
class Context:
    """Shared by all requests of one server.

    Attributes:
        observers: called with every request that was answered; they must be quick.
        closing: set when the server stops: streams and waits then end.
    """

    service: Service
    settings: ServerSettings
    keys: KeyRing
    observers: list[Callable[[Access], None]] = field(default_factory=list)
    closing: asyncio.Event = field(default_factory=asyncio.Event)
