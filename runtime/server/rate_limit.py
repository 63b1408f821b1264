"""RateLimit headers: what is left of the caller's quota (draft-ietf-httpapi-ratelimit-headers)."""

from __future__ import annotations

import math

from .call import Call

Pair = tuple[bytes, bytes]


def rate_limit_headers(call: Call) -> list[Pair]:
    """Give `RateLimit-Policy` and `RateLimit`; nothing for a tenant without limits."""
    quota = call.tenant.quota
    if not math.isfinite(quota.max_in_flight):
        return []
    return [(b"ratelimit-policy", b'"in-flight";q=%d' % int(quota.max_in_flight))]
