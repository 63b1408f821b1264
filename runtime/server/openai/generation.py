"""The outputs of one API request as they grow: the events of its engine requests, merged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Self

from gangline.ir.specs.request import EngineEvent, Finished, Submit
from gangline.runtime.execution.direct_requests import DirectRequests


class Generation:
    """An iterator of (index of the submit, event), over when all have finished.

    `aclose` cancels what still runs; call it however the request ends.
    """

    def __init__(self, direct: DirectRequests, submits: Sequence[Submit]) -> None:
        self._queue: asyncio.Queue[tuple[int, EngineEvent | Exception]] = asyncio.Queue()
        self._num_left = len(submits)
        self._tasks = [
            asyncio.create_task(self._pump(direct, index, submit))
            for index, submit in enumerate(submits)
        ]

    async def _pump(self, direct: DirectRequests, index: int, submit: Submit) -> None:
        stream = direct.stream(submit)
        try:
            async for event in stream:
                self._queue.put_nowait((index, event))
        except Exception as error:  # noqa: BLE001 (raised where the events are read)
            self._queue.put_nowait((index, error))
        finally:
            await stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[int, EngineEvent]:
        if not self._num_left:
            raise StopAsyncIteration
        index, event = await self._queue.get()
        if isinstance(event, Exception):
            raise event
        self._num_left -= isinstance(event, Finished)
        return index, event

    async def finished(self) -> list[Finished]:
        """Wait for all outputs, in the order of the submits."""
        results = {index: event async for index, event in self if isinstance(event, Finished)}
        return [results[index] for index in sorted(results)]

    async def aclose(self) -> None:
        """Cancel what still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
