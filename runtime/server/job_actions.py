"""Routes that steer a job: cancel, resume, retry, fork."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import models
from .call import Call
from .jobs import IDEMPOTENCY, PREFER, idempotency_key, submitted_headers, waited
from .operation import Answer, Asgi, Operation
from .reply import Reply

_NOW = Answer(200, "The job, as it is now.", models.JobDocument)
_ASKED = Answer(202, "Asked for; the job is on its way.", models.JobDocument)


async def cancel(call: Call) -> Asgi:
    """Stop a job, whoever runs it."""
    return _steered(await call.context.service.cancel(call.tenant, call.path["id"]))


async def resume(call: Call) -> Asgi:
    """Answer what a job asked."""
    body: models.Resume = call.body
    service = call.context.service
    return _steered(await service.resume(call.tenant, call.path["id"], body.interrupt, body.value))


async def retry(call: Call) -> Asgi:
    """Go on with a job that stopped."""
    body: models.Retry = call.body
    return _steered(
        await call.context.service.retry(
            call.tenant, call.path["id"], step=body.from_step, rerun=body.rerun, inputs=body.input
        )
    )


async def fork(call: Call) -> Asgi:
    """Make a job that begins with what another one recorded."""
    body: models.Fork = call.body
    made = await call.context.service.fork(
        call.tenant,
        call.path["id"],
        step=body.from_step,
        inputs=body.input,
        key=idempotency_key(call),
    )
    return await waited(call, made, await submitted_headers(call, made), wait=False)


def _steered(document: Mapping[str, Any]) -> Reply:
    stopped = document["status"] not in ("queued", "running")
    return Reply.json(document, 200 if stopped else 202)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/jobs/{id}:cancel",
        "cancelJob",
        "Stop a job",
        cancel,
        (_NOW, _ASKED),
        scope="submit",
        problems=(409,),
    ),
    Operation(
        "POST",
        "/v1/jobs/{id}:resume",
        "resumeJob",
        "Answer what a job asked",
        resume,
        (_NOW, _ASKED),
        scope="submit",
        body=models.Resume,
        problems=(409,),
    ),
    Operation(
        "POST",
        "/v1/jobs/{id}:retry",
        "retryJob",
        "Go on with a job that stopped",
        retry,
        (_NOW, _ASKED),
        scope="submit",
        body=models.Retry,
        body_optional=True,
        problems=(409,),
    ),
    Operation(
        "POST",
        "/v1/jobs/{id}:fork",
        "forkJob",
        "Begin a new job from a step of this one",
        fork,
        (
            Answer(202, "Accepted and stored.", models.JobDocument),
            Answer(200, "The new job stopped while the caller waited.", models.JobDocument),
        ),
        scope="submit",
        body=models.Fork,
        body_optional=True,
        headers=(IDEMPOTENCY, PREFER),
        problems=(409,),
        makes="id",
    ),
)
