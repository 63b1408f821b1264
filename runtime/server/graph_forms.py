"""A job's graph as JSON, Mermaid or SVG."""

from __future__ import annotations

from .call import Call
from .reply import Reply


async def graph_reply(call: Call, job_id: str, form: str) -> Reply:
    """Answer with a graph in the form that was asked for."""
    service = call.context.service
    if form == "json":
        return Reply.json(await service.graph(call.tenant, job_id))
    text = await service.drawn(call.tenant, job_id, form)
    if form == "mermaid":
        return Reply.text(text, b"text/vnd.mermaid; charset=utf-8")
    return Reply.text(text, b"image/svg+xml")
