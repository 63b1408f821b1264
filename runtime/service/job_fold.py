"""Fold a job's events into totals per stage: what graphs and plan reports show of 10,000 steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.specs.event import STATUS_AFTER, STEP_STATUS_AFTER, STOP_EVENTS, Event

_TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")


@dataclass(slots=True)
class StageTotals:
    """All steps of one stage together.

    `seconds` and `usd` are sums over the steps that ended (a retried step counts its last time
    and the money of all attempts); `start_s` and `end_s` are the first start and the last end,
    in seconds since the job started.
    """

    stage: str
    op: str = ""
    devices: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    start_s: float | None = None
    end_s: float | None = None
    seconds: float = 0.0
    usd: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    error: Mapping[str, Any] | None = None

    @property
    def ended(self) -> int:
        """Steps that succeeded."""
        return self.counts.get("succeeded", 0)


@dataclass(slots=True)
class _Step:
    stage: StageTotals
    status: str = ""
    start_s: float | None = None
    seconds: float = 0.0


class JobFold:
    """A job's status and its stages, kept up event by event."""

    def __init__(self) -> None:
        self.status = "queued"
        self.last_seq = 0
        self.stages: dict[str, StageTotals] = {}
        self.queued: Mapping[str, Any] = {}
        self.seconds = 0.0
        self.usd = 0.0
        self._steps: dict[str, _Step] = {}
        self._origin_s: float | None = None

    @property
    def stopped(self) -> bool:
        """Say whether the job runs no more, for now or for good."""
        return self.status not in ("queued", "running")

    def add(self, events: Iterable[Event]) -> None:
        """Fold events in, in order; one that was folded already is passed over."""
        for event in events:
            if event.seq <= self.last_seq:
                continue
            self.last_seq = event.seq
            if event.type in STEP_STATUS_AFTER:
                self._step(event)
            elif event.type in STATUS_AFTER:
                self._job(event)

    def _job(self, event: Event) -> None:
        self.status = STATUS_AFTER[event.type]
        if event.type == "job.queued":
            self.queued = event.data
        if event.type == "job.started" and self._origin_s is None:
            self._origin_s = event.at_s
        if event.type in STOP_EVENTS and self._origin_s is not None:
            self.seconds = event.at_s - self._origin_s

    def _step(self, event: Event) -> None:
        step, data = self._steps.get(event.step_id), event.data
        if step is None:
            step = self._steps[event.step_id] = _Step(self._totals(event))
        totals, status = step.stage, STEP_STATUS_AFTER[event.type]
        if step.status:
            totals.counts[step.status] -= 1
        totals.counts[status] = totals.counts.get(status, 0) + 1
        step.status = status
        if data.get("device"):
            totals.devices.add(data["device"])
        if event.type == "step.started":
            step.start_s = event.at_s - (self._origin_s or event.at_s)
            totals.start_s = _least(totals.start_s, step.start_s)
        elif event.type in ("step.completed", "step.failed"):
            self._ended(step, data)
        if event.type == "step.failed":
            totals.error = data.get("error")

    def _ended(self, step: _Step, data: Mapping[str, Any]) -> None:
        totals, usd = step.stage, data.get("usd") or 0.0
        start_s, end_s = data.get("start_s", step.start_s), data.get("end_s")
        if start_s is not None and end_s is not None:
            totals.seconds += end_s - start_s - step.seconds
            step.seconds = end_s - start_s
            totals.start_s = _least(totals.start_s, start_s)
            totals.end_s = end_s if totals.end_s is None else max(totals.end_s, end_s)
        totals.usd += usd
        self.usd += usd
        for name in _TOKENS:
            setattr(totals, name, getattr(totals, name) + (data.get(name) or 0))

    def _totals(self, event: Event) -> StageTotals:
        name = event.data.get("stage") or event.step_id
        totals = self.stages.get(name)
        if totals is None:
            totals = self.stages[name] = StageTotals(name, event.data.get("op", ""))
        return totals


def stage_status(totals: StageTotals | None, stopped: bool) -> str:
    """Give one word for all steps of a stage.

    `pending` is a stage that no step was seen of (yet); what a stopped job left running is
    `cancelled`.
    """
    if totals is None:
        return "pending"
    counts = totals.counts
    unfinished = counts.get("running", 0) + counts.get("queued", 0)
    if stopped and unfinished and not counts.get("failed"):
        return "cancelled"
    for status in ("failed", "running", "queued"):
        if counts.get(status) and not (stopped and status != "failed"):
            return status
    return "succeeded" if counts.get("succeeded") else "pending"


def _least(known: float | None, seen: float) -> float:
    return seen if known is None else min(known, seen)
