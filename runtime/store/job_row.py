"""One line of the job list: the projection a store keeps beside the events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.specs.event import LOCAL, STATUS_AFTER, STOPPED_STATUSES, Event

_LIMITING = frozenset({"job.started", "job.planned", "job.replanned"})


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job in short: the fold of its events, and what it was created with.

    Times are seconds since the epoch; `seconds` is what a completed job took. `started_s` is
    the first start, `ended_s` the end for good. `steps` counts attempts that ended. Tokens are
    of prefills and decodes. `control` is the kind of the newest request nobody has carried out,
    or empty. `owner` is empty where nobody holds the job.
    """

    id: str
    status: str
    workflow: str
    created_s: float
    updated_s: float
    seconds: float | None = None
    usd: float = 0.0
    late: bool = False
    last_seq: int = 0
    owner: str = ""
    epoch: int = 0
    tenant: str = LOCAL
    priority: int = 5
    deadline_at_s: float | None = None
    on_deadline: str = "late"
    budget_usd: float | None = None
    error_code: str = ""
    forked_from: str = ""
    predicted_s: float | None = None
    predicted_usd: float | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0
    steps: int = 0
    started_s: float | None = None
    ended_s: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    control: str = ""

    def after(self, change: RowChange) -> JobRow:
        """Give the row as the store has it once the job has stopped with this change."""
        values = {name: getattr(self, name) for name in self.__slots__}
        changed(values, change)
        values.update(late=bool(values["late"]), control="")
        return JobRow(**values)


def fresh_row(queued: Event, epoch: int) -> JobRow:
    """Give the row of a job that was just stored, without reading it back."""
    data = queued.data
    deadline_s = data["deadline_s"]
    predicted_s, predicted_usd = totals_of(data["plan"])
    return JobRow(
        id=queued.job_id,
        status="queued",
        workflow=data["workflow"],
        created_s=queued.at_s,
        updated_s=queued.at_s,
        last_seq=1,
        epoch=epoch,
        tenant=data["tenant"],
        priority=data["priority"],
        deadline_at_s=None if deadline_s is None else queued.at_s + deadline_s,
        on_deadline=data["on_deadline"],
        budget_usd=data["budget_usd"],
        forked_from=data.get("forked_from", ""),
        predicted_s=predicted_s,
        predicted_usd=predicted_usd,
        metadata=data["metadata"],
    )


@dataclass(slots=True)
class RowChange:
    """What some consecutive events change in a job's row.

    None means unchanged, except that `ended_s` and `error_code` go with `status`: if that is
    set, so are they.
    """

    first_seq: int = 0
    last_seq: int = 0
    updated_s: float = 0.0
    status: str | None = None
    ended_s: float | None = None
    error_code: str = ""
    started_s: float | None = None
    seconds: float | None = None
    late: bool = False
    usd: float = 0.0
    prompt_tokens: int = 0
    output_tokens: int = 0
    steps: int = 0
    predicted_s: float | None = None
    predicted_usd: float | None = None
    deadline_at_s: float | None = None
    budget_usd: float | None = None
    stops: list[Event] | None = None

    def add(self, event: Event) -> None:
        """Fold one event in."""
        kind = event.type
        self.last_seq, self.updated_s = event.seq, event.at_s
        if self.first_seq == 0:
            self.first_seq = event.seq
        if kind == "step.completed" or kind == "step.failed":
            self._step(event.data)
        elif kind in STATUS_AFTER:
            self._status(event)
        if kind in _LIMITING:
            self._limits(event)

    @property
    def is_steps_only(self) -> bool:
        """Say whether the job's status, plan, limits and lease stay as they are."""
        changed = (self.status, self.predicted_s, self.deadline_at_s, self.budget_usd, self.stops)
        return not any(value is not None for value in changed)

    def merged(self, later: RowChange) -> RowChange:
        """Give what this and then `later` change."""
        status_from = self if later.status is None else later
        plan_from = self if later.predicted_s is None else later
        return RowChange(
            first_seq=self.first_seq,
            last_seq=later.last_seq,
            updated_s=later.updated_s,
            status=status_from.status,
            ended_s=status_from.ended_s,
            error_code=status_from.error_code,
            started_s=later.started_s if self.started_s is None else self.started_s,
            seconds=_later(self.seconds, later.seconds),
            late=self.late or later.late,
            usd=self.usd + later.usd,
            prompt_tokens=self.prompt_tokens + later.prompt_tokens,
            output_tokens=self.output_tokens + later.output_tokens,
            steps=self.steps + later.steps,
            predicted_s=plan_from.predicted_s,
            predicted_usd=plan_from.predicted_usd,
            deadline_at_s=_later(self.deadline_at_s, later.deadline_at_s),
            budget_usd=_later(self.budget_usd, later.budget_usd),
            stops=[*(self.stops or ()), *(later.stops or ())] or None,
        )

    def _step(self, data: Mapping[str, Any]) -> None:
        self.steps += 1
        self.usd += data.get("usd") or 0.0
        # A decode repeats the prompt tokens of its prefill; each is counted where it was computed.
        op = data.get("op")
        if op in ("prefill", "embed"):
            self.prompt_tokens += data.get("prompt_tokens") or 0
        elif op == "decode":
            self.output_tokens += data.get("output_tokens") or 0

    def _status(self, event: Event) -> None:
        status = self.status = STATUS_AFTER[event.type]
        self.ended_s, self.error_code = None, ""
        if status == "running" and self.started_s is None:
            self.started_s = event.at_s
        if status == "succeeded":
            self.late = self.late or bool(event.data.get("late"))
            self.seconds = event.data.get("seconds")
        elif status in STOPPED_STATUSES:
            error = event.data.get("error")
            self.error_code = str(error.get("code", "")) if isinstance(error, Mapping) else ""
        if status in STOPPED_STATUSES:
            self.ended_s = None if status == "input_required" else event.at_s
            self.stops = [*(self.stops or ()), event]

    def _limits(self, event: Event) -> None:
        data = event.data
        if data.get("plan") is not None:
            self.predicted_s, self.predicted_usd = totals_of(data["plan"])
        if data.get("deadline_s") is not None:
            self.deadline_at_s = event.at_s + data["deadline_s"]
        if data.get("budget_usd") is not None:
            self.budget_usd = data["budget_usd"]


def changed(values: dict[str, Any], change: RowChange) -> None:
    """Fold a change into a row's values: in Python what `UPDATE_JOBS` does in SQL."""
    values["updated_s"], values["last_seq"] = change.updated_s, change.last_seq
    for name in ("usd", "prompt_tokens", "output_tokens", "steps"):
        values[name] += getattr(change, name)
    values["late"] = max(values["late"], int(change.late))
    if change.seconds is not None:
        values["seconds"] = change.seconds
    for name in ("deadline_at_s", "budget_usd"):
        if getattr(change, name) is not None:
            values[name] = getattr(change, name)
    if values["started_s"] is None:
        values["started_s"] = change.started_s
    if change.predicted_s is not None:
        values["predicted_s"], values["predicted_usd"] = change.predicted_s, change.predicted_usd
    if change.status is not None:
        values["status"] = change.status
        values["ended_s"], values["error_code"] = change.ended_s, change.error_code
    if change.stops:
        values["owner"] = ""


def _later(before: float | None, after: float | None) -> float | None:
    return before if after is None else after


def totals_of(plan: Any) -> tuple[float | None, float | None]:
    """Give seconds and US dollars of a plan, in JSON or not; None where there is none."""
    if plan is None:
        return None, None
    if isinstance(plan, Mapping):
        return plan.get("seconds"), plan.get("usd")
    return plan.seconds, plan.usd
