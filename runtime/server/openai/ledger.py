"""How many requests of each tenant the engines work on beside its jobs, held against its quota."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from gangline.ir.errors import QuotaError
from gangline.runtime.service.tenant import Tenant

Left = Mapping[str, float | None]

DAY_S = 86_400.0
TOKENS_S = 15.0
"""A part of the minute that tokens are counted over: some of them are over by then."""


class Ledger:
    """Requests in flight, per server. What they used is counted with what the jobs use.

    Args:
        now: seconds since the epoch.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._in_flight: Counter[str] = Counter()

    @contextmanager
    def admitted(self, tenant: Tenant, left: Left) -> Iterator[None]:
        """Count one request as in flight; QuotaError if the tenant's quota has no room for it.

        Args:
            left: what the tenant has left of its quota (`Service.quota_left`).
        """
        self._check(tenant.name, left)
        self._in_flight[tenant.name] += 1
        try:
            yield
        finally:
            self._in_flight[tenant.name] -= 1
            if not self._in_flight[tenant.name]:
                del self._in_flight[tenant.name]

    def _check(self, tenant: str, left: Left) -> None:
        if _reached(self._in_flight[tenant], left["in_flight"]):
            raise _used_up("too many requests and jobs are in flight", 1.0)
        if _reached(0, left["tokens_this_minute"]):
            raise _used_up("its tokens of this minute", TOKENS_S)
        if _reached(0, left["usd_today"]):
            raise _used_up("its dollars of today", DAY_S - self._now() % DAY_S)


def _reached(used: float, limit: float | None) -> bool:
    return limit is not None and used >= limit


def _used_up(detail: str, retry_after_s: float) -> QuotaError:
    error = QuotaError(
        f"The quota of this key is used up: {detail}",
        where="quota",
        next_step="Wait as long as Retry-After says.",
    )
    error.retry_after_s = max(retry_after_s, 1.0)
    return error
