"""Who calls: a tenant with its scopes and its quota."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from gangline.ir.specs.event import LOCAL

SCOPES = ("submit", "read", "admin")
"""`submit` may start and steer jobs, `read` may see them, `admin` may do both for every tenant."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What one tenant may use at most; infinite means no limit.

    Attributes:
        max_in_flight: jobs that are queued or run.
        usd_per_day: US dollars of jobs, by UTC day.
        tokens_per_min: prompt and output tokens of jobs that ended, over the last 60 s.
        weight: share of the server when tenants compete, relative to theirs.
    """

    max_in_flight: float = math.inf
    usd_per_day: float = math.inf
    tokens_per_min: float = math.inf
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Tenant:
    """A caller: everything the service may know of who asks."""

    name: str = LOCAL
    scopes: frozenset[str] = frozenset(SCOPES)
    quota: Quota = field(default_factory=Quota)

    def may(self, scope: str) -> bool:
        """Say whether the caller has a scope; `admin` has them all."""
        return scope in self.scopes or "admin" in self.scopes
