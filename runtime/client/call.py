"""One exchange with the server as data: what to send, and how to read the reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from gangline.ir.errors import GanglineError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """A request; `path` begins with a slash, `body` is JSON or None.

    `patience_s` is how long the server may take on top of the usual time (`Prefer: wait`).
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    patience_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Header names are lower case; `document` is the JSON body, or None."""

    status: int
    headers: Mapping[str, str]
    document: Any = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A request that was not served.

    Attributes:
        error: what to raise if nobody tries again.
        transient: another try may succeed.
        untouched: the server certainly did nothing, so even what must not be done twice may be
            sent again.
        retry_after_s: how long the server asks to be left alone.
    """

    error: GanglineError
    transient: bool = False
    untouched: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, how to read its reply, and whether it may be sent twice."""

    request: Request
    read: Callable[[Reply], T]
    repeatable: bool = True
