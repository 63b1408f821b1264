"""A job as the server shows it, and what of it a caller may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from gangline.ir.errors import GanglineError, JobError, ServiceError, from_json
from gangline.ir.specs.event import FINAL_STATUSES


@dataclass(frozen=True, slots=True)
class JobView:
    """What `GET /v1/jobs/{id}` says of a job.

    Times (`*_s`) are seconds since the epoch. `predicted` and `actual` hold `seconds` and `usd`.
    `interrupt` (`id`, `question`, `schema`, `choices`) is there while a person is asked. Rows
    of a list have no output, no details of an error and no interrupt. `document` is all that
    the server said, also what this version knows nothing of.
    """

    id: str
    status: str
    workflow: str = ""
    created_s: float = 0.0
    started_s: float | None = None
    ended_s: float | None = None
    updated_s: float = 0.0
    deadline_s: float | None = None
    on_deadline: str = "late"
    late: bool = False
    priority: int = 5
    budget_usd: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tenant: str = ""
    predicted: Mapping[str, float | None] = field(default_factory=dict)
    actual: Mapping[str, float | None] = field(default_factory=dict)
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    output: Any = None
    error: Mapping[str, Any] | None = None
    interrupt: Mapping[str, Any] | None = None
    forked_from: str | None = None
    position: int | None = None
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read a job document; ServiceError if it is none."""
        if not isinstance(document, Mapping) or not {"id", "status"} <= set(document):
            raise ServiceError(
                "The server's answer is not a job",
                next_step="Check the address: something else may answer there.",
            )
        known = {name: document[name] for name in _FIELDS if name in document}
        return cls(**known, document=document)

    @property
    def ended(self) -> bool:
        """The job will not change any more, unless somebody retries it."""
        return self.status in FINAL_STATUSES

    @property
    def stopped(self) -> bool:
        """The job has ended, or waits for a person."""
        return self.ended or self.status == "input_required"

    def exception(self) -> GanglineError | None:
        """Give why a stopped job has no output, typed by its code; None for one that has."""
        if self.status == "succeeded" or not self.stopped:
            return None
        if self.interrupt is not None:
            return JobError(
                f"The job waits for an answer: {self.interrupt.get('question', '')}",
                where=str(self.interrupt.get("id", "")),
                next_step="Answer it with resume(job, interrupt, value).",
            )
        told = {key: str(value) for key, value in (self.error or {}).items() if value is not None}
        return from_json({"code": "job", "detail": f"The job is {self.status}", **told})


_FIELDS = tuple(row.name for row in fields(JobView) if row.name != "document")
