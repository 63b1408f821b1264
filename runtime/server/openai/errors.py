"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gangline.ir.errors import GanglineError, InputError, NotFoundError, RequestError
from gangline.runtime.server.call import Call
from gangline.runtime.server.operation import Asgi
from gangline.runtime.server.problem import Refused, retry_after, status_of
from gangline.runtime.server.reply import Reply

_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}
_CODES: Mapping[int, str] = {
    401: "invalid_api_key",
    403: "insufficient_permissions",
    429: "rate_limit_exceeded",
    413: "request_too_large",
}
"""By status, where the error itself names none."""
_KIND = re.compile(r"(constrained-)?(str|int)|(list|literal|function-\w+)\[.*|NamedTool")
"""Parts of a place that name no field, but one of the kinds a value may have."""
_EXTRA, _MISSING = "Extra inputs are not permitted", "Field required"


def refused(detail: str, param: str, code: str | None = None, next_step: str = "") -> Refused:
    """Refuse a request for one of its parameters (400), with a code of OpenAI's."""
    error = RequestError(detail, where=f"body.{param}", next_step=next_step)
    return Refused(error, 400, more={"code": code} if code else None)


def no_model(name: str) -> Refused:
    """Say that there is no such model (404)."""
    error = NotFoundError(
        f"The model {name[:200]!r} does not exist or is not on this server",
        where="body.model",
        next_step="GET /v1/models lists those there are.",
    )
    return Refused(error, more={"code": "model_not_found"})


def show_error(error: Refused, call: Call) -> Asgi:
    """Answer with an error; what the body has wrong is 400 here, not 422."""
    status = status_for(error)
    headers = [*error.headers, *retry_after(error.error, status)]
    return Reply.json(error_document(error), status, headers)


def status_for(error: Refused) -> int:
    """Give the HTTP status of an error."""
    status = error.status or status_of(error.error)
    return 400 if status == 422 else status


def error_document(error: Refused) -> dict[str, Any]:
    """Give the body of an error."""
    status, where, detail = status_for(error), *_fault(error)
    param = _param(where)
    message, code = _message(error.error, where, detail, param)
    told = (error.more or {}).get("code") or code or _CODES.get(status)
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": told}}


def _fault(error: Refused) -> tuple[str, str]:
    """Give where the fault is that says most, and what it is.

    A value that fits none of several kinds has a fault for each: the one deepest inside is of
    the kind that was meant.
    """
    faults = (error.more or {}).get("errors", ())
    if not faults:
        return error.error.where, error.error.detail
    first = faults[0]["where"].split(".")[:2]
    alike = [fault for fault in faults if fault["where"].split(".")[:2] == first]
    told = max(
        alike, key=lambda fault: (fault["where"].count("."), "string" not in fault["detail"])
    )
    return told["where"], f"{told['where']}: {told['detail']}"


def _message(
    error: GanglineError, where: str, detail: str, param: str | None
) -> tuple[str, str | None]:
    code = None
    if isinstance(error, InputError) and " exceed " in detail:
        code = "context_length_exceeded"  # the engine knows how much memory there is
    if where.startswith("body.") and detail.startswith(f"{where}: "):
        detail = detail.removeprefix(f"{where}: ")
        if detail == _EXTRA:
            return f"Unknown parameter: '{param}'.", "unknown_parameter"
        if detail == _MISSING:
            return f"Missing required parameter: '{param}'.", "missing_required_parameter"
        return f"Invalid value for '{param}': {detail}.", "invalid_value"
    next_step = "" if "/openapi.json" in error.next_step else error.next_step
    return f"{detail.rstrip('.')}. {next_step}".strip(), code


def _param(where: str) -> str | None:
    if where == "grammar":
        return "response_format"
    if not where.startswith("body."):
        return None
    names = [name for name in where.split(".")[1:] if not _KIND.fullmatch(name)]
    return re.sub(r"\.(\d+)", r"[\1]", ".".join(names))
