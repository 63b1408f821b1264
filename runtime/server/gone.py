"""Give up waiting when the client has gone: nobody would read the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from gangline.ir.specs.event import STOPPED_STATUSES

from .body import ClientGone
from .call import Call, Receive

T = TypeVar("T")

PATIENCE_S = 0.25
"""Most jobs end within it; only those who wait longer pay for watching the connection."""


async def job_stopped(call: Call, job_id: str, seconds: float) -> Mapping[str, Any]:
    """Give a job's document when it stopped, or as it is after `seconds`; ClientGone if the
    client closes first."""
    service, first_s = call.context.service, min(seconds, PATIENCE_S)
    document = await service.wait(call.tenant, job_id, first_s)
    if document["status"] in STOPPED_STATUSES or seconds <= first_s:
        return document
    waiting = service.wait(call.tenant, job_id, seconds - first_s)
    return await unless_gone(call.receive, waiting)


async def unless_gone(receive: Receive, waiting: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine; ClientGone, and it is cancelled, if the client closes first."""
    working = asyncio.ensure_future(waiting)
    gone = asyncio.ensure_future(client_gone(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        working.cancel()
        gone.cancel()


async def client_gone(receive: Receive) -> None:
    """Return once the client has closed the connection; what it still sends is passed over."""
    while (await receive())["type"] != "http.disconnect":
        pass
