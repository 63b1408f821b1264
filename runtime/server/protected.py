"""Ask for a key in front of an ASGI application that is mounted beside the operations."""

from __future__ import annotations

from typing import Any

from gangline.ir.errors import GanglineError

from .auth import need
from .call import Frame, Receive, Send
from .context import Context
from .problem import Refused, problem


def protected(app: Any, context: Context, scope: str) -> Any:
    """Wrap an application; `request_scope["gangline"].tenant` then says who asks."""

    async def guarded(request: Any, receive: Receive, send: Send) -> None:
        frame: Frame = request["gangline"]
        try:
            frame.tenant = await context.keys.tenant(frame.header(b"authorization"))
            need(frame.tenant, scope)
        except (Refused, GanglineError) as error:
            answer = problem(error, instance=request["path"], trace_id=frame.trace_id)
            await answer(request, receive, send)
            return
        await app(request, receive, send)

    return guarded
