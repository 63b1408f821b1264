"""Jobs of a server, over REST. The API key comes from GANGLINE_API_KEY, never from the line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from gangline.ir.errors import JobError, NotFoundError, UsageError
from gangline.ir.program import Parameter
from gangline.ir.specs.event import Event
from gangline.runtime.client.job_view import JobView
from gangline.runtime.client.retry import RetryPolicy
from gangline.runtime.client.sync import Client
from gangline.runtime.dispatch.job_errors import unanswered

from .job_desk import Document, OnEvent, Order

CANCEL_WAIT_S = 30.0
ID_CHARS = 36
LOOK_BACK = 1000
"""Newest jobs among which a part of an id is looked for."""


class RemoteDesk:
    """The jobs of a server that the caller's key may see."""

    follows = True

    def __init__(self, server: str, client: Client | None = None) -> None:
        # Somebody sits and waits: what is away is told within a second or so.
        self._client = client or Client(server, retries=RetryPolicy(max_attempts=5))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def submit(self, order: Order, on_event: OnEvent | None) -> Document:
        """Submit a job; it runs on the server."""
        from .arguments import read_inputs

        if order.fleet is not None:
            raise UsageError(
                "A server runs jobs on its own fleet",
                where="--fleet",
                next_step="Leave --fleet out.",
            )
        # The server knows workflows by name; a file of this machine means nothing to it.
        name = order.workflow.rpartition(":")[2]
        rows = self._client.workflow(name)["inputs"]
        parameters = [Parameter(row["name"], row["type"], {}, row["required"]) for row in rows]
        inputs = read_inputs(order.pairs, order.input_json, parameters, local=False)
        handle = self._client.submit(
            name,
            inputs=inputs,
            deadline=order.deadline_s,
            on_deadline=order.on_deadline,
            budget_usd=order.budget_usd,
            priority=order.priority,
            model=order.model,
            policy=order.policy,
            grants=[str(grant) for grant in order.grants] or None,
            idempotency_key=order.idempotency_key,
        )
        return self._document(handle.last)

    def list(self, limit: int, after: str | None, status: str | None) -> Document:
        """Give one page of the server's jobs."""
        page = self._client.page(limit=limit, after=after or "", status=status)
        return {"data": [_row(job) for job in page.jobs], "next": page.next}

    def show(self, job: str) -> Document:
        """Give a job."""
        return self._document(self._client.job(self._id(job)))

    def follow(self, job: str) -> Iterator[Event]:
        """Give the job's events until it has stopped."""
        return self._client.events(self._id(job), to_end=False)

    def cancel(self, job: str) -> Document:
        """End a job, whoever runs it, and wait until it has stopped."""
        job_id = self._id(job)
        self._client.cancel(job_id)
        found = self._client.wait(job_id, CANCEL_WAIT_S)
        if found.status != "cancelled":
            raise JobError(
                f"The job was asked to stop and is {found.status}",
                where=job_id,
                next_step="`gangline jobs show` prints how it is.",
            )
        return {"id": job_id, "status": found.status}

    def retry(
        self,
        job: str,
        inputs: Mapping[str, Any],
        rerun: Sequence[str],
        step: str | None,
        on_event: OnEvent,
    ) -> Document:
        """Let the server go on with a job."""
        made = self._client.retry(self._id(job), step=step, rerun=rerun, inputs=inputs)
        return self._document(made)

    def resume(self, job: str, interrupt: str, answer: str, on_event: OnEvent) -> Document:
        """Answer what a job asks; the server goes on with it."""
        from gangline.runtime.dispatch.answers import read_answer

        job_id = self._id(job)
        asked = self._client.job(job_id).interrupt or {}
        name = interrupt or str(asked.get("id", ""))
        if not name:
            raise UsageError("The job asks nothing", where=job_id, next_step="It needs no answer.")
        schema = asked.get("schema") if asked.get("id") == name else None
        value = read_answer(answer, schema or {})
        return self._document(self._client.resume(job_id, name, value))

    def fork(self, job: str, step: str, inputs: Mapping[str, Any], on_event: OnEvent) -> Document:
        """Let the server run a new job from before a step of a job."""
        return self._document(self._client.fork(self._id(job), step, inputs=inputs).last)

    def _id(self, part: str) -> str:
        """Give the id that a part stands for, among the newest jobs."""
        if len(part) >= ID_CHARS:
            return part
        jobs = self._client.jobs(limit=LOOK_BACK)
        found = [job.id for job in jobs if job.id.startswith(part) or job.id.endswith(part)]
        if len(found) == 1:
            return found[0]
        several = f"{len(found)} jobs match" if found else "There is no job"
        raise NotFoundError(
            f"{several} {part!r}", next_step="`gangline jobs list` shows the ids; give more of one."
        )

    def _document(self, job: JobView) -> Document:
        document: Document = {
            "status": job.status,
            "output": job.output,
            "job_id": job.id,
            "workflow": job.workflow,
            "late": job.late,
            "steps": self._client.steps(job.id),
            "predicted": _totals(job.predicted),
            "actual": _totals(job.actual),
        }
        error = job.exception()
        if job.interrupt is not None:
            document["interrupts"] = [dict(job.interrupt)]
            asked, step = str(job.interrupt.get("question", "")), str(job.interrupt.get("id", ""))
            error = unanswered(job.id, asked, step)
        if error is not None:
            document["error"] = dict(job.error or error.to_json())
        return document


def _row(job: JobView) -> Document:
    """Give a row of the list as docs/schemas/jobs.json describes it."""
    return {
        "id": job.id,
        "status": job.status,
        "workflow": job.workflow,
        "created_s": job.created_s,
        "updated_s": job.updated_s,
        "seconds": job.actual.get("seconds"),
        "usd": job.actual.get("usd"),
        "late": job.late,
        "last_seq": int(job.document.get("last_seq") or 0),
    }


def _totals(told: Mapping[str, float | None]) -> Document:
    return {"seconds": told.get("seconds"), "usd": told.get("usd")}
