"""Events folded into step records and job documents."""

from __future__ import annotations

from typing import Any

from gangline.ir.specs.event import Event
from gangline.runtime.dispatch.job import result_of
from gangline.runtime.dispatch.step_fold import fold_steps


def log(*rows: tuple[str, str, dict[str, Any]]) -> list[Event]:
    head: list[tuple[str, str, dict[str, Any]]] = [
        ("job.queued", "", {"workflow": "w"}),
        ("job.started", "", {}),
    ]
    return [
        Event("j", seq, kind, 100.0 + seq, step, data)
        for seq, (kind, step, data) in enumerate([*head, *rows], 1)
    ]


STARTED = {"op": "tool", "stage": "ask", "device": "cpu/0", "parents": ["before"]}


def test_a_retried_step_shows_its_last_attempt_and_all_its_money() -> None:
    (record,) = fold_steps(
        log(
            ("step.started", "ask", STARTED),
            ("step.failed", "ask", {"end_s": 2.0, "usd": 0.5, "error": {"code": "step"}}),
            ("step.retrying", "ask", {}),
            ("step.started", "ask", STARTED),
            ("step.completed", "ask", {"start_s": 5.0, "end_s": 6.5, "usd": 0.25}),
        )
    )
    assert (record.status, record.usd, record.error) == ("succeeded", 0.75, None)
    assert (record.start_s, record.end_s, record.actual_s) == (5.0, 6.5, 1.5)
    assert record.parents == ("before",)


def test_a_running_step_is_shown_until_the_job_stops() -> None:
    running = log(("step.started", "ask", STARTED))
    (record,) = fold_steps(running)
    assert (record.status, record.start_s, record.end_s) == ("running", 1.0, None)
    (record,) = fold_steps([*running, Event("j", 4, "job.cancelled", 105.0)])
    assert record.status == "cancelled"
    again = [Event("j", 4, "job.cancelled", 105.0), Event("j", 5, "job.started", 106.0)]
    (record,) = fold_steps([*running, *again])
    assert record.status == "running"


def test_the_document_of_any_state() -> None:
    queued = result_of(log()[:1])
    assert (queued.status, queued.output, queued.error) == ("queued", None, None)
    failed = result_of(log(("job.failed", "", {"error": {"code": "step"}})))
    assert failed.status == "failed" and failed.to_json()["error"] == {"code": "step"}
    retried = log(("job.failed", "", {"error": {}}), ("job.started", "", {"resumed": True}))
    assert result_of(retried).status == "running" and "error" not in result_of(retried).to_json()
    assert result_of(retried).actual.seconds == 2.0  # since it first started


def test_a_step_that_is_told_to_have_ended_twice_keeps_its_money() -> None:
    """A record made when the step ended is taken up again, whatever the log then says."""
    (record,) = fold_steps(
        log(
            ("step.started", "ask", STARTED),
            ("step.completed", "ask", {"start_s": 1.0, "end_s": 2.0, "usd": 0.5}),
            ("step.started", "ask", STARTED),
            ("step.completed", "ask", {"start_s": 3.0, "end_s": 4.5, "usd": 0.25}),
        )
    )
    assert (record.usd, record.actual_s, record.stage) == (0.75, 1.5, "ask")
