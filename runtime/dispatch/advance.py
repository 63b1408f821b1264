"""What one outcome of a job led to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.specs.event import Event

from .commands import Call, CancelRequest, CancelTool, Request, RetryAfter

Action = Call | Request | CancelRequest | CancelTool | RetryAfter
"""Commands that are left for the world to carry out."""

Draft = tuple[str, str, Mapping[str, Any]]
"""An event that is yet to get its number and its time: type, step id ("" for none), data."""


@dataclass(slots=True)
class Advance:
    """Events to store, in order, and then actions to carry out."""

    events: list[Event] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    def extend(self, more: Advance) -> None:
        """Add what came of a later outcome."""
        self.events += more.events
        self.actions += more.actions
