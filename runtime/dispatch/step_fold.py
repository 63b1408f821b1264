"""Fold a job's events into its step records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from gangline.ir.specs.event import STEP_STATUS_AFTER, STOP_EVENTS, Event, StepRecord

_Row = Event | StepRecord | dict[str, Any]
"""A step that has only started; one that is over; what is known of any other."""


def fold_steps(events: Iterable[Event]) -> list[StepRecord]:
    """Give one record per step, in the order the steps first appeared.

    Start and end are seconds since the job started; a retried step shows its last attempt and
    the money of all.
    """
    fold = StepFold()
    for event in events:
        fold.add(event)
    return fold.records()


class StepFold:
    """Records of a job's steps, kept up event by event."""

    def __init__(self) -> None:
        self._steps: dict[str, _Row] = {}
        self._origin_s: float | None = None
        self._stopped = False
        self._asking = False

    def add(self, event: Event) -> None:
        """Fold one event in."""
        if event.type in STEP_STATUS_AFTER:
            self._step(event)
            return
        if event.type == "job.started":
            self._origin_s = event.at_s if self._origin_s is None else self._origin_s
            for step_id in event.data.get("dropped", ()):
                self._steps.pop(step_id, None)
        self._stopped = event.type in STOP_EVENTS or (self._stopped and event.type != "job.started")
        self._asking = event.type == "job.input_required" or (
            self._asking and event.type.startswith("step.")
        )

    def records(self) -> list[StepRecord]:
        """Give the records so far; a step that a stopped job left running is `cancelled`."""
        return [
            row if isinstance(row, StepRecord) else self._record(step_id, self._facts(row))
            for step_id, row in self._steps.items()
        ]

    def _step(self, event: Event) -> None:
        row = self._steps.get(event.step_id)
        if row is None and event.type == "step.started":
            # Most steps start once and complete: until then the event itself says it all.
            self._steps[event.step_id] = event
            return
        facts = self._facts(row)
        if event.type == "step.started":
            facts["start_s"] = event.at_s - (self._origin_s or 0.0)
            facts["error"] = facts["end_s"] = None
        spent = facts["usd_before"]
        facts.update(event.data)
        facts.pop("value", None)  # may be large, and no record shows it
        facts["status"] = STEP_STATUS_AFTER[event.type]
        if event.data.get("usd") is not None:
            facts["usd"] = facts["usd_before"] = spent + event.data["usd"]
        # A record takes a quarter of what the facts do, and most steps are over.
        over = event.type == "step.completed"
        self._steps[event.step_id] = self._record(event.step_id, facts) if over else facts

    def _facts(self, row: _Row | None) -> dict[str, Any]:
        """Give what is known of a step as facts that may be changed."""
        if row is None:
            return {"usd_before": 0.0}
        if isinstance(row, StepRecord):
            return {**asdict(row), "usd_before": row.usd or 0.0}
        if isinstance(row, dict):
            return row
        start_s = row.at_s - (self._origin_s or 0.0)
        facts = {"usd_before": 0.0, "start_s": start_s, **row.data, "status": "running"}
        if facts.get("usd") is not None:
            facts["usd_before"] = facts["usd"]
        return facts

    def _record(self, step_id: str, facts: Mapping[str, Any]) -> StepRecord:
        get = facts.get
        start_s, end_s = get("start_s"), get("end_s")
        status = facts["status"]
        asked = self._asking and get("op") == "ask"
        left = self._stopped and status in ("running", "queued") and not asked
        return StepRecord(
            id=step_id,
            parents=tuple(get("parents", ())),
            op=get("op", ""),
            stage=get("stage", ""),
            device=get("device", ""),
            status="cancelled" if left else status,
            start_s=start_s,
            end_s=end_s,
            predicted_s=get("predicted_s"),
            actual_s=None if start_s is None or end_s is None else end_s - start_s,
            prompt_tokens=get("prompt_tokens"),
            cached_tokens=get("cached_tokens"),
            output_tokens=get("output_tokens"),
            usd=get("usd"),
            predicted_usd=get("predicted_usd"),
            kernels=get("kernels"),
            error=get("error"),
            from_job=get("from_job"),
        )
