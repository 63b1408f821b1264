"""The application: the route table, what is mounted beside it, and the guard around both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute
from starlette.routing import Router as Mounts

from gangline.runtime.store import KeyRow
from gangline.runtime.telemetry.access import Access

from . import a2a, metrics, page, table
from .auth import KeyRing
from .context import Context
from .guard import Guard
from .mcp import routes as mcp_routes
from .not_found import not_found
from .openai.operations import operations as openai_operations
from .openapi_route import openapi_operation
from .operation import Operation
from .router import Router
from .settings import ServerSettings

if TYPE_CHECKING:
    from gangline.runtime.service.service import Service
    from gangline.runtime.telemetry.server_telemetry import ServerTelemetry


def create_app(
    service: Service,
    settings: ServerSettings | None = None,
    observers: Sequence[Callable[[Access], None]] = (),
    read_keys: Callable[[], Iterable[KeyRow]] | None = None,
    telemetry: ServerTelemetry | None = None,
) -> Guard:
    """Make the ASGI application of a service that is open on the running loop.

    Args:
        observers: called with every request that was answered.
        read_keys: gives all keys; None takes the store's.
        telemetry: told of every request, and served as `/metrics`.
    """
    settings = settings or ServerSettings()
    store = service.store
    keys = KeyRing(
        store.keys if read_keys is None else read_keys,
        open_access=settings.open_access,
        fresh_s=settings.keys_fresh_s,
        changes=store.key_changes if read_keys is None and store.is_local else None,
    )
    told = [*observers, *([telemetry.on_request] if telemetry else [])]
    context = Context(service, settings, keys, told)
    operations = all_operations(context, metrics.operations(telemetry) if telemetry else ())
    fallback = Mounts(routes=mounts(context), default=not_found)
    return Guard(Router(operations, context, fallback), context)


def all_operations(context: Context, more: Sequence[Operation] = ()) -> list[Operation]:
    """Collect the operations of every part of the server, and the document of them all."""
    rows = [*table.OPERATIONS, *openai_operations(context), *a2a.operations(), *more]
    return [*rows, *page.operations(), openapi_operation(context, rows)]


def mounts(context: Context) -> list[BaseRoute]:
    """Collect what is served beside the operations: the page, MCP."""
    return [*mcp_routes(context)]
