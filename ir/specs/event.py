"""Job events: the append-only log a job's state is folded from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JOB_EVENTS = (
    "job.queued",
    "job.planned",
    "job.started",
    "job.replanned",
    "job.input_required",
    "job.completed",
    "job.failed",
    "job.cancelled",
    "job.expired",
)
STEP_EVENTS = (
    "step.queued",
    "step.started",
    "step.planned",  # of an expand: a line of the plan that is being written
    "step.delta",  # streamed only, never stored
    "step.completed",
    "step.failed",
    "step.retrying",
)
JOB_STATUSES = (
    "queued",
    "running",
    "input_required",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
    "rejected",
)
FINAL_STATUSES = frozenset({"succeeded", "failed", "cancelled", "expired", "rejected"})
STOPPED_STATUSES = FINAL_STATUSES | {"input_required"}
"""Statuses in which nothing happens to a job until somebody asks for it."""

STATUS_AFTER: Mapping[str, str] = {
    "job.queued": "queued",
    "job.started": "running",
    "job.input_required": "input_required",
    "job.completed": "succeeded",
    "job.failed": "failed",
    "job.cancelled": "cancelled",
    "job.expired": "expired",
}
"""A job's status after an event; other events leave it as it is."""
STEP_STATUS_AFTER: Mapping[str, str] = {
    "step.queued": "queued",
    "step.started": "running",
    "step.completed": "succeeded",
    "step.failed": "failed",
    "step.retrying": "queued",
}
"""A step's status after an event of it."""
STOP_EVENTS = frozenset(kind for kind, status in STATUS_AFTER.items() if status in STOPPED_STATUSES)
"""Events after which nothing happens to a job until somebody asks for it."""
END_EVENTS = STOP_EVENTS - {"job.input_required"}
"""Events after which a job is over, unless somebody retries it."""
LOCAL = "local"
"""The tenant of jobs that name none: those run from Python, the command line, or without keys."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a job.

    `seq` counts from 1 within the job and has no holes; `at_s` is seconds since the epoch;
    `step_id` is empty for job events; `data` is JSON.
    """

    job_id: str
    seq: int
    type: str
    at_s: float
    step_id: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One execution of a stage, as every `--json` document and the REST API show it.

    `op` is the operation (`prefill`, `decode`, `tool`, ...), `stage` the name of the program's
    stage (`draft.prefill`), `id` unique in the job, `parents` the ids of the steps whose results
    it read. `start_s` and `end_s` are seconds since the job started. `from_job` names the job that
    ran the step, where a fork took its result over; it has no times of its own then.
    """

    id: str
    parents: tuple[str, ...]
    op: str
    stage: str
    device: str
    status: str
    start_s: float | None = None
    end_s: float | None = None
    predicted_s: float | None = None
    actual_s: float | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    predicted_usd: float | None = None
    kernels: Mapping[str, str] | None = None
    error: Mapping[str, str] | None = None
    from_job: str | None = None
