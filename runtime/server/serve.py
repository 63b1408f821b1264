"""Run the server: bind, open the service, answer, and stop in good order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn

from gangline.ir.errors import UsageError
from gangline.runtime.execution.loops import new_loop

from .app import create_app
from .collector import quiet_collector
from .protocol import protocol_class
from .settings import ServerSettings

if TYPE_CHECKING:
    from gangline.runtime.service.service import Service
    from gangline.runtime.telemetry.server_telemetry import ServerTelemetry

    Telemetry = Callable[[Service], AbstractAsyncContextManager[ServerTelemetry]]

KEEP_ALIVE_S = 65
"""Longer than the 60 s after which common proxies close idle connections, so that they do it."""
GRACE_S = 5
"""How long answers in flight may take once the server stops."""


@dataclass(frozen=True, slots=True)
class Listening:
    """Where the server listens; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: int = 8080


def is_loopback(host: str) -> bool:
    """Say whether an address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(at: Listening) -> socket.socket:
    """Bind a socket; UsageError where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((at.host, at.port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise _cannot_listen(at, error) from None
    return bound


def _cannot_listen(at: Listening, error: OSError | OverflowError) -> UsageError:
    number = getattr(error, "errno", None)
    said = getattr(error, "strerror", None) or str(error)
    where, next_step = "--host", "Give an address of this machine; 127.0.0.1 always is one."
    if number == errno.EADDRINUSE:
        where = "--port"
        next_step = f"Give another port (--port {at.port + 1}), or end the process that has this."
    elif number == errno.EACCES:
        where, next_step = "--port", "Give a port above 1023; the others need more rights."
    return UsageError(
        f"Cannot listen on {at.host} port {at.port}: {said}", where=where, next_step=next_step
    )


def run(
    service: Callable[[], AbstractAsyncContextManager[Service]],
    bound: socket.socket,
    settings: ServerSettings,
    *,
    ready: Callable[[], None] = lambda: None,
    stopping: Callable[[int], None] = lambda running: None,
    telemetry: Telemetry | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once.

    Args:
        service: opens the service, on the server's loop.
        ready: called once requests are answered.
        stopping: called at the first signal, with how many jobs run.
        telemetry: opens what listens to a service, on the server's loop.
    """
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(service, bound, settings, ready, stopping, telemetry))


async def _serve(
    opening: Callable[[], AbstractAsyncContextManager[Service]],
    bound: socket.socket,
    settings: ServerSettings,
    ready: Callable[[], None],
    stopping: Callable[[int], None],
    telemetry: Telemetry | None,
) -> None:
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(opening())
        told = await stack.enter_async_context(telemetry(service)) if telemetry else None
        app = create_app(service, settings, telemetry=told)
        server = make_server(app, settings, ready)
        stack.enter_context(quiet_collector())
        stops: set[asyncio.Task[None]] = set()

        async def stop() -> None:
            # Readiness fails and submits are refused first; answers in flight then end.
            await service.drain()
            app.close()
            server.should_exit = True

        def on_signal() -> None:
            if stops:
                os._exit(1)  # all that was acknowledged is stored; a next server goes on with it
            stopping(len(service.session.executor.running))
            stops.add(asyncio.get_running_loop().create_task(stop()))

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        await server.serve(sockets=[bound])


def make_server(
    app: Any, settings: ServerSettings, ready: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """Make the HTTP server of an application; set its `should_exit` to end it."""
    return _Server(_config(app, settings), ready)


def _config(app: Any, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol_class(settings.max_head_bytes, settings.arrival_s),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )


class _Server(uvicorn.Server):
    """uvicorn's server with our signals, telling when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
