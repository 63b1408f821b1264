"""What the client's core asks its shell to do; the shell is the only place with I/O.

Every method of a client is a generator that yields these and is sent their outcomes. The sync
and the async client differ only in how they carry them out.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from .call import Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request and read the whole reply; the outcome is a Reply or a Failure."""

    request: Request


@dataclass(frozen=True, slots=True)
class Open:
    """Send a request and keep its stream open; the outcome is None or a Failure."""

    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """Read from the open stream; the outcome is bytes, None at its end, or a Failure."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Sleep."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Give a value to whoever iterates."""

    value: Any


Action = Send | Open | Read | Pause | Emit
Steps = Generator[Action, Any, T]
Events = Steps[None]
"""Steps that emit values and give none."""
