"""One line of the job list: the projection a store keeps beside the events."""

from __future__ import annotations

from dataclasses import dataclass

from gangline.ir.specs.event import Event

_STATUS = {
    "job.queued": "queued",
    "job.started": "running",
    "job.input_required": "input_required",
    "job.completed": "succeeded",
    "job.failed": "failed",
    "job.cancelled": "cancelled",
    "job.expired": "expired",
}


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job in short. Times are seconds since the epoch, `seconds` is what it took."""

    id: str
    status: str
    workflow: str
    created_s: float
    updated_s: float
    seconds: float | None = None
    usd: float = 0.0
    late: bool = False
    last_seq: int = 0


@dataclass(slots=True)
class RowChange:
    """What a batch of events changes in a job's row."""

    status: str | None = None
    usd: float = 0.0
    seconds: float | None = None
    late: bool = False
    updated_s: float = 0.0
    last_seq: int = 0

    def add(self, event: Event) -> None:
        """Fold one event in."""
        self.status = _STATUS.get(event.type, self.status)
        self.updated_s, self.last_seq = event.at_s, event.seq
        if event.type in ("step.completed", "step.failed"):
            self.usd += event.data.get("usd") or 0.0
        if event.type == "job.completed":
            self.late = bool(event.data.get("late"))
            self.seconds = event.data.get("seconds")
