"""A server inside the test, of workflows with scripted models: no weights, and no socket.

with testing.client(text_to_sql, replies={"SQL": "SELECT 1"}) as client:
    assert client.submit(text_to_sql, question="?", db="shop").result().ok
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .app_transport import AppTransport, BlockingTransport, Run
from .asynchronous import AsyncClient
from .sync import Client

if TYPE_CHECKING:
    from gangline.workflows.workflow import Workflow

ADDRESS = "http://localhost"
Replies = Mapping[str, str] | Callable[[str], str]


@asynccontextmanager
async def async_client(
    *workflows: Workflow[..., Any] | str, replies: Replies | None = None, **options: Any
) -> AsyncIterator[AsyncClient]:
    """Open a service for some workflows on this loop, and give a client of it.

    Args:
        replies: what models say, by a part of the prompt; "" matches every prompt.
        options: of `open_service` (`store`, `settings`, `backends`, ...). Jobs go to a file that
            is removed at the end, unless a store is named.
    """
    async with (
        _app(workflows, replies, options) as app,
        AsyncClient(ADDRESS, transport=AppTransport(app)) as client,
    ):
        yield client


@contextmanager
def client(
    *workflows: Workflow[..., Any] | str, replies: Replies | None = None, **options: Any
) -> Iterator[Client]:
    """The same for code without a loop: the service runs on a thread of its own."""
    with _loop() as run:
        opened = _app(workflows, replies, options)
        app = run(opened.__aenter__())
        try:
            with Client(ADDRESS, transport=BlockingTransport(app, run)) as made:
                yield made
        finally:
            run(opened.__aexit__(None, None, None))


@contextmanager
def server(
    *workflows: Workflow[..., Any] | str, replies: Replies | None = None, **options: Any
) -> Iterator[str]:
    """Serve some workflows on a free port of this machine; gives the address."""
    from gangline.runtime.server.serve import Listening, bind, make_server
    from gangline.runtime.server.settings import ServerSettings

    bound, ready = bind(Listening(port=0)), threading.Event()
    with _loop() as run:
        opened = _app(workflows, replies, options)
        app = run(opened.__aenter__())
        serving = make_server(app, ServerSettings(), ready.set)
        ended = run(_begun(serving.serve(sockets=[bound])))
        try:
            while not ready.wait(0.05) and not ended.done():
                pass
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            run(_stop(app, serving, ended))
            run(opened.__aexit__(None, None, None))


async def _begun(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(coroutine)


async def _stop(app: Any, serving: Any, ended: asyncio.Task[None]) -> None:
    app.close()
    serving.should_exit = True
    await ended


@asynccontextmanager
async def _app(
    workflows: tuple[Workflow[..., Any] | str, ...],
    replies: Replies | None,
    options: dict[str, Any],
) -> AsyncIterator[Any]:
    from gangline.backends.fake import FakeBackend
    from gangline.runtime.server.app import create_app
    from gangline.runtime.service.service import open_service

    with tempfile.TemporaryDirectory(prefix="gangline-") as folder:
        options = {
            "store": Path(folder) / "jobs.sqlite",
            "backends": {"cpu/0": FakeBackend(replies or {})},
            **options,
        }
        async with open_service(workflows, **options) as service:
            yield create_app(service)


@contextmanager
def _loop() -> Iterator[Run]:
    """Run an event loop on a thread; gives what runs a coroutine on it and waits."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="gangline-testing", daemon=True)
    thread.start()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        if loop.is_closed():  # an iterator that was left open outlived the server
            coroutine.close()
            return None
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
        # The collector may close such an iterator on any thread; the loop's own must not wait.
        return None if threading.get_ident() == thread.ident else future.result()

    try:
        yield run
    finally:
        run(loop.shutdown_asyncgens())
        run(loop.shutdown_default_executor())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
