"""What A2A sends and reads: messages, tasks, agent cards and errors, in its JSON names."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from gangline.ir.errors import RequestError
from gangline.runtime.service.offers import Offer

from .call import Call
from .operation import Asgi
from .problem import Refused, retry_after, status_of
from .reply import Reply

VERSION = "1.0"
STATES: Mapping[str, str] = {
    "queued": "TASK_STATE_SUBMITTED",
    "running": "TASK_STATE_WORKING",
    "input_required": "TASK_STATE_INPUT_REQUIRED",
    "succeeded": "TASK_STATE_COMPLETED",
    "failed": "TASK_STATE_FAILED",
    "expired": "TASK_STATE_FAILED",
    "cancelled": "TASK_STATE_CANCELED",
    "rejected": "TASK_STATE_REJECTED",
}
"""A2A's state by the status of a job."""
_STATUS_WORDS: Mapping[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}


class _Wire(BaseModel):
    """Reads camelCase, and passes over what it does not know, as ProtoJSON asks."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Part(_Wire):
    """A piece of a message: text, or data of any JSON kind; files are not read here."""

    text: str | None = None
    data: Any = None


class Message(_Wire):
    """A message of a client."""

    message_id: str = Field(min_length=1, max_length=200)
    role: Literal["ROLE_USER"]
    parts: list[Part] = Field(min_length=1, max_length=100)
    context_id: str = Field(default="", max_length=200)
    task_id: str = Field(default="", max_length=200)

    def content(self) -> Any:
        """Give the value of its only data part, or its text; RequestError if it has neither."""
        data = [part.data for part in self.parts if "data" in part.model_fields_set]
        text = "".join(part.text for part in self.parts if part.text is not None)
        if len(data) == 1:
            return data[0]
        if data or not text:
            raise RequestError(
                "A message needs text, or one data part",
                where="body.message.parts",
                next_step='Send parts such as [{"text": "..."}] or [{"data": {...}}].',
            )
        return text


class Configuration(_Wire):
    """How to answer: at once, or when the task has stopped."""

    return_immediately: bool = False


class SendMessage(_Wire):
    """The body of message:send."""

    message: Message
    configuration: Configuration | None = None


def task(document: Mapping[str, Any], context_id: str = "") -> dict[str, Any]:
    """Give a job as a task. Without a context of the client's, its context is itself."""
    context = context_id or document["id"]
    status: dict[str, Any] = {
        "state": STATES[document["status"]],
        "timestamp": _timestamp(document["updated_s"]),
    }
    if words := _words(document):
        status["message"] = {
            "messageId": f"{document['id']}-{document['last_seq']}",
            "contextId": context,
            "taskId": document["id"],
            "role": "ROLE_AGENT",
            "parts": words,
        }
    told = {
        "id": document["id"],
        "contextId": context,
        "status": status,
        "metadata": {"workflow": document["workflow"], "usd": document["actual"]["usd"]},
    }
    if document["status"] == "succeeded":
        parts = [_part(document["output"])]
        told["artifacts"] = [{"artifactId": "output", "name": "output", "parts": parts}]
    return told


def agent_card(offer: Offer, origin: str) -> dict[str, Any]:
    """Describe a workflow as an agent with one skill."""
    from gangline import __version__

    document = offer.document()
    description = document["description"] or f"Runs the workflow {offer.name}."
    takes = ", ".join(f"{row['name']} ({row['type']})" for row in document["inputs"]) or "nothing"
    url = f"{origin}/a2a/{offer.name}"
    interface = {"url": url, "protocolBinding": "HTTP+JSON", "protocolVersion": VERSION}
    bearer = {"httpAuthSecurityScheme": {"scheme": "Bearer"}}
    return {
        "name": offer.name,
        "description": description,
        "version": __version__,
        "supportedInterfaces": [interface],
        "capabilities": {"streaming": False, "pushNotifications": False},
        "securitySchemes": {"bearer": bearer},
        "securityRequirements": [{"schemes": {"bearer": {"list": []}}}],
        "defaultInputModes": ["application/json", "text/plain"],
        "defaultOutputModes": ["application/json", "text/plain"],
        "skills": [
            {
                "id": offer.name,
                "name": offer.name,
                "description": f"{description} It takes {takes}.",
                "tags": ["workflow"],
            }
        ],
    }


def show_error(error: Refused, call: Call) -> Asgi:
    """Answer with an error in the form of google.rpc.Status."""
    status = error.status or status_of(error.error)
    status = 400 if status == 422 else status
    detail = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": error.error.code.upper(),
        "domain": "gangline",
    }
    word = _STATUS_WORDS.get(status, "INTERNAL")
    body = {"code": status, "status": word, "message": str(error.error), "details": [detail]}
    headers = [*error.headers, *retry_after(error.error, status)]
    return Reply.json({"error": body}, status, headers)


def _words(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give what an agent says of a task that asks or failed."""
    if interrupt := document.get("interrupt"):
        told = {"interrupt": interrupt["id"], "schema": interrupt.get("schema") or {}}
        return [{"text": interrupt["question"]}, {"data": told}]
    if error := document.get("error"):
        return [{"text": f"{error['detail']} {error['next_step']}".strip()}, {"data": dict(error)}]
    return []


def _part(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"text": value, "mediaType": "text/plain"}
    return {"data": value, "mediaType": "application/json"}


def _timestamp(at_s: float) -> str:
    at = datetime.fromtimestamp(at_s, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
