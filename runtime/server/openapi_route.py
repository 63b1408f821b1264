"""The route of the OpenAPI document, which is made when it is first asked for."""

from __future__ import annotations

from collections.abc import Sequence

from gangline import __version__

from .call import Call
from .context import Context
from .example_jobs import example_jobs
from .openapi import openapi_document
from .operation import Answer, Asgi, Operation
from .problem import Refused
from .reply import Reply, dump


def openapi_operation(context: Context, rows: Sequence[Operation]) -> Operation:
    """Describe `rows` to everybody; examples name workflows, so only callers with a key see them."""
    made: dict[tuple[bool, bool], bytes] = {}

    async def openapi(call: Call) -> Asgi:
        known = await _is_known(call)
        asked = known, context.keys.asks_for_keys
        if asked not in made:
            jobs = example_jobs(context.service.workflows()) if known else {}
            made[asked] = dump(openapi_document(rows, __version__, jobs, locked=asked[1]))
        return Reply(200, made[asked], b"application/json")

    return Operation(
        "GET",
        "/openapi.json",
        "getOpenapi",
        "Describe the API",
        openapi,
        (Answer(200, "This document.", {"type": "object"}),),
        scope=None,
        tag="health",
        hidden=True,
    )


async def _is_known(call: Call) -> bool:
    try:
        await call.context.keys.tenant(call.header(b"authorization"))
    except Refused:
        return False
    return True
