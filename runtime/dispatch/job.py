"""A job to run, and the document of a job that ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gangline.ir.errors import InputError
from gangline.ir.program import Program
from gangline.ir.specs.event import LOCAL, Event, StepRecord
from gangline.ir.specs.finding import Finding
from gangline.ir.specs.plan import Plan
from gangline.ir.specs.policy import Policy
from gangline.runtime.redact import masked_input

from .job_errors import unanswered
from .policing import documents
from .programs import plan_document, program_document
from .step_fold import StepFold

_HIDDEN = ("kernels", "error", "from_job")
DEFAULT_PRIORITY = 5
DEFAULT_POLICY = Policy()
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
        policy: what its graph and its plans may do; not recorded where it is the default.
        findings: what was found against it before the run: a person is asked first.
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
    policy: Policy = DEFAULT_POLICY
    findings: tuple[Finding, ...] = ()

    def to_event_data(self, as_json: bool = True) -> dict[str, Any]:
        """Give the data of the job.queued event; InputError if an input or a limit is wrong.

        With `as_json` False the program stays an object, which a store encodes only once.
        """
        check_inputs(self.program, self.inputs)
        if self.on_deadline not in ON_DEADLINE:
            raise InputError(
                f"on_deadline is {self.on_deadline!r}",
                where="on_deadline",
                next_step=f"Give one of {', '.join(ON_DEADLINE)}.",
            )
        data = self.event_data()
        if as_json:
            data["program"] = program_document(self.program)
        data["plan"] = plan_document(self.plan) if self.plan else None
        return data

    def event_data(self) -> dict[str, Any]:
        """Give the data of the job.queued event, unchecked; program and plan stay objects."""
        program = self.program
        deadline_s = program.deadline_s if self.deadline_s is None else self.deadline_s
        budget_usd = program.budget_usd if self.budget_usd is None else self.budget_usd
        return {
            **policy_data(self.policy, self.findings),
            "workflow": self.workflow,
            "program": program,
            "program_hash": program.hash,
            "inputs": dict(self.inputs),
            "plan": self.plan,
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


def policy_data(policy: Policy, findings: Sequence[Finding]) -> dict[str, Any]:
    """Give what job.queued says of a policy; nothing of the default one and of no findings."""
    data: dict[str, Any] = {}
    if policy != DEFAULT_POLICY:
        data["policy"] = policy.to_json()
    if findings:
        data["findings"] = documents(findings)
    return data


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


def check_secrets(inputs: Mapping[str, Any]) -> None:
    """Raise InputError if an input has a mask in the place of its password."""
    name = masked_input(inputs)
    if name is not None:
        raise missing_secret(name)


def with_inputs(queued: Event, given: Mapping[str, Any]) -> Event:
    """Give a stored job.queued event with secrets put back; InputError if one is missing."""
    inputs = {**queued.data["inputs"], **given}
    check_secrets(inputs)
    return replace(queued, data={**queued.data, "inputs": inputs})


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
        (name, dict(value) if isinstance(value, Mapping) else value)
        for name in _HIDDEN
        if (value := getattr(record, name)) is not None
    )
    return document


def result_of(events: Iterable[Event]) -> JobResult:
    """Fold a job's events into its document; the job may be in any state."""
    fold = ResultFold()
    for event in events:
        fold.add(event)
    return fold.result()


class ResultFold:
    """A job's document, kept up event by event, from job.queued on."""

    def __init__(self) -> None:
        self._queued: Event | None = None
        self._status, self._late = "queued", False
        self._output: Any = None
        self._error: Mapping[str, str] | None = None
        self._asked: Sequence[Mapping[str, Any]] = ()
        self._usd = self._started_s = self._last_s = 0.0
        self._steps = StepFold()

    def add(self, event: Event) -> None:
        """Fold one event in."""
        self._last_s = event.at_s
        self._steps.add(event)
        if event.type.startswith("step."):
            self._usd += event.data.get("usd") or 0.0
            if self._asked and event.type in ("step.completed", "step.retrying", "step.failed"):
                self._asked = [row for row in self._asked if row["id"] != event.step_id]
            return
        match event.type:
            case "job.queued":
                self._queued, self._started_s = event, event.at_s
            case "job.started":
                self._status, self._error, self._asked = "running", None, ()
                if not event.data.get("resumed"):
                    self._started_s = event.at_s
            case "job.completed":
                self._status, self._late = "succeeded", event.data["late"]
                self._output = event.data["output"]
            case "job.failed" | "job.cancelled" | "job.expired" | "job.input_required":
                self._status = event.type.removeprefix("job.")
                self._error = event.data.get("error")
                self._asked = event.data.get("interrupts", ())

    def result(self) -> JobResult:
        """Give the document so far; ValueError before job.queued."""
        if self._queued is None:
            raise ValueError("a job's log begins with job.queued")
        job_id, asked, error = self._queued.job_id, self._asked, self._error
        if asked and error is None:
            error = unanswered(job_id, asked[0]["question"], asked[0]["id"]).to_json()
        return JobResult(
            job_id=job_id,
            workflow=self._queued.data.get("workflow", ""),
            status=self._status,
            output=self._output,
            steps=self._steps.records(),
            predicted=_predicted(self._queued),
            actual=Totals(self._last_s - self._started_s, self._usd),
            error=error,
            late=self._late,
            interrupts=tuple(asked),
        )


def _predicted(queued: Event) -> Totals:
    plan = queued.data.get("plan")
    return Totals(plan["seconds"], plan["usd"]) if plan else Totals()
