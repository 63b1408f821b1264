"""Log lines of jobs, failed steps and requests, with the ids to find them by."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from gangline.ir.specs.event import Event
from gangline.runtime.dispatch.outcome import DirectOutcome

from .access import Access
from .job_table import JobFacts

logger = logging.getLogger("gangline.jobs")
requests = logging.getLogger("gangline.requests")

# What goes well is in the metrics and on the page: at a thousand jobs a second, a line for each
# would cost more than the job.
_LEVELS = {
    "job.queued": logging.DEBUG,
    "job.started": logging.DEBUG,
    "job.completed": logging.DEBUG,
    "job.input_required": logging.WARNING,
    "job.cancelled": logging.WARNING,
    "job.expired": logging.WARNING,
    "job.failed": logging.ERROR,
    "step.retrying": logging.DEBUG,
    "step.failed": logging.WARNING,
}


class JobLog:
    """Log what happens to jobs; inputs, outputs and prompts never.

    Args:
        trace_id: gives the id of a job's trace, where traces are made.
    """

    def __init__(self, trace_id: Callable[[JobFacts], str] | None = None) -> None:
        self._trace_id = trace_id

    def tell(self, event: Event, job: JobFacts) -> None:
        """Log one event, if it is worth a line."""
        level = _LEVELS.get(event.type)
        if level is None or not logger.isEnabledFor(level):
            return
        facts: dict[str, Any] = {"event": event.type, "workflow": job.workflow}
        if event.type == "job.completed":
            facts |= {"seconds": round(event.at_s - job.queued_s, 6), "usd": job.usd}
            facts["late"] = bool(event.data.get("late"))
        error = event.data.get("error")
        if isinstance(error, dict):
            # What a tool or a model said stays out: the code says enough to look it up.
            facts |= {"code": error.get("code"), "where": error.get("where")}
        extra = {
            "job_id": job.job_id,
            "step_id": event.step_id,
            "tenant": job.tenant,
            "trace_id": self._trace_id(job) if self._trace_id else _given(job.trace),
            "facts": facts,
        }
        code = f" ({facts['code']})" if facts.get("code") else ""
        logger.log(level, "%s %s%s", event.type, job.workflow, code, extra=extra)

    def request(self, access: Access) -> None:
        """Log a request: one that failed by the server's fault always, others for debugging."""
        level = logging.ERROR if access.status >= 500 else logging.DEBUG
        if requests.isEnabledFor(level):
            extra = {
                "tenant": access.tenant,
                "trace_id": access.trace_id,
                "request_id": access.request_id,
                "facts": {"seconds": round(access.seconds, 6), "status": access.status},
            }
            told = (access.method[:20], access.route or "(no route)", access.status)
            requests.log(level, "%s %s %s", *told, extra=extra)

    def direct(self, outcome: DirectOutcome) -> None:
        """Nothing: the HTTP request that it served says enough."""

    def close(self) -> None:
        """Nothing is left to send."""


def _given(traceparent: str) -> str:
    parts = traceparent.split("-")
    return parts[1] if len(parts) > 2 else ""
