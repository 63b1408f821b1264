"""Read a request's body, and read JSON from it without trusting it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from gangline.ir.errors import RequestError, TooLargeError

from .problem import Refused, malformed

M = TypeVar("M", bound=BaseModel)

MAX_SHOWN = 20
"""How many faults of one body are told."""


class ClientGone(Exception):
    """The client closed the connection before its request was answered."""


async def read_body(receive: Any, max_bytes: int) -> bytes:
    """Read a request's body; Refused with 413 if it is too large.

    How long it may take is the connection's business (protocol.py): it closes a slow one.
    """
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise too_large(max_bytes)
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def too_large(max_bytes: int) -> Refused:
    """Refuse a body; the connection ends, so that the rest of it need not be read."""
    error = TooLargeError(
        f"The body is over {max_bytes:,} bytes",
        where="body",
        next_step="Put large inputs into a database or a file the workflow reads, and name that.",
    )
    return Refused(error, headers=((b"connection", b"close"),))


def parse_json(body: bytes) -> Any:
    """Read one JSON value; Refused with 400 for anything RFC 8259 leaves to chance.

    No NaN or infinity, no number that overflows to one, no lone surrogate, no name twice in
    one object (two readers would see two different requests), at most 200 levels deep.
    """
    if not body:
        raise malformed("The request has no body", "Send a JSON object.")
    try:
        value = from_json(body, allow_inf_nan=False)
        _STRICT.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise malformed(f"The body is not JSON: {error}", "Send one JSON object.") from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice in one object")


def _finite(text: str) -> None:
    if not math.isfinite(float(text)):
        raise ValueError("a number is too large")


_STRICT = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite)


def validated(model: type[M], value: Any, where: str = "body") -> M:
    """Check a value read from JSON against a model; Refused with 422 and every fault."""
    try:
        return model.model_validate(value, strict=True)
    except ValidationError as error:
        raise invalid(error, where) from None


def invalid(error: ValidationError, where: str) -> Refused:
    """Refuse a value that has faults, telling each with its place."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        {"where": _place(where, fault["loc"]), "detail": fault["msg"]}
        for fault in faults[:MAX_SHOWN]
    ]
    first = told[0]
    summary = RequestError(
        f"{first['where']}: {first['detail']}",
        where=first["where"],
        next_step="See /openapi.json for what the request may hold.",
    )
    return Refused(summary, 422, more={"errors": told})


def _place(where: str, location: Sequence[int | str]) -> str:
    return ".".join([where, *map(str, location)])
