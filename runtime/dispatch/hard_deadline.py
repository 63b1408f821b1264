"""When a job ends whatever it does, read from its log."""

from __future__ import annotations

from collections.abc import Sequence

from gangline.ir.specs.event import Event


def expires_s(events: Sequence[Event]) -> float | None:
    """Give the hard deadline, seconds since the epoch; None for a job that may be late."""
    queued = events[0]
    if queued.data.get("on_deadline") != "expire":
        return None
    at_s, limit = queued.at_s, queued.data.get("deadline_s")
    for event in events[1:]:
        if event.type in ("job.started", "job.replanned") and event.data.get("deadline_s"):
            at_s, limit = event.at_s, event.data["deadline_s"]
    return None if limit is None else at_s + limit
