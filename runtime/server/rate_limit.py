"""RateLimit headers: what is left of the caller's quota (draft-ietf-httpapi-ratelimit-headers-10).

Three policies, each only where the tenant has that limit: `in-flight` counts jobs that are queued
or run and has no window; `usd-cents` is a day's, `tokens` a minute's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from gangline.runtime.service.tenant import Quota

from .call import Call

Pair = tuple[bytes, bytes]
DAY_S, MINUTE_S = 86400, 60


async def rate_limit_headers(call: Call) -> list[Pair]:
    """Give `RateLimit-Policy` and `RateLimit`; nothing for a tenant without limits."""
    policies = list(_policies(call.tenant.quota))
    if not policies:
        return []
    left = await call.context.service.quota_left(call.tenant)
    until = {DAY_S: DAY_S - int(time.time()) % DAY_S, MINUTE_S: MINUTE_S, 0: 1}
    policy = ", ".join(_policy(*row) for row in policies)
    state = ", ".join(
        f'"{name}";r={math.floor(scale * (left[field] or 0.0))};t={until[window]}'
        for name, field, scale, window, _ in policies
    )
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", state.encode())]


def _policies(quota: Quota) -> Iterator[tuple[str, str, float, int, float]]:
    """Yield name, field, units per unit of the quota, window and limit of what is limited."""
    rows = (
        ("in-flight", "in_flight", 1.0, 0, quota.max_in_flight),
        ("usd-cents", "usd_today", 100.0, DAY_S, quota.usd_per_day),
        ("tokens", "tokens_this_minute", 1.0, MINUTE_S, quota.tokens_per_min),
    )
    return (row for row in rows if math.isfinite(row[4]))


def _policy(name: str, field: str, scale: float, window: int, limit: float) -> str:
    text = f'"{name}";q={math.floor(scale * limit)}'
    return f"{text};w={window}" if window else text
