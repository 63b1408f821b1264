"""Jobs in the store of this machine, run by this process."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from gangline.ir.specs.event import STOPPED_STATUSES, Event

from .job_desk import Document, OnEvent, Order

LOOK_EVERY_S = 0.2
"""How often a job that another process runs is looked at."""


class LocalDesk:
    """The store of this machine. Jobs are run here, and the caller waits for them."""

    follows = False

    def __init__(self, fleet: str | None = None) -> None:
        self._fleet = fleet

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Sessions stay warm until the process ends."""

    def submit(self, order: Order, on_event: OnEvent | None) -> Document:
        """Run a job here; without `on_event` leave it in the store, for a server to run."""
        from gangline.runtime.api import open_session
        from gangline.runtime.session import Options
        from gangline.workflows.registry import load

        from .arguments import absolute_reference, read_inputs

        workflow = load(order.workflow)
        inputs = read_inputs(order.pairs, order.input_json, workflow.inputs)
        options = Options(
            order.deadline_s,
            order.budget_usd,
            order.model,
            absolute_reference(order.workflow),
            priority=order.priority,
            on_deadline=order.on_deadline,
            policy=order.policy,
            grants=tuple(order.grants),
        )
        with open_session(order.fleet) as session:
            if on_event is not None:
                return session.run(workflow, inputs, options, on_event).to_json()
            return _stored(session, workflow, inputs, options, order)

    def list(self, limit: int, after: str | None, status: str | None) -> Document:
        """Give one page of the store's jobs."""
        from gangline.runtime.local_jobs import list_jobs

        return list_jobs(limit=limit, after=after, status=status)

    def show(self, job: str) -> Document:
        """Give a job as it is stored."""
        from gangline.runtime.local_jobs import job_document

        return job_document(job)

    def follow(self, job: str) -> Iterator[Event]:
        """Give what the store holds, and look again until the job has stopped."""
        from gangline.runtime.store import Store

        with Store() as store:
            job_id, last = store.resolve(job), 0
            while True:
                # The status is read before the events: what stopped the job is then among them.
                status = store.job(job_id).status
                for event in store.events(job_id, last):
                    last = event.seq
                    yield event
                if status in STOPPED_STATUSES:
                    return
                time.sleep(LOOK_EVERY_S)

    def cancel(self, job: str) -> Document:
        """End a job: here, or by the server of this machine that runs it."""
        from gangline.runtime.local_jobs import cancel_job

        return cancel_job(job)

    def retry(
        self,
        job: str,
        inputs: Mapping[str, Any],
        rerun: Sequence[str],
        step: str | None,
        on_event: OnEvent,
    ) -> Document:
        """Go on with a job here."""
        from gangline.runtime.api import retry_job

        return retry_job(
            job,
            inputs=inputs,
            rerun=frozenset(rerun),
            from_step=step or "",
            fleet=self._fleet,
            on_event=on_event,
        ).to_json()

    def resume(self, job: str, interrupt: str, answer: str, on_event: OnEvent) -> Document:
        """Answer what a job asks, and go on with it here."""
        from gangline.runtime.api import resume_job
        from gangline.runtime.dispatch.answers import read_answer

        asked = self.show(job).get("interrupts", ())
        schema: dict[str, Any] = next(
            (row["schema"] for row in asked if interrupt in ("", row["id"])), {}
        )
        value = read_answer(answer, schema)
        return resume_job(job, interrupt, value, fleet=self._fleet, on_event=on_event).to_json()

    def fork(self, job: str, step: str, inputs: Mapping[str, Any], on_event: OnEvent) -> Document:
        """Run a new job from before a step of a job, here."""
        from gangline.runtime.api import fork_job

        return fork_job(job, step, inputs=inputs, fleet=self._fleet, on_event=on_event).to_json()


def _stored(
    session: Any, workflow: Any, inputs: Mapping[str, Any], options: Any, order: Order
) -> Document:
    """Store a job that nobody runs yet."""
    from gangline.runtime.dispatch.job import result_of
    from gangline.runtime.job_id import new_job_id

    job = session.job(workflow, inputs, options)
    now = time.time()
    queued = Event(new_job_id(now), 1, "job.queued", now, data=job.to_event_data())
    once = None
    if order.idempotency_key is not None:
        asked = json.dumps([order.workflow, inputs, repr(options)], sort_keys=True, default=str)
        once = (order.idempotency_key, hashlib.blake2b(asked.encode()).hexdigest())
    made = session.store.create(
        queued, workflow.name, "", priority=order.priority, idempotency=once
    ).result()
    return result_of(session.store.events(made.job_id)).to_json()
