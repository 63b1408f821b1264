"""`gangline serve`: durable jobs over HTTP, and the page."""

from __future__ import annotations

import logging
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gangline.ir.errors import UsageError

from .jobs_keep import age_s
from .output import console

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from gangline.ir.specs.fleet import Fleet
    from gangline.runtime.server.serve import Listening
    from gangline.runtime.service.service import Service
    from gangline.workflows.workflow import Workflow

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
    retain: Annotated[
        str | None,
        typer.Option(
            "--retain", help="Forget jobs that ended so long ago: 12h, 30d. Default: never."
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", help="What jobs may do at most: a policy file (TOML)."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen to the network without any key.")
    ] = False,
) -> int:
    """Serve workflows as durable jobs over HTTP, until stopped."""
    from gangline.ir.specs.policy import Policy
    from gangline.runtime.job_policy import load_policy
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
    limits = Settings(
        max_running=max_running,
        allow_private_webhooks=allow_private_webhooks,
        retain_s=None if retain is None else age_s(retain),
        policy=load_policy(policy) if policy else Policy(),
    )
    said = f"[{host}]" if ":" in host else host
    url = f"http://{said}:{bound.getsockname()[1]}"

    def tell() -> None:
        if log_format is LogFormat.json:  # every line of stderr is then one object
            logger.info("gangline serves on %s", url)
        else:
            console(stderr=True).print(f"gangline serves on {url}", markup=False)

    def stopping(running: int) -> None:
        left = f"{running} running job{'' if running == 1 else 's'}"
        text = f"gangline stops; {left} will go on with the next server of this store"
        text = text if running else "gangline stops"
        if log_format is LogFormat.json:
            logger.info(text)
        else:
            console(stderr=True).print(text, markup=False, soft_wrap=True)

    def opening() -> AbstractAsyncContextManager[Service]:
        finish()
        if fleet is None:
            warn_of_models(missing_models([load(name) for name in offered]))
        return open_service(offered, store=db, fleet=fleet_of(fleet), settings=limits)

    stop_logging = configure_logging(log_format.value, log_level.value.upper())
    try:
        run(
            opening,
            bound,
            settings,
            ready=tell,
            stopping=stopping,
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
    """Register `name=location` pairs, so that callers may name them and nothing else.

    UsageError for a pair that is none, or a file that is not there.
    """
    from gangline.workflows.databases import DATABASES

    for pair in pairs:
        name, mark, location = pair.partition("=")
        if not mark or not name or not location:
            raise UsageError(
                f"{pair!r} is not a database",
                where="--database",
                next_step="Write --database name=path/to/file.sqlite.",
            )
        if "://" not in location and not Path(location).expanduser().is_file():
            raise UsageError(
                f"There is no file {location}",
                where=f"--database {name}",
                next_step="Write --database name=path/to/file.sqlite or name=postgresql://...",
            )
        DATABASES.add(name, location)


def missing_models(workflows: list[Workflow[..., Any]]) -> list[str]:
    """Give the models that the workflows ask for and this machine does not have."""
    from gangline.runtime.machine import models

    rows = models.catalogue()
    stages = [stage for workflow in workflows for stage in workflow.program().stages]
    asked = {str(stage.attributes["model"]) for stage in stages if "model" in stage.attributes}
    known = sorted(asked & set(rows))
    return [name for name in known if not models.is_present(rows[name])]


def warn_of_models(missing: list[str]) -> None:
    """Tell at the start what jobs would fail by later."""
    for name in missing:
        logger.warning("the model %s is not on this machine: gangline models pull %s", name, name)


def refuse_without_keys(db: str | None, at: Listening) -> None:
    """Raise UsageError where the store has no key: anybody on the network could run jobs."""
    from gangline.runtime.redact import redact
    from gangline.runtime.store import open_store

    with open_store(db) as store:
        keys = store.keys()
    if any(key.revoked_s is None for key in keys):
        return
    store_option = f" --db {redact(db)}" if db else ""
    raise UsageError(
        f"There is no key, and {at.host} can be reached from other machines",
        where="--host",
        next_step=f"Make one with `gangline keys create --tenant NAME{store_option}`, or pass "
        "--insecure to let everybody in.",
    )
