"""What tenants have asked of the engines beside their jobs, held against their quotas."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from gangline.ir.errors import QuotaError
from gangline.ir.specs.request import Finished
from gangline.runtime.dispatch.outcome import DirectOutcome
from gangline.runtime.service.tenant import Tenant

Left = Mapping[str, float | None]

WINDOW_S = 60.0
DAY_S = 86_400.0


@dataclass(slots=True)
class _Spent:
    """One tenant's tokens of the last minute, and dollars of the UTC day."""

    recent: deque[tuple[float, int]] = field(default_factory=deque)
    tokens: int = 0
    day: int = 0
    usd: float = 0.0


class Ledger:
    """Counts in memory, per server: a restart forgets it, unlike what jobs have used.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._in_flight: Counter[str] = Counter()
        self._spent: dict[str, _Spent] = {}

    @contextmanager
    def admitted(self, tenant: Tenant, left: Left) -> Iterator[None]:
        """Count one request as in flight; QuotaError if the tenant's quota has no room for it.

        Args:
            left: what the tenant's jobs leave of its quota (`Service.quota_left`).
        """
        self._check(tenant.name, left)
        self._in_flight[tenant.name] += 1
        try:
            yield
        finally:
            self._in_flight[tenant.name] -= 1
            if not self._in_flight[tenant.name]:
                del self._in_flight[tenant.name]

    def observe(self, outcome: DirectOutcome) -> None:
        """Count what an engine request has used; its tenant is its cache salt."""
        if not isinstance(outcome.event, Finished):
            return
        now = self._now()
        spent = self._current(outcome.submit.cache_salt, now)
        num_tokens = outcome.event.prompt_tokens + len(outcome.event.token_ids)
        spent.recent.append((now, num_tokens))
        spent.tokens += num_tokens
        spent.usd += outcome.usd

    def _check(self, tenant: str, left: Left) -> None:
        now = self._now()
        spent = self._current(tenant, now)
        if _reached(self._in_flight[tenant], left["in_flight"]):
            raise _used_up("too many requests and jobs are in flight", 1.0)
        if _reached(spent.tokens, left["tokens_this_minute"]):
            wait_s = spent.recent[0][0] + WINDOW_S - now if spent.recent else WINDOW_S / 4
            raise _used_up("its tokens of this minute", wait_s)
        if _reached(spent.usd, left["usd_today"]):
            raise _used_up("its dollars of today", DAY_S - now % DAY_S)

    def _current(self, tenant: str, now: float) -> _Spent:
        spent = self._spent.setdefault(tenant, _Spent(day=int(now // DAY_S)))
        # Invariant: `tokens` is the sum of `recent`, which holds the last minute in order.
        while spent.recent and spent.recent[0][0] <= now - WINDOW_S:
            spent.tokens -= spent.recent.popleft()[1]
        if spent.day != int(now // DAY_S):
            spent.day, spent.usd = int(now // DAY_S), 0.0
        return spent


def _reached(used: float, limit: float | None) -> bool:
    return limit is not None and used >= limit


def _used_up(detail: str, retry_after_s: float) -> QuotaError:
    return QuotaError(
        f"The quota of this key is used up: {detail}",
        where="quota",
        next_step="Wait as long as Retry-After says.",
        retry_after_s=max(retry_after_s, 1.0),
    )
