"""The documents of jobs that REST, the page and the command line show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gangline.ir.specs.event import Event
from gangline.runtime.store.job_row import JobRow

_OURS = frozenset({"program", "plan", "source"})
_DETAIL = ("output", "error", "interrupt")


def job_row(row: JobRow, position: int | None = None) -> dict[str, Any]:
    """Give one job as lists show it: without output, error and interrupt.

    Times are seconds since the epoch; `deadline_s` too; null is what is not known (yet).
    `position` is how many of the tenant's own jobs wait before it here.
    """
    link = f"/v1/jobs/{row.id}"
    return {
        "id": row.id,
        "workflow": row.workflow,
        "status": row.status,
        "created_s": row.created_s,
        "started_s": _finite(row.started_s),
        "ended_s": _finite(row.ended_s),
        "updated_s": row.updated_s,
        "deadline_s": _finite(row.deadline_at_s),
        "on_deadline": row.on_deadline or "late",
        "late": row.late,
        "priority": row.priority,
        "budget_usd": _finite(row.budget_usd),
        "metadata": dict(row.metadata),
        "tenant": row.tenant,
        "predicted": {"seconds": _finite(row.predicted_s), "usd": _finite(row.predicted_usd)},
        "actual": {"seconds": row.seconds, "usd": row.usd},
        "prompt_tokens": row.prompt_tokens,
        "output_tokens": row.output_tokens,
        "error_code": row.error_code or None,
        "forked_from": row.forked_from or None,
        "position": position,
        "last_seq": row.last_seq,
        "links": {
            "self": link,
            "steps": f"{link}/steps",
            "events": f"{link}/events",
            "plan": f"{link}/plan",
            "graph": f"{link}/graph",
        },
    }


def job_resource(
    row: JobRow, last: Event | None = None, position: int | None = None
) -> dict[str, Any]:
    """Give one job whole (schema: docs/schemas/job.json).

    Args:
        last: the job's last event, which holds its output, error or question once it stopped.
    """
    document = job_row(row, position)
    document.update(dict.fromkeys(_DETAIL))
    data: Mapping[str, Any] = last.data if last is not None else {}
    if last is not None and last.type == "job.completed":
        document["output"] = data.get("output")
    elif last is not None and last.type.startswith("job."):
        document["error"] = data.get("error")
    if last is not None and last.type == "job.input_required":
        document["interrupt"] = data.get("interrupt")
    return document


def event_document(event: Event) -> dict[str, Any]:
    """Give one event as REST streams it (schema: docs/schemas/event.json).

    The program and the plan of `job.queued` are left out: `/graph` and `/plan` show them. So is
    the workflow's source, a place on the server.
    """
    data = event.data
    if event.type == "job.queued":
        data = {name: value for name, value in data.items() if name not in _OURS}
    return {
        "job_id": event.job_id,
        "seq": event.seq,
        "type": event.type,
        "at_s": event.at_s,
        "step_id": event.step_id,
        "data": dict(data),
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value
