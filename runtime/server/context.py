"""What every handler may use: the service, the settings, the keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gangline.runtime.telemetry.access import Access

from .settings import ServerSettings

if TYPE_CHECKING:
    from gangline.runtime.service.service import Service

    from .auth import KeyRing


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
