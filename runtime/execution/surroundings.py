"""What all jobs of an executor share: its loop, clock, devices, tools and store."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gangline.backends.base import Backend
from gangline.ir.specs.event import Event
from gangline.runtime.clock import Clock
from gangline.runtime.dispatch.commands import Request
from gangline.runtime.dispatch.routing import LeastLoaded
from gangline.runtime.store import Store

from .fence import Fence
from .mailbox import Mailbox
from .timeouts import Timeouts
from .tool_table import FindTool
from .workers import Workers

if TYPE_CHECKING:
    from .driver import Driver

OnEvent = Callable[[Event], None]
Publish = Callable[[Sequence[Event]], None]


@dataclass(slots=True, eq=False)
class InFlight:
    """A request an engine works on, with the times seen so far."""

    driver: Driver
    command: Request
    device: str
    submitted_s: float
    first_token_s: float = math.nan


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What drivers need of the world.

    Attributes:
        mailbox: how other threads reach the loop.
        requests: what engines work on, by request id.
        publish: told of events once they are on disk, and of deltas at once; None: nobody.
        owns_loop: whether the loop carries nothing but these jobs.
        drivers: the jobs carried now, by id.
        fence: closed while others may have our jobs.
    """

    loop: asyncio.AbstractEventLoop
    mailbox: Mailbox
    clock: Clock
    backends: Mapping[str, Backend]
    routing: LeastLoaded
    workers: Workers
    timeouts: Timeouts
    find_tool: FindTool
    store: Store | None
    publish: Publish | None = None
    owns_loop: bool = False
    drivers: dict[str, Driver] = field(default_factory=dict)
    requests: dict[str, InFlight] = field(default_factory=dict)
    fence: Fence = field(default_factory=Fence)

    def has_only(self, driver: Driver) -> bool:
        """Say whether the loop has nobody to serve but this one."""
        alone = self.owns_loop and len(self.drivers) == 1
        return alone and self.drivers.get(driver.job_id) is driver

    def backend(self, device: str) -> Backend | None:
        """Find what drives a device id, by the id or by its device's name."""
        return self.backends.get(device) or self.backends.get(device.split("/", 1)[0])
