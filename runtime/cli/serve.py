"""`gangline serve`: durable jobs over HTTP, and the page."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from gangline.ir.errors import UsageError

from .output import console

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from gangline.ir.specs.fleet import Fleet
    from gangline.runtime.server.serve import Listening
    from gangline.runtime.service.service import Service

logger = logging.getLogger(__name__)

Workflows = Annotated[
    list[str] | None,
    typer.Option("--workflow", help="A workflow to offer; may be repeated. text_to_sql if none."),
]
Databases = Annotated[
    list[str] | None,
    typer.Option("--database", help="A database callers may name, name=location."),
]


class LogFormat(StrEnum):
    """How the server writes its logs."""

    text = "text"
    json = "json"


class LogLevel(StrEnum):
    """From which level on the server logs."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    db: Annotated[
        str | None, typer.Option("--db", help="Job store: a file or postgresql:// URL.")
    ] = None,
    workflow: Workflows = None,
    database: Databases = None,
    fleet: Annotated[str | None, typer.Option("--fleet", help="A fleet file (TOML).")] = None,
    max_running: Annotated[int, typer.Option(min=1, help="Jobs that run at once.")] = 64,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="A host name to answer to.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option("--allow-origin", help="A web origin whose pages may change state."),
    ] = None,
    allow_private_webhooks: Annotated[
        bool, typer.Option("--allow-private-webhooks", help="Let webhooks reach this network.")
    ] = False,
    log_format: Annotated[
        LogFormat, typer.Option("--log-format", help="Logs on stderr: text or json.")
    ] = LogFormat.text,
    log_level: Annotated[
        LogLevel, typer.Option("--log-level", help="debug logs every job and request.")
    ] = LogLevel.info,
    tenant_metrics: Annotated[
        bool, typer.Option("--tenant-metrics", help="Label metrics by tenant, too.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen to the network without any key.")
    ] = False,
) -> int:
    """Serve workflows as durable jobs over HTTP, until stopped."""
    from gangline.runtime.server.precompile import precompile
    from gangline.workflows.registry import load

    offered = workflow or ["text_to_sql"]
    finish = precompile([load(name) for name in offered])

    from gangline.runtime.server.serve import Listening, bind, is_loopback, run
    from gangline.runtime.server.settings import ServerSettings
    from gangline.runtime.service.service import open_service
    from gangline.runtime.service.settings import Settings
    from gangline.runtime.telemetry.logs import configure_logging
    from gangline.runtime.telemetry.server_telemetry import open_telemetry

    at = Listening(host, port)
    local = is_loopback(host)
    register_databases(database or ())
    if not local and not insecure:
        refuse_without_keys(db, at)
    bound = bind(at)
    settings = ServerSettings(
        allowed_hosts=tuple(allow_host or ()),
        allowed_origins=tuple(allow_origin or ()),
        open_access=local or insecure,
    )
    limits = Settings(max_running=max_running, allow_private_webhooks=allow_private_webhooks)
    said = f"[{host}]" if ":" in host else host
    url = f"http://{said}:{bound.getsockname()[1]}"

    def tell() -> None:
        if log_format is LogFormat.json:  # every line of stderr is then one object
            logger.info("gangline serves on %s", url)
        else:
            console(stderr=True).print(f"gangline serves on {url}", markup=False)

    def opening() -> AbstractAsyncContextManager[Service]:
        finish()
        return open_service(offered, store=db, fleet=fleet_of(fleet), settings=limits)

    stop_logging = configure_logging(log_format.value, log_level.value.upper())
    try:
        run(
            opening,
            bound,
            settings,
            ready=tell,
            telemetry=lambda service: open_telemetry(service, tenants=tenant_metrics),
        )
    finally:
        stop_logging()
    return 0


def fleet_of(file: str | None) -> Fleet | None:
    """Read a fleet file; None stands for this machine."""
    if file is None:
        return None
    from gangline.runtime.api import open_fleet

    return open_fleet(file)


def register_databases(pairs: list[str] | tuple[str, ...]) -> None:
    """Register `name=location` pairs, so that callers may name them and nothing else."""
    from gangline.workflows.databases import DATABASES

    for pair in pairs:
        name, mark, location = pair.partition("=")
        if not mark or not name or not location:
            raise UsageError(
                f"{pair!r} is not a database",
                where="--database",
                next_step="Write --database name=path/to/file.sqlite.",
            )
        DATABASES.add(name, location)


def refuse_without_keys(db: str | None, at: Listening) -> None:
    """Raise UsageError where the store has no key: anybody on the network could run jobs."""
    from gangline.runtime.store import open_store

    with open_store(db) as store:
        keys = store.keys()
    if any(key.revoked_s is None for key in keys):
        return
    raise UsageError(
        f"There is no key, and {at.host} can be reached from other machines",
        where="--host",
        next_step="Make one with `gangline keys create`, or pass --insecure to let everybody in.",
    )
