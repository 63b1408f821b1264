"""A whole HTTP answer in memory, as an ASGI application of two messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic_core import to_json

Headers = Iterable[tuple[bytes, bytes]]
Scope = Mapping[str, Any]

JSON = b"application/json"


class Reply:
    """Status, headers and body. Sends nothing but the head where the request was a HEAD."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self, status: int = 200, body: bytes = b"", media_type: bytes = b"", headers: Headers = ()
    ) -> None:
        self.status = status
        self.body = body
        self.headers = [*headers]
        if media_type:
            self.headers.append((b"content-type", media_type))
        if status not in (204, 304):
            self.headers.append((b"content-length", str(len(body)).encode()))

    @classmethod
    def json(
        cls, document: Any, status: int = 200, headers: Headers = (), media_type: bytes = JSON
    ) -> Self:
        """Answer with a JSON document; numbers that JSON lacks become null."""
        return cls(status, dump(document), media_type, headers)

    @classmethod
    def text(cls, text: str, media_type: bytes = b"text/plain; charset=utf-8") -> Self:
        """Answer with text."""
        return cls(200, text.encode(errors="replace"), media_type)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        body = b"" if scope["method"] == "HEAD" else self.body
        await send({"type": "http.response.body", "body": body})


def dump(document: Any) -> bytes:
    """Write JSON; infinite and undefined numbers become null."""
    return to_json(document, inf_nan_mode="null", serialize_unknown=True)
