"""Give up waiting when the client has gone: nobody would read the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from .body import ClientGone
from .call import Receive

T = TypeVar("T")

PATIENCE_S = 0.25
"""Most jobs end within it; only those who wait longer pay for watching the connection."""


async def unless_gone(receive: Receive, waiting: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine; ClientGone, and it is cancelled, if the client closes first."""
    working = asyncio.ensure_future(waiting)
    try:
        done, _ = await asyncio.wait((working,), timeout=PATIENCE_S)
        if done:
            return working.result()
        gone = asyncio.ensure_future(client_gone(receive))
        try:
            await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        working.cancel()


async def client_gone(receive: Receive) -> None:
    """Return once the client has closed the connection; what it still sends is passed over."""
    while (await receive())["type"] != "http.disconnect":
        pass
