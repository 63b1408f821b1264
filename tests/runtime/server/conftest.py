"""A real server on loopback, in a thread of the tests' process."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.runtime.server.app import create_app
from gangline.runtime.server.serve import Listening, bind, make_server
from gangline.runtime.server.settings import ServerSettings
from gangline.runtime.service.keys import hash_key
from gangline.runtime.service.service import Service, open_service
from gangline.runtime.store import KeyRow

WAIT_S = 30.0


@gl.tool
def add_one(number: int) -> int:
    return number + 1


@gl.workflow
def five_steps(number: int) -> int:
    """Add one, five times."""
    for _ in range(5):
        number = add_one(number)
    return number


@gl.tool
def fails(number: int) -> int:
    raise ValueError(f"no {number}")


@gl.workflow
def failing(number: int) -> int:
    """Fail."""
    return fails(number)


class Gate:
    """What a waiting tool waits for; `open` lets all go on."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()

    def open(self) -> None:
        self.opened.set()

    def close(self) -> None:
        self.opened.clear()
        self.entered.clear()


gate = Gate()


@gl.tool
def pass_gate(number: int) -> int:
    gate.entered.set()
    gate.opened.wait(WAIT_S)
    return number


@gl.workflow
def gated(number: int) -> int:
    """Wait at the gate."""
    return pass_gate(number)


WORKFLOWS = (five_steps, failing, gated)


@dataclass(frozen=True)
class FakeKey:
    """A key, and the row that a store keeps of it."""

    key: str
    tenant: str
    scopes: tuple[str, ...] = ("submit", "read")
    quota: Mapping[str, Any] = field(default_factory=dict)
    revoked_s: float | None = None

    @property
    def row(self) -> KeyRow:
        row = KeyRow(self.tenant, hash_key(self.key), self.tenant, self.scopes, self.quota)
        return replace(row, revoked_s=self.revoked_s)


@dataclass
class Served:
    """A server that runs: where, and the service behind it (touch it on its loop only)."""

    port: int
    loop: asyncio.AbstractEventLoop
    service: Service
    context: Any
    server: Any

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = "", **options: Any) -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=WAIT_S, **options)

    def connections(self) -> int:
        """Count the connections that are open."""
        return int(self.do(lambda: len(self.server.server_state.connections)))

    def do(self, function: Callable[[], Any]) -> Any:
        """Call a function on the server's loop; give what it gives."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(WAIT_S)


@contextmanager
def serving(
    folder: Path,
    settings: ServerSettings | None = None,
    keys: Sequence[FakeKey] = (),
    observers: Sequence[Callable[[Any], None]] = (),
    send_buffer: int = 0,
) -> Iterator[Served]:
    """Serve the workflows of this file until the block ends.

    `send_buffer` is what the system keeps of unread answers, in bytes; 0 is its own choice.
    """
    settings = settings or ServerSettings()
    bound = bind(Listening(port=0))
    if send_buffer:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    started = threading.Event()
    made: list[Served] = []
    ends: list[Callable[[], None]] = []
    faults: list[BaseException] = []

    async def serve() -> None:
        backends = {"cpu/0": FakeBackend({"": "hello"})}
        async with open_service(
            WORKFLOWS, store=folder / "jobs.sqlite", backends=backends
        ) as service:
            read = (lambda: [key.row for key in keys]) if keys else None
            app = create_app(service, settings, observers, read)
            server = make_server(app, settings, started.set)
            loop = asyncio.get_running_loop()

            def end() -> None:
                app.close()
                server.should_exit = True

            ends.append(end)
            made.append(Served(bound.getsockname()[1], loop, service, app._context, server))
            await server.serve(sockets=[bound])

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as fault:  # noqa: BLE001 (told by the test's thread)
            faults.append(fault)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="served")
    thread.start()
    assert started.wait(WAIT_S)
    if faults:
        raise faults[0]
    try:
        yield made[0]
    finally:
        gate.open()
        made[0].loop.call_soon_threadsafe(ends[0])
        thread.join(WAIT_S)
        assert not thread.is_alive()
        gate.close()
        if faults:
            raise faults[0]


ANNA = FakeKey("gl-anna-00000000000000000000", "anna")
BERT = FakeKey("gl-bert-00000000000000000000", "bert")
READER = FakeKey("gl-reader-000000000000000000", "anna", ("read",))
ROOT = FakeKey("gl-root-00000000000000000000", "root", ("admin",))
KEYS = (ANNA, BERT, READER, ROOT)


@pytest.fixture
def key() -> type[FakeKey]:
    return FakeKey


@pytest.fixture
def keys() -> dict[str, FakeKey]:
    """The keys of `locked`, by name."""
    return {"anna": ANNA, "bert": BERT, "reader": READER, "root": ROOT}


@pytest.fixture
def entrance() -> Gate:
    """The gate that the workflow `gated` waits at."""
    return gate


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., Any]:
    """Start a server: a context manager that takes settings, keys and observers."""
    return lambda *args, **options: serving(tmp_path, *args, **options)


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server without keys for all tests of a file."""
    with serving(tmp_path_factory.mktemp("open")) as served:
        yield served


@pytest.fixture
def open_server(module_server: Served) -> Iterator[Served]:
    """A server without keys, on which nothing runs; other tests' jobs are in its store."""
    yield module_server
    gate.open()
    _settle(module_server)
    gate.close()


def _settle(served: Served) -> None:
    """Wait until nothing runs or waits."""
    runner = served.service.runner
    until = time.monotonic() + WAIT_S
    while served.do(lambda: runner.queue.num_running + len(runner.queue)):
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.fixture
def fresh_server(serve: Callable[..., Any]) -> Iterator[Served]:
    """A server without keys that no other test has used."""
    with serve() as served:
        yield served


@pytest.fixture
def fresh_client(fresh_server: Served) -> Iterator[httpx.Client]:
    """A client of a server without keys that no other test has used."""
    with fresh_server.client() as opened:
        yield opened


@pytest.fixture
def client(open_server: Served) -> Iterator[httpx.Client]:
    """A client of a server without keys."""
    with open_server.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def module_locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with keys for all tests of a file."""
    with serving(tmp_path_factory.mktemp("locked"), keys=KEYS) as served:
        yield served


@pytest.fixture
def locked(module_locked: Served) -> Iterator[Served]:
    """A server with keys, on which nothing runs; other tests' jobs are in its store."""
    yield module_locked
    gate.open()
    _settle(module_locked)
    gate.close()
