"""Routes of the page: its files, and the drawings it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel

from gangline.ir.errors import NotFoundError
from gangline.ir.program import Program
from gangline.ir.specs.event import Event
from gangline.planner.graph_tree import Plans
from gangline.runtime.page.layouts import Layouts

from .call import Call
from .operation import Answer, Asgi, Operation
from .reply import Reply

CSP = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere. Charts are drawn by our script as SVG, because plotly.js
writes inline styles (docs/decisions/0023-the-page.md)."""

TYPES = {
    "html": b"text/html; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}


class LayoutQuery(BaseModel):
    """How much of a program a drawing shows: calls of models whole, or each of their stages."""

    level: Literal["agent", "stage"] = "agent"


class Page:
    """The files of the page, read once, and the drawings made lately."""

    def __init__(self) -> None:
        folder = files("gangline.runtime.page").joinpath("static")
        self._files = {item.name: item.read_bytes() for item in folder.iterdir() if item.is_file()}
        self._layouts = Layouts()

    async def index(self, call: Call) -> Asgi:
        """Give the page itself."""
        return self._file("index.html")

    async def static(self, call: Call) -> Asgi:
        """Give one of its files."""
        return self._file(call.path["name"])

    async def job_layout(self, call: Call) -> Asgi:
        """Give where the nodes and edges of a job's graph are."""
        service, job_id = call.context.service, call.path["id"]
        program = await service.program(call.tenant, job_id)  # NotFoundError for another's
        plans: Plans = {}
        if any(stage.op == "expand" for stage in program.stages):
            plans = recorded_plans(await asyncio.to_thread(service.store.events, job_id))
        return await self._drawn(program, call, plans)

    async def workflow_layout(self, call: Call) -> Asgi:
        """Give where the nodes and edges of a workflow's graph are."""
        program = call.context.service.offers.find(call.path["name"]).program()
        return await self._drawn(program, call)

    async def calibration(self, call: Call) -> Asgi:
        """Give how far the cost model was off, before and after what was measured here."""
        calibration = await call.context.service.plans.calibration()
        if calibration is None:
            return Reply.json({"data": []})
        rows = [
            {"op": row.op, "device": row.device, "model": row.model, "num_runs": row.num_runs}
            | {"before": row.before, "after": row.after}
            for row in calibration.errors()
        ]
        return Reply.json({"data": rows})

    def operations(self) -> list[Operation]:
        """Give the page's rows of the route table; none is part of the public API."""
        html = Answer(200, "The page.", {"type": "string"}, "text/html")
        file = Answer(200, "A file of the page.", {"type": "string"}, "*/*")
        drawing = Answer(200, "Places in pixels.", {"type": "object"})
        return [
            _row("/", "getPage", self.index, html, scope=None),
            _row("/static/{name}", "getPageFile", self.static, file, scope=None),
            _row("/page/jobs/{id}/layout", "getJobLayout", self.job_layout, drawing, LayoutQuery),
            _row(
                "/page/workflows/{name}/layout",
                "getWorkflowLayout",
                self.workflow_layout,
                drawing,
                LayoutQuery,
            ),
            _row("/page/calibration", "getCalibration", self.calibration, drawing),
        ]

    async def _drawn(self, program: Program, call: Call, plans: Plans | None = None) -> Reply:
        body = await asyncio.to_thread(self._layouts.body, program, call.query.level, plans)
        return Reply(200, body, b"application/json")

    def _file(self, name: str) -> Reply:
        body = self._files.get(name)
        if body is None:
            raise NotFoundError("There is no such file of the page", where=name[:100])
        # Loopback is quick: files are asked for anew, so that a new version is never mixed
        # with an old one.
        headers = ((b"content-security-policy", CSP), (b"cache-control", b"no-cache"))
        return Reply(200, body, TYPES[name.rpartition(".")[2]], headers)


def recorded_plans(events: Iterable[Event]) -> Plans:
    """Give the plans that a job's `expand` stages recorded; not of one that planned often."""
    plans: dict[str, list[Any]] = {}
    for event in events:
        if event.type == "step.completed" and event.data.get("op") == "expand":
            plans.setdefault(event.data["stage"], []).append(event.data["value"]["steps"])
    return {stage: found[0] for stage, found in plans.items() if len(found) == 1}


def operations() -> list[Operation]:
    """Give the rows of one server's page."""
    return Page().operations()


def _row(
    path: str,
    name: str,
    handler: Any,
    answer: Answer,
    query: type[BaseModel] | None = None,
    scope: str | None = "read",
) -> Operation:
    patterns = {"name": "[^/]+"} if "{name}" in path else None
    return Operation(
        "GET",
        path,
        name,
        answer.description,
        handler,
        (answer,),
        scope=scope,
        tag="page",
        query=query,
        path_patterns=patterns,
        hidden=True,
    )
