"""A job to run, and the document of a job that ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gangline.ir.errors import InputError
from gangline.ir.program import Program
from gangline.ir.specs.event import Event, StepRecord
from gangline.ir.specs.plan import Plan

from .job_errors import unanswered
from .programs import plan_document, program_document
from .step_fold import fold_steps

_HIDDEN = ("kernels", "error")
LOCAL = "local"
"""The tenant of jobs that are run from Python or the command line."""
DEFAULT_PRIORITY = 5
ON_DEADLINE = ("late", "expire")


@dataclass(frozen=True, slots=True)
class Job:
    """A compiled workflow with its inputs and limits.

    Attributes:
        device: where stages run that the plan does not cover (or all, without a plan).
        source: how the workflow was named (`text_to_sql`, `file.py:name`), so that a later
            process can load its tools again.
        on_deadline: `late` lets a late job finish and marks it; `expire` ends it.
        priority: 0 to 9, higher is sooner.
        metadata: text of the caller's own, given back as it is.
        forked_from: id of the job whose recorded steps this one began with.
    """

    workflow: str
    program: Program
    inputs: Mapping[str, Any]
    plan: Plan | None = None
    deadline_s: float | None = None
    budget_usd: float | None = None
    device: str = ""
    source: str = ""
    tenant: str = LOCAL
    priority: int = DEFAULT_PRIORITY
    on_deadline: str = "late"
    metadata: Mapping[str, str] = field(default_factory=dict)
    forked_from: str = ""

    def to_event_data(self, as_json: bool = True) -> dict[str, Any]:
        """Give the data of the job.queued event; InputError if an input or a limit is wrong.

        With `as_json` False the program stays an object, for jobs that are never stored.
        """
        check_inputs(self.program, self.inputs)
        if self.on_deadline not in ON_DEADLINE:
            raise InputError(
                f"on_deadline is {self.on_deadline!r}",
                where="on_deadline",
                next_step=f"Give one of {', '.join(ON_DEADLINE)}.",
            )
        program = self.program
        deadline_s = program.deadline_s if self.deadline_s is None else self.deadline_s
        budget_usd = program.budget_usd if self.budget_usd is None else self.budget_usd
        return {
            "workflow": self.workflow,
            "program": program_document(program) if as_json else program,
            "program_hash": program.hash,
            "inputs": dict(self.inputs),
            "plan": plan_document(self.plan) if self.plan else None,
            "deadline_s": deadline_s,
            "budget_usd": budget_usd,
            "device": self.device,
            "source": self.source,
            "tenant": self.tenant,
            "priority": self.priority,
            "on_deadline": self.on_deadline,
            "metadata": dict(self.metadata),
            "forked_from": self.forked_from,
        }


def check_inputs(program: Program, inputs: Mapping[str, Any]) -> None:
    """Raise InputError if an input is missing, or is not one of the program's."""
    names = [row.name for row in program.inputs]
    missing = [row.name for row in program.inputs if row.required and row.name not in inputs]
    unknown = [name for name in inputs if name not in names]
    if missing or unknown:
        what = f"lacks {', '.join(missing)}" if missing else f"does not take {', '.join(unknown)}"
        raise InputError(
            f"The call of {program.name} {what}",
            where=program.name,
            next_step=f"Its inputs are: {', '.join(names) or 'none'}.",
        )


def missing_secret(name: str) -> InputError:
    """Tell that an input had a secret in it, which is never stored."""
    return InputError(
        f"The password in the input {name!r} was not stored",
        where=name,
        next_step=f"Give it again: -i {name}=...",
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """Seconds and US dollars of a whole job; None where nothing was predicted."""

    seconds: float | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """What `gangline run --json` prints (schema: docs/schemas/job_result.json)."""

    job_id: str
    workflow: str
    status: str
    output: Any = None
    steps: Sequence[StepRecord] = ()
    predicted: Totals = field(default_factory=Totals)
    actual: Totals = field(default_factory=Totals)
    error: Mapping[str, str] | None = None
    late: bool = False
    interrupts: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        """Give the document; `error` and `interrupts` (questions) only if there are some."""
        document: dict[str, Any] = {
            "status": self.status,
            "output": self.output,
            "job_id": self.job_id,
            "workflow": self.workflow,
            "late": self.late,
            "steps": [_step(record) for record in self.steps],
            "predicted": asdict(self.predicted),
            "actual": asdict(self.actual),
        }
        if self.error is not None:
            document["error"] = dict(self.error)
        if self.interrupts:
            document["interrupts"] = [dict(row) for row in self.interrupts]
        return document


def _step(record: StepRecord) -> dict[str, Any]:
    document = {name: value for name, value in asdict(record).items() if name not in _HIDDEN}
    document["parents"] = list(record.parents)
    document.update(
        (name, dict(value)) for name in _HIDDEN if (value := getattr(record, name)) is not None
    )
    return document


def result_of(events: Sequence[Event]) -> JobResult:
    """Fold a job's events into its document; the job may be in any state."""
    status, output, error, late = "queued", None, None, False
    asked: Sequence[Mapping[str, Any]] = ()
    usd, started_s, predicted = 0.0, events[0].at_s, _predicted(events[0])
    for event in events:
        usd += event.data.get("usd", 0.0) or 0.0 if event.type.startswith("step.") else 0.0
        match event.type:
            case "job.started":
                status, error, asked = "running", None, ()
                started_s = started_s if event.data.get("resumed") else event.at_s
            case "job.completed":
                status, output, late = "succeeded", event.data["output"], event.data["late"]
            case "job.failed" | "job.cancelled" | "job.expired" | "job.input_required":
                status, error = event.type.removeprefix("job."), event.data.get("error")
                asked = event.data.get("interrupts", ())
            case "step.completed" | "step.retrying" if asked:
                asked = [row for row in asked if row["id"] != event.step_id]
    if asked and error is None:
        error = unanswered(events[0].job_id, asked[0]["question"], asked[0]["id"]).to_json()
    return JobResult(
        job_id=events[0].job_id,
        workflow=events[0].data.get("workflow", ""),
        status=status,
        output=output,
        steps=fold_steps(events),
        predicted=predicted,
        actual=Totals(events[-1].at_s - started_s, usd),
        error=error,
        late=late,
        interrupts=tuple(asked),
    )


def _predicted(queued: Event) -> Totals:
    plan = queued.data.get("plan")
    return Totals(plan["seconds"], plan["usd"]) if plan else Totals()
