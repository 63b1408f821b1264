"""`/a2a/{workflow}`: each workflow as an agent of the Agent2Agent protocol 1.0 (HTTP+JSON binding).

A task is a job. What is served: the agent card, message:send, tasks/{id} and its cancellation;
no streaming and no push notifications, as the card says.
"""

from __future__ import annotations

from typing import Any

from gangline.ir.errors import ConflictError, NotFoundError, RequestError
from gangline.ir.specs.event import STOPPED_STATUSES
from gangline.runtime.service.job_request import JobRequest
from gangline.runtime.service.offers import Offer
from gangline.runtime.service.service import Service

from .a2a_documents import Configuration, Message, SendMessage, agent_card, show_error, task
from .call import Call
from .gone import unless_gone
from .operation import Answer, Asgi, Operation
from .reply import Reply

WAIT_S = 30.0
"""A wait for a job is renewed that often, until it stops or the caller leaves."""


async def card(call: Call) -> Asgi:
    """Describe a workflow as an agent."""
    offer = call.context.service.offers.find(call.path["workflow"])
    origin = f"{call.scope.get('scheme', 'http')}://{call.header(b'host')}"
    return Reply.json(agent_card(offer, origin))


async def send(call: Call) -> Asgi:
    """Begin a job with a message, or answer the question of one."""
    service, body = call.context.service, call.body
    assert isinstance(body, SendMessage)
    offer = service.offers.find(call.path["workflow"])
    if body.message.task_id:
        job_id = await _answer(call, service, body.message)
    else:
        request = JobRequest(workflow=offer.name, input=_inputs(offer, body.message))
        # A message that is sent twice is one job.
        key = f"a2a:{body.message.message_id}"
        trace = call.frame.cause
        job_id = (await service.submit(call.tenant, request, key, trace)).id
    configuration = body.configuration or Configuration()
    if configuration.return_immediately:
        document = await service.job(call.tenant, job_id)
    else:
        document = await unless_gone(call.receive, _stopped(call, service, job_id))
    return Reply.json({"task": task(document, body.message.context_id)})


async def get(call: Call) -> Asgi:
    """Give a task as it is."""
    return Reply.json(task(await _job(call, call.context.service, call.path["id"])))


async def cancel(call: Call) -> Asgi:
    """Cancel a task."""
    service = call.context.service
    await _job(call, service, call.path["id"])
    return Reply.json(task(await service.cancel(call.tenant, call.path["id"])))


async def _job(call: Call, service: Service, job_id: str) -> dict[str, Any]:
    """Give a job of the workflow in the path; NotFoundError for one of another."""
    document = await service.job(call.tenant, job_id)
    if document["workflow"] != call.path["workflow"]:
        raise NotFoundError(f"This agent has no task {job_id[:64]!r}", next_step="Check the id.")
    return document


async def _stopped(call: Call, service: Service, job_id: str) -> dict[str, Any]:
    while True:
        document = await service.wait(call.tenant, job_id, WAIT_S)
        if document["status"] in STOPPED_STATUSES or call.context.closing.is_set():
            return document


async def _answer(call: Call, service: Service, message: Message) -> str:
    document = await _job(call, service, message.task_id)
    interrupt = document.get("interrupt")
    if not interrupt:
        raise ConflictError(
            "The task does not ask anything",
            where=message.task_id,
            next_step="Send a message without taskId to begin another one.",
        )
    await service.resume(call.tenant, message.task_id, interrupt["id"], message.content())
    return message.task_id


def _inputs(offer: Offer, message: Message) -> dict[str, Any]:
    """Give a workflow's inputs: an object in a data part, or text for the only one needed."""
    content = message.content()
    if isinstance(content, dict):
        return content
    rows = offer.document()["inputs"]
    needed = [row for row in rows if row["required"]] or rows
    if len(needed) != 1:
        names = ", ".join(row["name"] for row in rows) or "nothing"
        raise RequestError(
            f"The workflow takes {names}",
            where="body.message.parts",
            next_step="Send one data part: an object with these names.",
        )
    return {needed[0]["name"]: content}


_SENT = Answer(200, "The task.", {"type": "object"})


def operations() -> list[Operation]:
    """Give the rows of the route table. The card describes them, not the OpenAPI document."""
    base = "/a2a/{workflow}"
    rows = (
        ("GET", f"{base}/.well-known/agent-card.json", "getAgentCard", card, "read", None),
        ("POST", f"{base}/message:send", "sendMessage", send, "submit", SendMessage),
        ("GET", f"{base}/tasks/{{id}}", "getTask", get, "read", None),
        ("POST", f"{base}/tasks/{{id}}:cancel", "cancelTask", cancel, "submit", _Nothing),
    )
    return [
        Operation(
            method,  # type: ignore[arg-type]  # one of two words
            path,
            name,
            name,
            handler,
            (_SENT,),
            scope=scope,
            tag="a2a",
            body=body,
            body_optional=body is _Nothing,
            show_error=show_error,
            hidden=True,
        )
        for method, path, name, handler, scope, body in rows
    ]


class _Nothing(Configuration):
    """A body of which nothing is needed."""
