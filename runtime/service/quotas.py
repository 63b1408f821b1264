"""What tenants use, held against their quotas: exact for jobs in flight, within a second else.

What they ask of engines beside their jobs is stored with what the jobs use: it counts for both,
on all servers, and over restarts.

A count read from the store is at most `usage_ttl_s` old; jobs accepted here since then are added
to it. Whatever is in doubt counts, so that submits side by side never overshoot.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gangline.ir.errors import QuotaError
from gangline.ir.specs.request import Finished
from gangline.runtime.clock import Clock
from gangline.runtime.dispatch.outcome import DirectOutcome
from gangline.runtime.store import Ticket

from .tenant import Quota, Tenant

DAY_S, MINUTE_S = 86400.0, 60.0
SURE_S = 0.02
"""A count at most this old is not read again before it refuses somebody, in seconds."""

ReadUsage = Callable[[str, float], Awaitable[Any]]
"""Gives the `Usage` of a tenant since a time (seconds since the epoch)."""


Spend = Callable[[str, float, float, int], Ticket[None]]
"""Stores what a tenant used beside its jobs: tenant, time, US dollars, tokens."""


@dataclass(slots=True)
class _Account:
    """One tenant's figures.

    Attributes:
        in_flight: as read; `added` were stored since that reading began.
        pending: accepted, and not known to be stored.
        late: stored since a reading that is under way began.
        beside_usd, beside_tokens: used beside jobs, and perhaps not in what was read; of that
            `stored_usd` and `stored_tokens` are in the store, so that the next reading has them.
    """

    read_s: float = -math.inf
    in_flight: int = 0
    usd: float = 0.0
    tokens: int = 0
    added: int = 0
    pending: int = 0
    late: int = 0
    beside_usd: float = 0.0
    beside_tokens: int = 0
    stored_usd: float = 0.0
    stored_tokens: int = 0
    reading: asyncio.Task[None] | None = None

    @property
    def jobs(self) -> int:
        return self.in_flight + self.added + self.pending


class Quotas:
    """Hold submits against quotas. Reserve before a job is created, settle after."""

    def __init__(
        self, read: ReadUsage, clock: Clock, ttl_s: float, spend: Spend | None = None
    ) -> None:
        self._read = read
        self._spend = spend
        self._clock = clock
        self._ttl_s = ttl_s
        self._accounts: dict[str, _Account] = {}

    async def reserve(self, tenant: Tenant) -> bool:
        """Count one more job of a tenant; QuotaError if there is no room for it.

        Gives False where the tenant has no limits, and nothing is counted.
        """
        if _unlimited(tenant.quota):
            return False
        account = self._accounts.setdefault(tenant.name, _Account())
        if self._clock.now() - account.read_s > self._ttl_s:
            await self._refresh(tenant, account)
        refusal = self._refusal(tenant.quota, account)
        if refusal is not None and self._clock.now() - account.read_s > SURE_S:
            await self._refresh(tenant, account)
            refusal = self._refusal(tenant.quota, account)
        if refusal is not None:
            raise refusal
        account.pending += 1
        return True

    def settle(self, tenant: str, stored: bool) -> None:
        """Tell how a reserved job went: it is in the store now, or will never be."""
        account = self._accounts[tenant]
        account.pending -= 1
        if stored:
            account.added += 1
            account.late += 1

    def observe(self, outcome: DirectOutcome) -> None:
        """Count and store what a request beside all jobs used; its tenant is its cache salt."""
        if self._spend is None or not isinstance(outcome.event, Finished):
            return
        event, usd, tenant = outcome.event, outcome.usd, outcome.submit.cache_salt
        tokens = event.prompt_tokens + len(event.token_ids)
        account = self._accounts.setdefault(tenant, _Account())
        account.beside_usd += usd
        account.beside_tokens += tokens

        def stored() -> None:
            account.stored_usd += usd
            account.stored_tokens += tokens

        self._spend(tenant, self._clock.now(), usd, tokens).add_done_callback(lambda _: stored())

    async def left(self, tenant: Tenant) -> dict[str, float | None]:
        """Give what a tenant may still use; null where nothing limits it."""
        quota = tenant.quota
        account = self._accounts.setdefault(tenant.name, _Account())
        if not _unlimited(quota) and self._clock.now() - account.read_s > self._ttl_s:
            await self._refresh(tenant, account)
        return {
            "in_flight": _left(quota.max_in_flight, account.jobs),
            "usd_today": _left(quota.usd_per_day, account.usd + account.beside_usd),
            "tokens_this_minute": _left(
                quota.tokens_per_min, account.tokens + account.beside_tokens
            ),
        }

    async def _refresh(self, tenant: Tenant, account: _Account) -> None:
        """Read the figures anew; callers that come meanwhile wait for the same reading."""
        if account.reading is None:
            account.reading = asyncio.ensure_future(self._reread(tenant.name, account))
        await asyncio.shield(account.reading)

    async def _reread(self, tenant: str, account: _Account) -> None:
        # Invariant: `in_flight` + `added` + `pending` counts every job in flight, some twice
        # perhaps; never one too few, for jobs that end are only told by the next reading.
        now = self._clock.now()
        account.late = 0
        beside_usd, beside_tokens = account.stored_usd, account.stored_tokens
        try:
            day = await self._read(tenant, now - now % DAY_S)
            minute = await self._read(tenant, now - MINUTE_S)
        finally:
            account.reading = None
        account.in_flight, account.usd, account.tokens = day.in_flight, day.usd, minute.tokens
        account.added, account.read_s = account.late, now
        account.beside_usd -= beside_usd
        account.stored_usd -= beside_usd
        account.beside_tokens -= beside_tokens
        account.stored_tokens -= beside_tokens

    def _refusal(self, quota: Quota, account: _Account) -> QuotaError | None:
        now = self._clock.now()
        if account.jobs >= quota.max_in_flight:
            what = f"{quota.max_in_flight:g} jobs in flight"
            return _refused(what, 1.0, "Wait until some of them have ended.")
        if account.usd + account.beside_usd >= quota.usd_per_day:
            what = f"${quota.usd_per_day:g} a day"
            return _refused(what, DAY_S - now % DAY_S, "The day ends at 0:00 UTC.")
        if account.tokens + account.beside_tokens >= quota.tokens_per_min:
            what = f"{quota.tokens_per_min:g} tokens a minute"
            return _refused(what, MINUTE_S / 4, "Submit less at once.")
        return None


def _unlimited(quota: Quota) -> bool:
    return math.inf == quota.max_in_flight == quota.usd_per_day == quota.tokens_per_min


def _left(limit: float, used: float) -> float | None:
    return None if math.isinf(limit) else max(0.0, limit - used)


def _refused(what: str, retry_after_s: float, next_step: str) -> QuotaError:
    return QuotaError(
        f"The quota of {what} is used up", next_step=next_step, retry_after_s=retry_after_s
    )
