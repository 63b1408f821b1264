"""What a request gets that no route knows."""

from __future__ import annotations

from typing import Any

from gangline.ir.errors import NotFoundError

from .problem import problem


async def not_found(scope: Any, receive: Any, send: Any) -> None:
    """Answer 404 with a problem document; turn WebSockets away."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000, "reason": ""})
        return
    error = NotFoundError(
        "There is no such route", where=scope["path"], next_step="See /openapi.json."
    )
    trace_id = scope["gangline"].trace_id
    await problem(error, instance=scope["path"], trace_id=trace_id)(scope, receive, send)
