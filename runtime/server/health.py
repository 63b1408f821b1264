"""Routes for whoever looks after the server: healthz, readyz."""

from __future__ import annotations

from . import models
from .call import Call
from .operation import Answer, Asgi, Operation
from .reply import Reply


async def healthz(call: Call) -> Asgi:
    """Say that the process answers."""
    from gangline import __version__

    return Reply.json({"status": "ok", "version": __version__})


async def readyz(call: Call) -> Asgi:
    """Say whether jobs are taken."""
    state = call.context.service.ready()
    ready = bool(state["ready"])
    headers = () if ready else ((b"retry-after", b"1"),)
    return Reply.json(state, 200 if ready else 503, headers)


OPERATIONS = (
    Operation(
        "GET",
        "/healthz",
        "getHealth",
        "See whether the process answers",
        healthz,
        (Answer(200, "It does.", models.Health),),
        scope=None,
        tag="health",
    ),
    Operation(
        "GET",
        "/readyz",
        "getReadiness",
        "See whether jobs are taken",
        readyz,
        (
            Answer(200, "They are.", models.Readiness),
            Answer(503, "They are not, for now.", models.Readiness),
        ),
        scope=None,
        tag="health",
    ),
)
