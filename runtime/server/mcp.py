"""`/mcp`: the workflows as tools over the Model Context Protocol (streamable HTTP).

The protocol is that of the official `mcp` package (extra `mcp`), imported with the first request.
Keys, Host and Origin are checked as everywhere; a session belongs to the tenant that opened it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from gangline.ir.errors import BackendUnavailable, GanglineError, NotFoundError, OverloadedError

from .auth import need
from .call import Frame, Receive
from .context import Context
from .mcp_tools import Outcome, WorkflowTool, WorkflowTools
from .problem import Refused, problem

if TYPE_CHECKING:
    from mcp import types
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PATH = "/mcp"
MAX_SESSIONS = 1000
IDLE_S = 600.0
"""A session without any request for this long is over; the client opens another one."""


def routes(context: Context) -> list[Route]:
    """Give the route of the endpoint."""
    return [Route(PATH, McpEndpoint(context), methods=["GET", "POST", "DELETE"])]


class McpEndpoint:
    """An ASGI application: authenticate, then hand over to the protocol's own."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tools = WorkflowTools(context.service, context.closing.is_set)
        self._manager: StreamableHTTPSessionManager | None = None
        self._running: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def __call__(self, scope: Any, receive: Receive, send: Any) -> None:
        frame: Frame = scope["gangline"]
        frame.route = PATH
        try:
            tenant = await self._context.keys.tenant(frame.header(b"authorization"))
            need(tenant, "submit")
            frame.tenant = tenant
            manager = await self._started()
        except (GanglineError, Refused) as error:
            answer = problem(error, instance=PATH, trace_id=frame.trace_id)
            await answer(scope, receive, send)
            return
        await manager.asgi_app({**scope, "user": _user(tenant.name)}, receive, send)

    async def _started(self) -> StreamableHTTPSessionManager:
        """Give the manager of sessions; the first call starts it, until the server stops."""
        if self._manager is None:
            self._manager = _session_manager(self._tools)
            self._running = asyncio.create_task(self._run(self._manager))
        await self._ready.wait()
        if self._context.closing.is_set():
            raise OverloadedError("The server is stopping", next_step="Try again in a while.")
        return self._manager

    async def _run(self, manager: StreamableHTTPSessionManager) -> None:
        async with manager.run():
            self._ready.set()
            await self._context.closing.wait()


def _session_manager(tools: WorkflowTools) -> StreamableHTTPSessionManager:
    try:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    except ImportError as error:
        raise BackendUnavailable(
            f"The server has no MCP: the package {error.name or 'mcp'} is not installed",
            where=PATH,
            next_step="Install it with: pip install 'gangline[mcp]'.",
        ) from None
    return StreamableHTTPSessionManager(
        _server(tools), session_idle_timeout=IDLE_S, max_sessions=MAX_SESSIONS
    )


def _server(tools: WorkflowTools) -> Server[Any]:
    from mcp import types
    from mcp.server.lowlevel import Server
    from mcp.shared.exceptions import MCPError

    from gangline import __version__

    async def list_tools(
        context: ServerRequestContext[Any, Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(tool) for tool in tools.list()])

    async def call_tool(
        context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        frame: Frame = context.request.scope["gangline"]  # type: ignore[union-attr]

        async def progress(value: float, message: str) -> None:
            await context.session.report_progress(value, None, message)

        try:
            outcome = await tools.call(
                frame.tenant, params.name, params.arguments or {}, progress, frame.cause
            )
        except NotFoundError as error:
            raise MCPError(types.INVALID_PARAMS, str(error)) from None
        return _result(outcome)

    return Server(
        "gangline",
        version=__version__,
        instructions="Each tool is a workflow; a call runs it as a durable job and waits for it.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _tool(tool: WorkflowTool) -> types.Tool:
    from mcp import types

    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=dict(tool.input),
        output_schema=None if tool.output is None else dict(tool.output),
    )


def _result(outcome: Outcome) -> types.CallToolResult:
    from mcp import types

    meta: Mapping[str, Any] = outcome.meta
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=outcome.text)],
        structured_content=outcome.structured,
        is_error=outcome.is_error,
        _meta=dict(meta),
    )


def _user(tenant: str) -> Any:
    """Give the principal that a session is bound to."""
    from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
    from mcp.server.auth.provider import AccessToken

    return AuthenticatedUser(AccessToken(token="", client_id=tenant, scopes=[]))
