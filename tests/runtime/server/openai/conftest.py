"""A real server on a loopback port over a fake backend that remembers, and clients for it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from gangline.backends.base import Backend
from gangline.backends.engine.backend import EngineBackend
from gangline.backends.engine.config import SchedulerConfig
from gangline.backends.fake import FakeEncoder, FakeRunner, Replies
from gangline.ir.specs.request import EngineMessage, Submit
from gangline.runtime.dispatch.outcome import DirectOutcome
from gangline.runtime.server.app import create_app
from gangline.runtime.service.keys import hash_key
from gangline.runtime.service.service import open_service
from gangline.runtime.store import KeyRow

MODEL = "smollm2-135m"


class Recording(EngineBackend):
    """A fake backend that keeps what it was sent; `engine` says what runs inside."""

    def __init__(self, replies: Replies | None = None, **runner: Any) -> None:
        self.messages: list[EngineMessage] = []
        self.runners: list[FakeRunner] = []

        def load(model: str) -> FakeRunner:
            self.runners.append(FakeRunner(replies, **runner))
            return self.runners[-1]

        super().__init__(load, lambda model: FakeEncoder(), SchedulerConfig())

    def send(self, message: EngineMessage) -> None:
        self.messages.append(message)
        super().send(message)

    @property
    def submits(self) -> list[Submit]:
        return [message for message in self.messages if isinstance(message, Submit)]


class Server:
    """Runs on a thread of its own until `close`."""

    def __init__(
        self, folder: Path, backend: Backend, keys: list[KeyRow], workflows: Sequence[Any]
    ) -> None:
        self.backend = backend
        self._workflows = workflows
        self.outcomes: list[DirectOutcome] = []
        self.clients = ExitStack()
        self._keys = keys
        self._folder = folder
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._listens = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="test-server")
        self._thread.start()
        assert self._listens.wait(20)
        if self._error is not None:
            raise self._error

    def client(self, key: str = "none", **options: Any) -> openai.OpenAI:
        options = {"max_retries": 0, "timeout": 20, **options}
        made = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, **options)
        return self.clients.enter_context(made)

    def http(self, key: str | None = None) -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return self.clients.enter_context(httpx.Client(base_url=self.url, headers=headers))

    @property
    def num_in_flight(self) -> int:
        return self.direct.num_in_flight

    def close(self) -> None:
        self.clients.close()
        self._loop.call_soon_threadsafe(self._app.close)
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 (told to the test)
            self._error = error
        finally:
            self._listens.set()

    async def _serve(self) -> None:
        backends = {"cpu/0": self.backend}
        store = self._folder / "jobs.db"
        self._loop = asyncio.get_running_loop()
        async with open_service(self._workflows, store=store, backends=backends) as service:
            self.service = service
            self.direct = service.session.executor.direct
            self.direct.observers.append(self.outcomes.append)
            self._app = create_app(service, read_keys=lambda: self._keys)
            config = uvicorn.Config(self._app, log_config=None, lifespan="off")
            self._server = uvicorn.Server(config)
            serving = asyncio.create_task(self._server.serve([self._socket]))
            while not self._server.started and not serving.done():
                await asyncio.sleep(0.005)
            self._listens.set()
            await serving


MakeServer = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[MakeServer]:
    """Start a server: `serve(replies, keys=..., **runner options)` or `serve(backend=...)`."""
    with ExitStack() as closing:

        def start(
            replies: Replies | None = None,
            *,
            backend: Backend | None = None,
            keys: list[KeyRow] | None = None,
            workflows: Sequence[Any] = (),
            **runner: Any,
        ) -> Server:
            backend = backend or Recording(replies, **runner)
            server = Server(tmp_path, backend, keys or [], workflows)
            closing.callback(server.close)
            return server

        yield start


def key_of(secret: str, tenant: str, **options: Any) -> KeyRow:
    return KeyRow(secret, hash_key(secret), tenant, **{"scopes": ("submit", "read"), **options})


@pytest.fixture
def make_key() -> Callable[..., KeyRow]:
    """Make a key's row: `make_key(secret, tenant, scopes=..., quota=...)`."""
    return key_of


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait until something holds, at most thirty seconds."""

    def wait(condition: Callable[[], bool]) -> None:
        waiting = threading.Event()
        for _ in range(6000):
            if condition():
                return
            waiting.wait(0.005)
        raise AssertionError("it never came to hold")

    return wait
