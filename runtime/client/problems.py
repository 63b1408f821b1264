"""From a reply that is an error (problem+json, RFC 9457) to the error it stands for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from gangline.ir.errors import (
    AuthenticationError,
    ConflictError,
    ForbiddenError,
    GanglineError,
    NotFoundError,
    OverloadedError,
    QuotaError,
    RequestError,
    ServiceError,
    TooLargeError,
    from_json,
)

from .call import Failure, Reply

_BY_STATUS: dict[int, type[GanglineError]] = {
    400: RequestError,
    401: AuthenticationError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: TooLargeError,
    415: RequestError,
    422: RequestError,
    429: QuotaError,
    503: OverloadedError,
}
_REFUSED = (429, 503)
"""Statuses that say that nothing was done and that trying again later may work."""
_TRANSIENT = (408, 425, 500, 502, 504)
"""Statuses after which nobody knows what was done."""


def failure_of(reply: Reply) -> Failure:
    """Read an error reply; any body will do, as proxies write their own."""
    retry_after_s = _retry_after(reply.headers.get("retry-after"))
    error = error_of(reply)
    if isinstance(error, QuotaError | OverloadedError):
        error.retry_after_s = retry_after_s
    refused = reply.status in _REFUSED
    transient = refused or reply.status in _TRANSIENT
    if isinstance(reply.document, Mapping) and isinstance(reply.document.get("retryable"), bool):
        transient = transient and reply.document["retryable"]
    return Failure(error, transient, refused, retry_after_s)


def error_of(reply: Reply) -> GanglineError:
    """Give the error of a reply, by its code, or by its status where it has no code."""
    problem = reply.document
    if isinstance(problem, Mapping) and isinstance(problem.get("code"), str):
        text = {key: _text(problem.get(key)) for key in ("code", "detail", "where", "next_step")}
        text["detail"] = text["detail"] or _text(problem.get("title")) or f"HTTP {reply.status}"
        return from_json(text)
    kind = _BY_STATUS.get(reply.status, ServiceError)
    return kind(
        f"The server answered with HTTP {reply.status} and no reason",
        next_step="Check the address: something else may answer there.",
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _retry_after(value: str | None) -> float | None:
    """Give the seconds of a Retry-After header: a number, or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            then = parsedate_to_datetime(value)
        except ValueError:
            return None
        now = datetime.now(UTC)
        seconds = (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    return max(0.0, seconds) if math.isfinite(seconds) else None
