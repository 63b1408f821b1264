"""Workflows as tools: what a tool takes and gives, and one call as one job. Knows no protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.errors import GanglineError, NotFoundError
from gangline.ir.specs.event import STOP_EVENTS, Event
from gangline.runtime.service.job_request import JobRequest
from gangline.runtime.service.offers import Offer
from gangline.runtime.service.service import Service
from gangline.runtime.service.tenant import Tenant

Progress = Callable[[float, str], Awaitable[None]]
"""Takes a number that grows, and what happened."""
RESUME = "resume_job"
"""The tool that answers a job's question; a workflow of this name cannot be called."""
JOB_ID = "gangline/job_id"
SETTLE_S = 5.0
"""How long the document of a job may lag behind its last event."""


@dataclass(frozen=True, slots=True)
class WorkflowTool:
    """A tool as clients see it. Schemas are of objects; without `output` it gives text only."""

    name: str
    description: str
    input: Mapping[str, Any]
    output: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call ended. `structured` fits the tool's output schema unless it is an error."""

    text: str
    structured: Mapping[str, Any] | None = None
    is_error: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)


class WorkflowTools:
    """Lists the workflows of a service as tools, and runs them for tenants.

    Args:
        is_closing: says whether the server stops; calls given up then leave their jobs alone.
    """

    def __init__(self, service: Service, is_closing: Callable[[], bool]) -> None:
        self._service = service
        self._is_closing = is_closing
        self._cancelling: set[asyncio.Task[None]] = set()

    def list(self) -> list[WorkflowTool]:
        """Give every workflow, and the tool that answers questions."""
        offers = self._service.offers
        names = [name for name in offers.names() if name != RESUME]
        return [*(_tool(offers.find(name)) for name in names), _RESUME_TOOL]

    async def call(
        self,
        tenant: Tenant,
        name: str,
        arguments: Mapping[str, Any],
        progress: Progress,
        trace: str | None = None,
    ) -> Outcome:
        """Run a workflow as a job and wait for it. Cancelling this cancels the job.

        Raises:
            NotFoundError: there is no such tool.
        """
        if name == RESUME:
            return await self._resume(tenant, arguments, progress)
        offer = self._service.offers.find(name)
        try:
            request = JobRequest(workflow=name, input=dict(arguments))
            submitted = await self._service.submit(tenant, request, None, trace)
            return await self._follow(tenant, submitted.id, 0, progress, offer)
        except GanglineError as error:
            return _error(error.to_json(), {})

    async def _resume(
        self, tenant: Tenant, arguments: Mapping[str, Any], progress: Progress
    ) -> Outcome:
        job_id, interrupt = str(arguments.get("job", "")), str(arguments.get("interrupt", ""))
        try:
            before = await self._service.job(tenant, job_id)
            await self._service.resume(tenant, job_id, interrupt, arguments.get("value"))
            offer = self._offer(before["workflow"])
            return await self._follow(tenant, job_id, before["last_seq"], progress, offer)
        except GanglineError as error:
            return _error(error.to_json(), {})

    def _offer(self, name: str) -> Offer | None:
        try:
            return self._service.offers.find(name)
        except NotFoundError:
            return None

    async def _follow(
        self, tenant: Tenant, job_id: str, after: int, progress: Progress, offer: Offer | None
    ) -> Outcome:
        """Tell of a job's steps until it stops; give how it went."""
        try:
            events: Any = await self._service.events(tenant, job_id, after)
            try:
                async for event in events:
                    if event.seq:
                        await progress(event.seq, _told(event))
                    if event.type in STOP_EVENTS:
                        break
            finally:
                await events.aclose()
            return _outcome(await self._service.wait(tenant, job_id, SETTLE_S), offer)
        except asyncio.CancelledError:
            if not self._is_closing():
                self._cancel_later(tenant, job_id)
            raise

    def _cancel_later(self, tenant: Tenant, job_id: str) -> None:
        # A task of its own: nothing can be awaited any more in the one that is cancelled.
        async def cancel() -> None:
            try:
                await self._service.cancel(tenant, job_id)
            except GanglineError:
                return  # it has ended

        task = asyncio.get_running_loop().create_task(cancel())
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)


_RESUME_TOOL = WorkflowTool(
    RESUME,
    "Answer the question of a job that waits for a person, and wait for the job's result.",
    {
        "type": "object",
        "properties": {
            "job": {"type": "string", "description": "The job's id."},
            "interrupt": {"type": "string", "description": "The id of its question."},
            "value": {"description": "The answer; it must match the question's schema."},
        },
        "required": ["job", "interrupt", "value"],
        "additionalProperties": False,
    },
    None,
)


def _tool(offer: Offer) -> WorkflowTool:
    document = offer.document()
    definitions: dict[str, Any] = {}
    properties = {
        row["name"]: _hoisted(row["schema"], definitions, row) for row in document["inputs"]
    }
    takes: dict[str, Any] = {
        "type": "object",
        "properties": properties,
        "required": [row["name"] for row in document["inputs"] if row["required"]],
        "additionalProperties": False,
    }
    if definitions:
        takes["$defs"] = definitions
    description = document["description"] or f"Run the workflow {offer.name}."
    return WorkflowTool(offer.name, description, takes, _output_schema(offer))


def _hoisted(
    schema: Mapping[str, Any], definitions: dict[str, Any], row: Mapping[str, Any]
) -> dict[str, Any]:
    """Give a property's schema; its definitions go to the root, where its references look."""
    definitions.update(schema.get("$defs", {}))
    own = {key: value for key, value in schema.items() if key != "$defs"}
    return own if row["required"] else {**own, "default": row["default"]}


def _output_schema(offer: Offer) -> dict[str, Any]:
    found = _returned(offer)
    if _is_object(found):
        return found
    inner = {key: value for key, value in found.items() if key != "$defs"}
    wrapped = {"type": "object", "properties": {"result": inner}, "required": ["result"]}
    return {**wrapped, "$defs": found["$defs"]} if "$defs" in found else wrapped


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object"


def _outcome(document: Mapping[str, Any], offer: Offer | None) -> Outcome:
    meta = {
        JOB_ID: document["id"],
        "gangline/status": document["status"],
        "gangline/usd": document["actual"]["usd"],
        "gangline/seconds": document["actual"]["seconds"],
    }
    match document["status"]:
        case "succeeded":
            output = document["output"]
            text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
            wraps = offer is None or not _is_object(_returned(offer))
            return Outcome(text, {"result": output} if wraps else output, False, meta)
        case "input_required":
            return Outcome(_question(document), None, True, meta)
        case status:
            return _error(document["error"] or {"detail": f"The job was {status}"}, meta)


def _returned(offer: Offer) -> dict[str, Any]:
    """Give the schema of what a workflow returns; of anything where it does not say."""
    from gangline.workflows.hints import schema
    from gangline.workflows.signature import EMPTY

    returns = offer.workflow.returns
    return {} if returns is EMPTY else schema(returns)


def _question(document: Mapping[str, Any]) -> str:
    asked = document["interrupt"]
    job_id = document["id"]
    if not asked:
        return f"Job {job_id} waits for a person; see POST /v1/jobs/{job_id}:retry."
    schema = json.dumps(asked.get("schema", {}), ensure_ascii=False)
    return (
        f"Job {job_id} asks: {asked['question']}\n"
        f"Call the tool {RESUME} with job={job_id!r}, interrupt={asked['id']!r} and a value that "
        f"matches {schema}. Or POST /v1/jobs/{job_id}:resume."
    )


def _error(error: Mapping[str, Any], meta: Mapping[str, Any]) -> Outcome:
    where = f" (at {error['where']})" if error.get("where") else ""
    text = f"{error.get('detail', 'The job failed')}{where}. {error.get('next_step', '')}"
    return Outcome(text.strip(), None, True, {**meta, "gangline/code": error.get("code", "")})


def _told(event: Event) -> str:
    return f"{event.type} {event.data.get('stage', event.step_id)}".strip()
