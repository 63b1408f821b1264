"""What goes into the store and comes out of it, besides events and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.specs.event import Event


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to create.

    Attributes:
        queued: its first event. `data["program"]` and `data["plan"]` may be a Program and a
            Plan, or their JSON; a Program object is encoded once, however many jobs name it.
        owner: who runs it; empty leaves it free to be claimed.
        tenant, priority, forked_from: None takes them from the event's data.
        idempotency: the caller's key and a hash of the request's body.
        webhook: where to tell that the job stopped; kept as given.
        more: events that follow the first one at once (those a fork begins with).
    """

    queued: Event
    workflow: str
    owner: str = ""
    tenant: str | None = None
    priority: int | None = None
    idempotency: tuple[str, str] | None = None
    forked_from: str | None = None
    webhook: Mapping[str, Any] | None = None
    more: Sequence[Event] = ()


@dataclass(frozen=True, slots=True)
class Created:
    """The answer to a create. `epoch` is the lease's: 0 for a free or a replayed job."""

    job_id: str
    epoch: int
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job this owner now holds, with the epoch its appends must name.

    `abandoned` says that its last owner neither stopped it nor gave it back: that owner died.
    """

    job_id: str
    epoch: int
    tenant: str
    priority: int
    status: str
    abandoned: bool = False


@dataclass(frozen=True, slots=True)
class Control:
    """A request to whoever runs a job: `cancel`, `resume`, ... with its data."""

    job_id: str
    epoch: int
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a tenant has used: US dollars, tokens, and jobs that are queued or run now."""

    usd: float = 0.0
    tokens: int = 0
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key as it is kept: a hash of it, never the key. `revoked_s` None is valid."""

    id: str
    hash: str
    tenant: str
    scopes: tuple[str, ...]
    quota: Mapping[str, Any] = field(default_factory=dict)
    created_s: float = 0.0
    revoked_s: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook message to send. `id` stays the same over all attempts."""

    id: str
    job_id: str
    tenant: str
    event: str
    webhook: Mapping[str, Any]
    at_s: float
    attempts: int
    error: str = ""
