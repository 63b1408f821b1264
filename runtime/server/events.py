"""Routes of what a job does: its events as a stream, its steps, plan, graph and artifacts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from gangline.ir.specs.event import Event
from gangline.runtime.service.documents import event_document

from . import models
from .call import Call
from .event_stream import EventStream, event_bytes
from .operation import Answer, Asgi, Header, Operation
from .problem import malformed
from .reply import Headers, Reply

_LAST_ID = re.compile(r"\d{1,16}")


async def event_stream(call: Call, job_id: str, after: int, headers: Headers = ()) -> EventStream:
    """Stream a job's events: the durable log after a number, then live ones until it is over."""
    settings = call.context.settings
    events = await call.context.service.events(call.tenant, job_id, after)
    return EventStream(
        _written(events),
        heartbeat_s=settings.heartbeat_s,
        slow_s=settings.slow_reader_s,
        headers=headers,
        closing=call.context.closing,
        shut_out=partial(call.context.keys.shut_out, call.header(b"authorization")),
    )


async def _written(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    try:
        async for event in events:
            # What is not in the log has no number: a reader that comes back goes on in the log.
            yield event_bytes(event.type, event_document(event), event.seq or None)
    finally:
        close: Any = getattr(events, "aclose", None)
        if close is not None:
            await close()


async def events(call: Call) -> Asgi:
    """Stream a job's events from where the caller left off."""
    after, last = call.query.after, call.header(b"last-event-id")
    if b"last-event-id" in call.frame.headers:
        if not _LAST_ID.fullmatch(last):
            raise malformed(
                "The Last-Event-ID is no event's number",
                "Send the last `id:` seen.",
                "last-event-id",
            )
        after = int(last)
    return await event_stream(call, call.path["id"], after)


async def steps(call: Call) -> Asgi:
    """Give the records of a job's steps."""
    return Reply.json(await call.context.service.steps(call.tenant, call.path["id"]))


async def plan_of(call: Call) -> Asgi:
    """Give predicted against actual."""
    return Reply.json(await call.context.service.plan_of(call.tenant, call.path["id"]))


async def graph(call: Call) -> Asgi:
    """Give a job's graph in the form that was asked for."""
    service, job_id, form = call.context.service, call.path["id"], call.query.format
    if form == "json":
        return Reply.json(await service.graph(call.tenant, job_id))
    text = await service.drawn(call.tenant, job_id, form)
    return Reply.text(text, b"image/svg+xml" if form == "svg" else b"text/vnd.mermaid")


async def artifacts(call: Call) -> Asgi:
    """Give what a job left behind."""
    return Reply.json(await call.context.service.artifacts(call.tenant, call.path["id"]))


EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
"""One event of a stream."""
_LAST_EVENT_ID = Header(
    "Last-Event-ID",
    "The last event the caller saw.",
    {"type": "string", "pattern": "^[0-9]{1,16}$"},
)
_STREAM = (
    "Server-sent events: `id` is the event's number in the durable log (deltas have none), `event` "
    "its type, `data` the event as JSON. The stream ends when the job is over."
)
OPERATIONS = (
    Operation(
        "GET",
        "/v1/jobs/{id}/events",
        "streamEvents",
        "Follow a job",
        events,
        (Answer(200, _STREAM, EVENT, "text/event-stream"),),
        query=models.EventQuery,
        headers=(_LAST_EVENT_ID,),
    ),
    Operation(
        "GET",
        "/v1/jobs/{id}/steps",
        "listSteps",
        "List a job's steps",
        steps,
        (Answer(200, "The steps, in the order they began.", models.StepList),),
    ),
    Operation(
        "GET",
        "/v1/jobs/{id}/plan",
        "getJobPlan",
        "Compare a job with its prediction",
        plan_of,
        (Answer(200, "Predicted and actual, per stage.", models.PlanReport),),
    ),
    Operation(
        "GET",
        "/v1/jobs/{id}/graph",
        "getJobGraph",
        "Draw a job",
        graph,
        (
            Answer(200, "The graph with the states of its steps.", models.GraphDocument),
            Answer(200, "As Mermaid.", {"type": "string"}, "text/vnd.mermaid"),
            Answer(200, "As SVG.", {"type": "string"}, "image/svg+xml"),
        ),
        query=models.GraphQuery,
    ),
    Operation(
        "GET",
        "/v1/jobs/{id}/artifacts",
        "listArtifacts",
        "List what a job left behind",
        artifacts,
        (Answer(200, "The artifacts.", models.Listing),),
    ),
)
