"""Every call of the REST API as data. Nothing is sent here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from gangline.ir.errors import GanglineError, ServiceError, UsageError

from .call import Call, Reply, Request
from .job_body import plain
from .job_view import JobView
from .problems import error_of


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the job list; `next` is the cursor of the next one."""

    jobs: Sequence[JobView]
    next: str | None


def submit(body: Mapping[str, Any], key: str | None, wait_s: float) -> Call[JobView]:
    """Submit a job; with `wait_s` the server holds its answer until the job stops.

    The idempotency key makes it safe to send again: the server answers with the job it has.
    """
    headers = {"Idempotency-Key": key or new_key(), **_prefer(wait_s)}
    request = Request("POST", "/v1/jobs", headers=headers, body=dict(body), patience_s=wait_s)
    return Call(request, _job)


def batch(bodies: Sequence[Mapping[str, Any]], key: str | None) -> Call[list[Any]]:
    """Submit many jobs; gives a JobView or a GanglineError for each, in order."""
    headers = {"Idempotency-Key": key or new_key()}
    body = {"jobs": [dict(body) for body in bodies]}
    return Call(Request("POST", "/v1/jobs:batch", headers=headers, body=body), _items)


def plan(body: Mapping[str, Any]) -> Call[dict[str, Any]]:
    """Ask what a job would take and cost, and whether it would be admitted; nothing runs."""
    return Call(Request("POST", "/v1/jobs:plan", body=dict(body)), _document)


def job(job_id: str, wait_s: float = 0.0) -> Call[JobView]:
    """Ask for a job; with `wait_s` the server may hold its answer until the job stops."""
    headers = _prefer(wait_s)
    return Call(Request("GET", job_path(job_id), headers=headers, patience_s=wait_s), _job)


def jobs(filters: Mapping[str, Any], limit: int, after: str) -> Call[Page]:
    """Ask for one page of jobs, the newest first."""
    params = {name: str(value) for name, value in filters.items() if value is not None}
    params |= {"limit": str(limit), **({"after": after} if after else {})}
    return Call(Request("GET", "/v1/jobs", params), _page)


def about(job_id: str, what: Literal["plan", "graph", "artifacts"]) -> Call[dict[str, Any]]:
    """Ask for a job's plan against what happened, its graph, or what it made."""
    return document(f"{job_path(job_id)}/{what}")


def steps(job_id: str) -> Call[list[dict[str, Any]]]:
    """Ask for a job's step records."""
    return listed(f"{job_path(job_id)}/steps")


def cancel(job_id: str) -> Call[JobView]:
    """Cancel a job; of one that has ended already the server tells so (ConflictError)."""
    return Call(Request("POST", f"{job_path(job_id)}:cancel", body={}), _job)


def resume(job_id: str, interrupt: str, value: Any) -> Call[JobView]:
    """Answer the question a job waits for."""
    body = {"interrupt": interrupt, "value": value}
    return Call(Request("POST", f"{job_path(job_id)}:resume", body=body), _job, repeatable=False)


def retry(
    job_id: str, step: str | None, rerun: Sequence[str], inputs: Mapping[str, Any]
) -> Call[JobView]:
    """Go on with a job that stopped; recorded steps are not run again, unless from `step` on."""
    body: dict[str, Any] = {"rerun": list(rerun), "input": _plain(inputs)}
    if step is not None:
        body["from_step"] = step
    request = Request("POST", f"{job_path(job_id)}:retry", body=body)
    return Call(request, _job, repeatable=False)


def fork(job_id: str, step: str, inputs: Mapping[str, Any], key: str | None) -> Call[JobView]:
    """Make a new job that begins with the results of another up to a step."""
    headers = {"Idempotency-Key": key or new_key()}
    body = {"from_step": step, "input": _plain(inputs)}
    return Call(Request("POST", f"{job_path(job_id)}:fork", headers=headers, body=body), _job)


def document(path: str) -> Call[dict[str, Any]]:
    """Ask for a document that needs no more than its path."""
    return Call(Request("GET", path), _document)


def workflow(name: str) -> Call[dict[str, Any]]:
    """Ask for a workflow the server has registered."""
    return document(f"/v1/workflows/{quote(name, safe='')}")


def listed(path: str) -> Call[list[dict[str, Any]]]:
    """Ask for a list that comes whole."""
    return Call(Request("GET", path), _listed)


def events(job_id: str, after: int) -> Request:
    """Open a job's events behind a sequence number."""
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
    if after:
        headers["Last-Event-ID"] = str(after)
    return Request("GET", f"{job_path(job_id)}/events", headers=headers)


def job_path(job_id: str) -> str:
    """Give the path of a job; an id is data and cannot leave its place in the path."""
    if not job_id or job_id in (".", ".."):
        raise UsageError(f"{job_id!r} is not a job id", next_step="Give the id of a job.")
    return f"/v1/jobs/{quote(job_id, safe='')}"


def new_key() -> str:
    """Make an idempotency key."""
    return str(uuid.uuid4())


def _prefer(wait_s: float) -> dict[str, str]:
    # RFC 7240: whole seconds.
    return {"Prefer": f"wait={max(1, round(wait_s))}"} if wait_s > 0 else {}


def _job(reply: Reply) -> JobView:
    return JobView.from_json(reply.document)


def _document(reply: Reply) -> dict[str, Any]:
    return dict(_mapping(reply))


def _listed(reply: Reply) -> list[dict[str, Any]]:
    return [dict(row) for row in _mapping(reply).get("data", ())]


def _plain(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value, name) for name, value in inputs.items()}


def _page(reply: Reply) -> Page:
    page = _mapping(reply)
    return Page([JobView.from_json(row) for row in page.get("data", ())], page.get("next"))


def _items(reply: Reply) -> list[JobView | GanglineError]:
    return [_item(item) for item in _mapping(reply).get("data", ())]


def _item(item: Any) -> JobView | GanglineError:
    told = item if isinstance(item, Mapping) else {}
    if told.get("error") is not None:
        return error_of(Reply(int(told.get("status") or 422), {}, told["error"]))
    return JobView.from_json(told.get("job"))


def _mapping(reply: Reply) -> Mapping[str, Any]:
    if isinstance(reply.document, Mapping):
        return reply.document
    raise ServiceError(
        "The server's answer is not what was asked for",
        next_step="Check the address: something else may answer there.",
    )
