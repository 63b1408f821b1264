"""What waits for the writer: appends, creations, releases, and whatever runs on its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.errors import ConflictError, LeaseLost, StoreError
from gangline.ir.specs.event import LOCAL, Event

from .codec import Codec, EventRow, encode, encode_all
from .database import Database
from .job_row import RowChange, changed, totals_of
from .records import Created, NewJob
from .ticket import Call, Ticket


@dataclass(slots=True, eq=False)
class Append:
    """Events of one job, encoded and folded."""

    job_id: str
    epoch: int
    rows: list[EventRow]
    change: RowChange
    ticket: Ticket[None] = field(default_factory=Ticket)


@dataclass(slots=True, eq=False)
class Release:
    """The lease of a job given back."""

    job_id: str
    epoch: int
    ticket: Ticket[None] = field(default_factory=Ticket)


@dataclass(slots=True, eq=False)
class Create:
    """A new job: its row's values and its first event. `then` follows the ticket."""

    new: NewJob
    tenant: str
    row: EventRow
    more: list[EventRow]
    documents: Mapping[str, str]
    values: dict[str, Any]
    ticket: Ticket[Created] = field(default_factory=Ticket)
    then: Callable[[], list[Call]] | None = None

    @property
    def key(self) -> tuple[str, str] | None:
        """Who called with which idempotency key; None without one."""
        idempotency = self.new.idempotency
        return None if idempotency is None else (self.tenant, idempotency[0])


@dataclass(slots=True, eq=False)
class Task:
    """Anything else: called once or more within a transaction, it must only use the database."""

    run: Callable[[Database], Any]
    ticket: Ticket[Any] = field(default_factory=Ticket)


Operation = Append | Release | Create | Task

JOB_COLUMNS = (
    "id",
    "status",
    "workflow",
    "created_s",
    "updated_s",
    "seconds",
    "usd",
    "late",
    "last_seq",
    "owner",
    "epoch",
    "tenant",
    "priority",
    "deadline_at_s",
    "on_deadline",
    "budget_usd",
    "error_code",
    "forked_from",
    "predicted_s",
    "predicted_usd",
    "prompt_tokens",
    "output_tokens",
    "steps",
    "started_s",
    "ended_s",
    "metadata",
    "webhook",
    "program_ref",
    "plan_ref",
    "idempotency_key",
    "body_hash",
)


def lost(job_id: str) -> LeaseLost:
    """Tell an owner that its lease is over."""
    return LeaseLost(
        f"Another owner has taken over job {job_id}",
        next_step="Nothing is lost: see `gangline jobs show` for where it stands.",
    )


def unknown(job_id: str) -> StoreError:
    """Tell that there is no such job."""
    return StoreError(
        f"No job has the id {job_id!r}", next_step="See `gangline jobs list` for the jobs stored."
    )


def gap(job_id: str, seq: int, last_seq: int) -> StoreError:
    """Tell that an event's number does not follow."""
    return StoreError(
        f"Event {seq} of job {job_id} does not follow event {last_seq}",
        next_step="Continue the job from what is stored: gangline jobs retry.",
    )


def exists(job_id: str) -> ConflictError:
    """Tell that the id of a new job is in use."""
    return ConflictError(
        "A job with this id exists already",
        where=job_id,
        next_step="Leave the id out, or make a new one; an Idempotency-Key makes a call repeatable.",
    )


def queued_values(queued: Event, workflow: str) -> dict[str, Any]:
    """Give a row's values after the first event of its job, which nobody holds."""
    data = queued.data
    predicted_s, predicted_usd = totals_of(data.get("plan"))
    deadline_s = data.get("deadline_s")
    return {
        "id": queued.job_id,
        "status": "queued",
        "workflow": workflow,
        "created_s": queued.at_s,
        "updated_s": queued.at_s,
        "seconds": None,
        "usd": 0.0,
        "late": 0,
        "last_seq": queued.seq,
        "owner": "",
        "epoch": 0,
        "tenant": data.get("tenant") or LOCAL,
        "priority": 5 if data.get("priority") is None else data["priority"],
        "deadline_at_s": None if deadline_s is None else queued.at_s + deadline_s,
        "on_deadline": data.get("on_deadline") or "late",
        "budget_usd": data.get("budget_usd"),
        "error_code": "",
        "forked_from": data.get("forked_from") or "",
        "predicted_s": predicted_s,
        "predicted_usd": predicted_usd,
        "prompt_tokens": 0,
        "output_tokens": 0,
        "steps": 0,
        "started_s": None,
        "ended_s": None,
        "metadata": encode(dict(data.get("metadata") or {}), "metadata"),
        "webhook": "",
        "program_ref": "",
        "plan_ref": "",
        "idempotency_key": "",
        "body_hash": "",
    }


def create_of(new: NewJob, codec: Codec) -> Create:
    """Encode a job to create; StoreError for what is no JSON."""
    row, documents, references = codec.queued(new.queued)
    values = queued_values(new.queued, new.workflow)
    for name in ("tenant", "priority", "forked_from"):
        given = getattr(new, name)
        if given is not None:
            values[name] = given
    if new.owner:
        values["owner"], values["epoch"] = new.owner, 1
    if new.idempotency is not None:
        values["idempotency_key"], values["body_hash"] = new.idempotency
    if new.webhook is not None:
        values["webhook"] = json.dumps(dict(new.webhook))
    values["program_ref"] = references.get("program", "")
    values["plan_ref"] = references.get("plan", "")
    if new.more:
        change = RowChange()
        for event in new.more:
            change.add(event)
        owner = values["owner"]
        changed(values, change)
        values["owner"] = owner  # a fork begins anew, however its source ended
    return Create(new, values["tenant"], row, encode_all(new.more), documents, values)
