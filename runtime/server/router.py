"""From a request to its operation: path, method, key, parameters, body, errors."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from pydantic import ValidationError

from gangline.ir.errors import GanglineError, NotFoundError, RequestError

from .accept import acceptable
from .auth import need
from .body import ClientGone, invalid, parse_json, read_body, validated
from .call import Call, Frame, Receive, Send
from .context import Context
from .operation import Asgi, Operation
from .problem import Refused, problem
from .reply import Reply

logger = logging.getLogger(__name__)

Methods = dict[str, Operation]
_PARAMETER = re.compile(r"\{(\w+)\}")
MAX_QUERY = 64


class Router:
    """Answer the operations of a route table; hand what it does not know to `fallback`.

    Raises ValueError for two rows of one method and path.
    """

    def __init__(self, table: Sequence[Operation], context: Context, fallback: Any = None) -> None:
        self._context = context
        self._max_bytes = context.settings.max_body_bytes
        self._fallback = fallback
        self._exact: dict[str, Methods] = {}
        self._patterns: list[tuple[re.Pattern[str], Methods]] = []
        by_path: dict[str, Methods] = {}
        for row in table:
            methods = by_path.setdefault(row.path, {})
            if row.method in methods:
                raise ValueError(f"two operations for {row.method} {row.path}")
            methods[row.method] = row
        for path, methods in by_path.items():
            if "{" in path:
                self._patterns.append((_pattern(path, methods), methods))
            else:
                self._exact[path] = methods

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._fallback(scope, receive, send)
            return
        methods, path = self._find(scope["path"])
        if methods is None and self._fallback is not None:
            await self._fallback(scope, receive, send)
            return
        frame: Frame = scope["gangline"]
        call = Call(scope, receive, self._context, frame, frame.tenant, path)
        operation: Operation | None = None
        try:
            operation = _operation(methods, scope)
            if isinstance(operation, Reply):
                answer: Asgi = operation
            else:
                answer = await self._answer(operation, call)
        except (ClientGone, Refused, GanglineError) as error:
            if isinstance(error, ClientGone):
                raise
            answer = _told(error, operation, call)
        except Exception:
            logger.exception("%s %s failed", scope["method"], frame.route)
            answer = _told(_internal(frame), operation, call)
        await answer(scope, receive, send)

    def _find(self, path: str) -> tuple[Methods | None, Mapping[str, str]]:
        found = self._exact.get(path)
        if found is not None:
            return found, {}
        for pattern, methods in self._patterns:
            match = pattern.fullmatch(path)
            if match:
                return methods, match.groupdict()
        return None, {}

    async def _answer(self, operation: Operation, call: Call) -> Asgi:
        frame = call.frame
        frame.route = operation.path
        if operation.scope is not None:
            tenant = await self._context.keys.tenant(call.header(b"authorization"))
            call.tenant = frame.tenant = tenant
            need(tenant, operation.scope)
        acceptable(call.header(b"accept"), operation)
        call.query = _query(operation, call.scope["query_string"])
        if operation.method != "GET":
            body = await read_body(call.receive, self._max_bytes)
            call.body = _body(operation, body)
        return await operation.handler(call)


def _pattern(path: str, methods: Methods) -> re.Pattern[str]:
    given = next((row.path_patterns for row in methods.values() if row.path_patterns), {})
    parts = _PARAMETER.split(path)
    # Invariant: even parts are literal text, odd ones the names of parameters.
    text = "".join(
        f"(?P<{part}>{given.get(part, '[^/:]+')})" if index % 2 else re.escape(part)
        for index, part in enumerate(parts)
    )
    return re.compile(text)


def _operation(methods: Methods | None, scope: Mapping[str, Any]) -> Any:
    if methods is None:
        raise NotFoundError(
            "There is no such route", where=scope["path"], next_step="See /openapi.json."
        )
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    found = methods.get(method)
    if found is not None:
        return found
    allowed = sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())})
    allow = ((b"allow", ", ".join(allowed).encode()),)
    if method == "OPTIONS":
        return Reply(204, headers=allow)
    error = RequestError(
        f"{scope['method'][:20]} is not one of this path's methods",
        where=scope["path"],
        next_step=f"Use {' or '.join(methods)}.",
    )
    raise Refused(error, 405, allow)


def _query(operation: Operation, query: bytes) -> Any:
    if not query and operation.query is None:
        return None
    fields = operation.query.model_fields if operation.query else {}
    given: dict[str, str] = {}
    try:
        text = query.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY)
    except ValueError as error:
        raise _query_error("query", f"it cannot be read: {error}") from None
    for name, value in pairs:
        if name not in fields:
            raise _query_error(name, f"there is no such parameter; there are: {', '.join(fields)}")
        if name in given:
            raise _query_error(name, "it is given twice")
        given[name] = value
    if operation.query is None:
        return None
    try:
        return operation.query.model_validate(given)
    except ValidationError as error:
        raise invalid(error, "query") from None


def _query_error(name: str, detail: str) -> RequestError:
    return RequestError(
        f"The query parameter {name[:100]!r}: {detail}", where=f"query.{name[:100]}"
    )


def _body(operation: Operation, body: bytes) -> Any:
    if operation.body is None:
        if body.strip() not in (b"", b"{}"):
            raise RequestError("This operation takes no body", where="body")
        return None
    if not body and operation.body_optional:
        return operation.body()
    return validated(operation.body, parse_json(body))


def _told(error: Refused | GanglineError, operation: Operation | None, call: Call) -> Asgi:
    show = operation.show_error if isinstance(operation, Operation) else None
    if show is None:
        return problem(error, instance=call.scope["path"], trace_id=call.frame.trace_id)
    return show(error if isinstance(error, Refused) else Refused(error), call)


def _internal(frame: Frame) -> GanglineError:
    return GanglineError(
        "Something gangline did not expect",
        next_step=f"Please report it; the server's log has it under request {frame.request_id}.",
    )
