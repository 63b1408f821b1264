"""Routes of jobs: submit, list, look at, wait for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gangline.ir.errors import GanglineError, QuotaError, RequestError
from gangline.ir.specs.event import STOPPED_STATUSES
from gangline.runtime.service.job_request import JobRequest
from gangline.runtime.service.service import JobFilter, Submitted

from . import models
from .call import Call
from .events import EVENT, event_stream
from .gone import job_stopped
from .operation import Answer, Asgi, Header, Operation
from .prefer import wait_s
from .problem import Refused, problem_document, status_of
from .rate_limit import rate_limit_headers
from .reply import Headers, Reply

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
IDEMPOTENCY = Header(
    "Idempotency-Key",
    "The same key with the same body gives the job made first, for 24 hours.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
)
PREFER = Header(
    "Prefer", "`wait=N`: answer when the job stopped, after N seconds at most.", {"type": "string"}
)
_LOCATION = {"Location": "The job's path.", "RateLimit": "What is left of the quota."}


async def submit(call: Call) -> Asgi:
    """Accept a job; it is stored when the answer begins."""
    request: JobRequest = call.body
    service, key = call.context.service, idempotency_key(call)
    try:
        made = await service.submit(call.tenant, request, key, call.frame.cause)
    except QuotaError as error:
        raise Refused(error, headers=await rate_limit_headers(call)) from None
    headers = await submitted_headers(call, made)
    if request.mode == "stream":
        return await event_stream(call, made.id, 0, headers)
    return await waited(call, made, headers, request.mode == "wait")


async def waited(
    call: Call, made: Submitted, headers: list[tuple[bytes, bytes]], wait: bool
) -> Reply:
    """Answer with a job just made: at once, or when it stopped, as the caller prefers."""
    settings = call.context.settings
    asked_s = wait_s(call.header(b"prefer"), settings.max_wait_s)
    seconds = settings.max_wait_s if wait and asked_s is None else asked_s
    document = made.document
    if seconds is not None:
        headers.append((b"preference-applied", b"wait=%d" % int(seconds)))
        if document["status"] not in STOPPED_STATUSES:
            document = await job_stopped(call, made.id, seconds)
    done = seconds is not None and document["status"] in STOPPED_STATUSES
    status = 200 if done or made.replayed else 202
    return Reply.json(document, status, headers)


async def submitted_headers(call: Call, made: Submitted) -> list[tuple[bytes, bytes]]:
    """Give the headers of an answer about a job that was just accepted."""
    headers = [(b"location", f"/v1/jobs/{made.id}".encode()), *await rate_limit_headers(call)]
    if made.replayed:
        headers.append((b"idempotent-replayed", b"true"))
    position = made.document.get("position")
    if position is not None:
        headers.append((b"x-queue-position", str(position).encode()))
    return headers


def idempotency_key(call: Call) -> str | None:
    """Give the Idempotency-Key; Refused with 400 for one that is none."""
    key = call.frame.headers.get(b"idempotency-key")
    if key is None:
        return None
    text = key.decode("latin-1")
    if not _KEY.fullmatch(text):
        error = RequestError(
            "The Idempotency-Key must be 1 to 255 visible ASCII characters",
            where="idempotency-key",
            next_step="Use a UUID.",
        )
        raise Refused(error, 400)
    return text


async def submit_batch(call: Call) -> Asgi:
    """Accept many jobs, each on its own."""
    outcomes = await call.context.service.submit_many(
        call.tenant, call.body.jobs, idempotency_key(call), call.frame.cause
    )
    items = [_item(call, outcome) for outcome in outcomes]
    return Reply.json({"data": items}, 200, await rate_limit_headers(call))


def _item(call: Call, outcome: Submitted | GanglineError) -> dict[str, Any]:
    if isinstance(outcome, Submitted):
        return {"status": 200 if outcome.replayed else 202, "job": outcome.document, "error": None}
    status = status_of(outcome)
    path, trace_id = call.scope["path"], call.frame.trace_id
    error = problem_document(outcome, status, instance=path, trace_id=trace_id)
    return {"status": status, "job": None, "error": error}


async def plan(call: Call) -> Asgi:
    """Predict a job; nothing is run."""
    return Reply.json(await call.context.service.plan(call.tenant, call.body))


async def list_jobs(call: Call) -> Asgi:
    """Give one page of jobs."""
    query: models.JobQuery = call.query
    wanted = JobFilter(
        limit=query.limit,
        after=query.after or "",
        status=query.status,
        workflow=query.workflow,
        created_after=query.created_after,
        created_before=query.created_before,
        id_prefix=query.id_prefix,
    )
    return Reply.json(await call.context.service.jobs(call.tenant, wanted))


async def show(call: Call) -> Asgi:
    """Give a job, or 304 where the caller has it as it is."""
    document = await call.context.service.job(call.tenant, call.path["id"])
    seconds = wait_s(call.header(b"prefer"), call.context.settings.max_wait_s)
    if seconds and document["status"] not in STOPPED_STATUSES:
        document = dict(await job_stopped(call, call.path["id"], seconds))
    tag = etag(document)
    headers: Headers = ((b"etag", tag), (b"cache-control", b"private, no-cache"))
    if matches(call.frame.headers.get(b"if-none-match", b""), tag):
        return Reply(304, headers=headers)
    return Reply.json(document, 200, headers)


def etag(document: Mapping[str, Any]) -> bytes:
    """Give the version of a job document: its last event, and its place while it waits."""
    position = document.get("position")
    place = b"" if position is None else b".%d" % position
    return b'"%d%s"' % (document["last_seq"], place)


def matches(if_none_match: bytes, tag: bytes) -> bool:
    """Say whether an If-None-Match header names a tag."""
    given = [part.strip().removeprefix(b"W/") for part in if_none_match.split(b",")]
    return tag in given or given == [b"*"]


_ACCEPTED = (
    Answer(202, "Accepted and stored.", models.JobDocument, headers=_LOCATION),
    Answer(
        200,
        "The job stopped while the caller waited, or the idempotency key gave an earlier job.",
        models.JobDocument,
        headers={**_LOCATION, "Idempotent-Replayed": "`true` for an earlier job."},
    ),
    Answer(200, "The job's events, for mode `stream`.", EVENT, "text/event-stream"),
)
OPERATIONS = (
    Operation(
        "POST",
        "/v1/jobs",
        "submitJob",
        "Run a workflow",
        submit,
        _ACCEPTED,
        scope="submit",
        body=JobRequest,
        headers=(IDEMPOTENCY, PREFER),
        problems=(409,),
        makes="id",
    ),
    Operation(
        "GET",
        "/v1/jobs",
        "listJobs",
        "List jobs, the newest first",
        list_jobs,
        (Answer(200, "One page.", models.JobPage),),
        query=models.JobQuery,
    ),
    Operation(
        "POST",
        "/v1/jobs:batch",
        "submitJobs",
        "Run up to 1,000 jobs",
        submit_batch,
        (Answer(200, "What came of each, in order.", models.BatchResult),),
        scope="submit",
        body=models.Batch,
        headers=(IDEMPOTENCY,),
        problems=(409,),
    ),
    Operation(
        "POST",
        "/v1/jobs:plan",
        "planJob",
        "Predict a job without running it",
        plan,
        (Answer(200, "Seconds, dollars, placement and verdict.", models.PlanDocument),),
        scope="submit",
        body=JobRequest,
    ),
    Operation(
        "GET",
        "/v1/jobs/{id}",
        "getJob",
        "Look at a job",
        show,
        (
            Answer(200, "The job.", models.JobDocument, headers={"ETag": "Its version."}),
            Answer(304, "It is as the caller has it."),
        ),
        headers=(PREFER, Header("If-None-Match", "ETags the caller has.", {"type": "string"})),
    ),
)
