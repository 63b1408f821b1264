"""When a job ends whatever it does."""

from __future__ import annotations

from typing import Any

from gangline.ir.specs.event import Event
from gangline.runtime.dispatch.hard_deadline import expires_s


def log(*rows: tuple[str, float, dict[str, Any]]) -> list[Event]:
    return [Event("a", seq, kind, at_s, "", data) for seq, (kind, at_s, data) in enumerate(rows, 1)]


def queued(on_deadline: str = "expire", deadline_s: float | None = 5.0) -> tuple[str, float, Any]:
    return "job.queued", 100.0, {"on_deadline": on_deadline, "deadline_s": deadline_s}


def test_a_job_expires_when_its_time_is_over() -> None:
    assert expires_s(log(queued())) == 105.0
    assert expires_s(log(queued(), ("job.started", 103.0, {}))) == 105.0  # a start gives no more


def test_a_job_that_may_be_late_never_expires() -> None:
    assert expires_s(log(queued(on_deadline="late"))) is None
    assert expires_s(log(queued(deadline_s=None))) is None
    assert expires_s(log(("job.queued", 100.0, {}))) is None


def test_a_retry_or_a_new_deadline_counts_from_its_own_time() -> None:
    retried = ("job.started", 200.0, {"resumed": True, "deadline_s": 5.0})
    assert expires_s(log(queued(), retried)) == 205.0
    assert expires_s(log(queued(), retried, ("job.replanned", 201.0, {"deadline_s": 1.0}))) == 202.0
