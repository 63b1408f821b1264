"""Errors as problem+json (RFC 9457): one status per code of the error tree."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from gangline.ir.errors import GanglineError, RequestError, ServiceError, StoreError

from .reply import Headers, Reply

logger = logging.getLogger(__name__)

STATUS: Mapping[str, int] = {
    "usage": 422,
    "input": 422,
    "config": 422,
    "unsupported_format": 422,
    "trace": 422,
    "verify": 422,
    "version": 422,
    "lowering": 422,
    "plan": 422,
    "infeasible": 422,
    "policy": 403,
    "model": 422,
    "database": 422,
    "backend": 503,
    "unavailable": 503,
    "store": 503,
    "lease": 503,
    "unstorable": 422,
    "request": 422,
    "too_large": 413,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "idempotency": 422,
    "quota": 429,
    "rejected": 422,
    "overloaded": 503,
}
"""HTTP status by error code; 500 for every other one."""

RETRYABLE = frozenset({429, 503})
MEDIA_TYPE = b"application/problem+json"


class Refused(Exception):
    """End a request with an error, and with a status or headers that its code does not tell.

    Args:
        more: members of the document beside the usual ones.
    """

    def __init__(
        self,
        error: GanglineError,
        status: int | None = None,
        headers: Headers = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(error.detail)
        self.error = error
        self.status = status
        self.headers = headers
        self.more = more


def malformed(detail: str, next_step: str, where: str = "body") -> Refused:
    """Refuse what cannot be read at all (400), unlike what is read and wrong (422)."""
    return Refused(RequestError(detail, where=where, next_step=next_step), 400)


def status_of(error: GanglineError) -> int:
    """Give the HTTP status of an error."""
    return STATUS.get(error.code, 500)


def problem_document(
    error: GanglineError,
    status: int,
    *,
    instance: str = "",
    trace_id: str = "",
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Give the problem document of an error; `instance` is the path that was asked for."""
    return {
        **_for_callers(error).to_json(),
        "type": f"urn:gangline:problem:{error.code}",
        "status": status,
        "instance": instance,
        "retryable": status in RETRYABLE,
        "trace_id": trace_id,
        **(more or {}),
    }


def _for_callers(error: GanglineError) -> GanglineError:
    """Give what a caller may know: where the store is, and why it fails, is the operator's affair."""
    if error.code != StoreError.code:
        return error
    return StoreError(
        "The job store cannot be used now",
        next_step="Try again in a moment; the server's log says why.",
    )


def problem(refused: Refused | GanglineError, *, instance: str = "", trace_id: str = "") -> Reply:
    """Answer with an error."""
    if not isinstance(refused, Refused):
        refused = Refused(refused)
    error, more = refused.error, refused.more
    status = refused.status or status_of(error)
    if error.code == StoreError.code:
        logger.warning("%s", error)  # callers are not told why
    headers = [*refused.headers, *retry_after(error, status)]
    document = problem_document(error, status, instance=instance, trace_id=trace_id, more=more)
    return Reply.json(document, status, headers, MEDIA_TYPE)


def retry_after(error: GanglineError, status: int) -> Sequence[tuple[bytes, bytes]]:
    """Give the Retry-After header of an error that may pass; nothing for others."""
    if status not in RETRYABLE:
        return ()
    after_s = error.retry_after_s if isinstance(error, ServiceError) else None
    return ((b"retry-after", str(max(math.ceil(after_s or 1.0), 1)).encode()),)
