"""Both clients behind one face, so that every test of the rules runs on both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gangline.runtime.client.asynchronous import AsyncClient
from gangline.runtime.client.retry import RetryPolicy
from gangline.runtime.client.sync import Client

Handler = Callable[[httpx.Request], httpx.Response]
QUICK = RetryPolicy(base_s=1e-4, cap_s=1e-3, patience_s=0.5)


class Blocking:
    """An object of the async client, called as if it were sync."""

    def __init__(self, inner: Any, runner: asyncio.Runner) -> None:
        self._inner = inner
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            made = found(*args, **kwargs)
            if inspect.isasyncgen(made):
                return self._iterate(made)
            return self._face(self._runner.run(made))

        return call

    def _iterate(self, values: Any) -> Iterator[Any]:
        end = object()
        try:
            while (value := self._runner.run(anext(values, end))) is not end:
                yield value
        finally:
            self._runner.run(values.aclose())

    def _face(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._face(one) for one in value]
        is_handle = type(value).__name__ == "AsyncJobHandle"
        return Blocking(value, self._runner) if is_handle else value


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Make a client of either kind whose requests a handler answers."""
    if request.param == "sync":
        made: list[Client] = []

        def sync(handler: Handler, **options: Any) -> Client:
            options = {"retries": QUICK, **options}
            made.append(Client("http://server", transport=httpx.MockTransport(handler), **options))
            return made[-1]

        yield sync
        for client in made:
            client.close()
        return
    with asyncio.Runner() as runner:
        opened: list[AsyncClient] = []

        def face(handler: Handler, **options: Any) -> Any:
            options = {"retries": QUICK, **options}
            transport = httpx.MockTransport(handler)
            opened.append(AsyncClient("http://server", transport=transport, **options))
            return Blocking(opened[-1], runner)

        yield face
        for one in opened:
            runner.run(one.close())
