"""A streamed answer: chunks as server-sent events, errors as OpenAI sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import ExitStack
from typing import Any, Self

from gangline.ir.errors import GanglineError
from gangline.runtime.server.problem import Refused
from gangline.runtime.server.reply import dump

from . import limits
from .errors import error_document

DONE = b"data: [DONE]\n\n"

Chunks = AsyncGenerator[dict[str, Any], None]


class ChunkStream:
    """The bytes of a stream, to be closed however it ends (a generator that never began would
    not be).

    Args:
        chunks: what to send; a `GanglineError` ends them.
        close: ends what the chunks come from.
        held: released at the end.
    """

    def __init__(
        self, chunks: Chunks, close: Callable[[], Awaitable[None]], held: ExitStack
    ) -> None:
        self._chunks = chunks
        self._close = close
        self._held = held
        self._first: asyncio.Future[dict[str, Any]] | None = None
        self._is_over = False

    async def begin(self) -> None:
        """Wait a moment for the first chunk, so that a refusal can have a status of its own.

        Raises:
            GanglineError: the engine refused. The caller closes.
        """
        self._first = asyncio.ensure_future(anext(self._chunks))
        done, _ = await asyncio.wait((self._first,), timeout=limits.FIRST_S)
        if done:
            self._first.result()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        first, self._first = self._first, None
        try:
            chunk = await (anext(self._chunks) if first is None else first)
        except StopAsyncIteration:
            self._is_over = True
            return DONE
        except GanglineError as error:
            self._is_over = True
            return _data(error_document(Refused(error)))
        return _data(chunk)

    async def aclose(self) -> None:
        """Cancel what the chunks come from, and release what was held."""
        self._is_over = True
        try:
            if self._first is not None:
                self._first.cancel()
                await asyncio.gather(self._first, return_exceptions=True)
            await self._chunks.aclose()
        finally:
            try:
                await self._close()
            finally:
                self._held.close()


def _data(document: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % dump(document)
