"""What the server answers, as models: the OpenAPI document's schemas are made from them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from gangline.runtime.service.job_request import JobRequest

Status = Literal[
    "queued",
    "running",
    "input_required",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
    "rejected",
]
Seconds = Annotated[float, Field(description="Seconds.")]
Moment = Annotated[float, Field(description="Seconds since the epoch.")]


class Document(BaseModel):
    """A closed object: nothing is answered that is not described."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """An error (RFC 9457). `code` is stable; `next_step` says what to do about it."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    where: str
    next_step: str
    retryable: bool
    trace_id: str
    errors: list[Fault] = Field(default_factory=list)


class Fault(Document):
    """One fault of a request: where it is, and what is wrong there."""

    where: str
    detail: str


class Hop(BaseModel):
    """One step of a path."""

    step: str
    where: str


class PolicyFinding(BaseModel):
    """What a graph or plan would do that its policy does not allow, and by which path."""

    rule: str
    source: str
    sink: str
    path: list[Hop]
    detail: str
    next_step: str


class Error(BaseModel):
    """Why a job stopped."""

    code: str
    title: str
    detail: str
    where: str
    next_step: str
    findings: list[PolicyFinding] = Field(default_factory=list)


class Totals(Document):
    """Seconds and US dollars of a job or step; null where nothing was predicted."""

    seconds: float | None
    usd: float | None


class Interrupt(Document):
    """What a job waits for: answer it with `:resume` and this id."""

    id: str
    question: str
    value_schema: dict[str, Any] | None = Field(alias="schema")
    choices: list[Any] | None
    findings: list[PolicyFinding] = Field(default_factory=list)


class Links(Document):
    """Paths of what belongs to a job."""

    self: str
    steps: str
    events: str
    plan: str
    graph: str


class JobLine(Document):
    """A job in short, as lists show it."""

    id: str
    workflow: str
    status: Status
    created_s: Moment
    started_s: float | None
    ended_s: float | None
    updated_s: Moment
    deadline_s: float | None = Field(description="Seconds since the epoch.")
    on_deadline: Literal["late", "expire"]
    late: bool
    priority: int
    budget_usd: float | None
    metadata: dict[str, str]
    tenant: str
    predicted: Totals
    actual: Totals
    prompt_tokens: int
    output_tokens: int
    error_code: str | None
    forked_from: str | None
    position: int | None = Field(description="How many of one's own jobs wait before it.")
    last_seq: int = Field(description="Number of its last event.")
    links: Links


class JobDocument(JobLine):
    """A job: what was asked, what came of it, what was predicted and what it took."""

    output: Any
    error: Error | None
    interrupt: Interrupt | None


class JobPage(Document):
    """One page of jobs, the newest first; `next` is the cursor of the following one."""

    data: list[JobLine]
    next: str | None


def _digits(value: Any) -> Any:
    if isinstance(value, str):
        if not value.isascii() or not value.removeprefix("-").isdigit() or len(value) > 18:
            raise ValueError("write a whole number")
        return int(value)
    return value


def _number(value: Any) -> Any:
    if isinstance(value, str):
        if not value.isascii() or "_" in value or value != value.strip():
            raise ValueError("write a number")
        return float(value)
    return value


Whole = Annotated[int, BeforeValidator(_digits)]
Since = Annotated[float, Field(ge=0, le=1e12), BeforeValidator(_number)]


class JobQuery(BaseModel):
    """Which jobs to list."""

    limit: Whole = Field(default=50, ge=1, le=1000, description="How many at most.")
    after: str | None = Field(
        default=None, max_length=200, description="Cursor: the `next` of the page before."
    )
    status: Status | None = Field(default=None, description="Only jobs of this status.")
    workflow: str | None = Field(default=None, min_length=1, max_length=200)
    created_after: Since | None = Field(default=None, description="Seconds since the epoch.")
    created_before: Since | None = Field(default=None, description="Seconds since the epoch.")
    id_prefix: str | None = Field(
        default=None, pattern="^[0-9a-f-]{1,36}$", description="Only ids that begin with this."
    )


class EventQuery(BaseModel):
    """Where to begin in a job's log."""

    after: Whole = Field(
        default=0, ge=0, le=2**53, description="Begin after this event id (or Last-Event-ID)."
    )


class GraphQuery(BaseModel):
    """How to write a graph."""

    format: Literal["json", "mermaid", "svg"] = "json"


class Batch(BaseModel):
    """Many jobs at once. Each is accepted or refused on its own."""

    model_config = ConfigDict(extra="forbid")
    jobs: list[JobRequest] = Field(min_length=1, max_length=1000)


class BatchItem(Document):
    """What came of one job of a batch: `job`, or `error` as problem document."""

    status: int
    job: JobDocument | None
    error: Problem | None


class BatchResult(Document):
    """One item for each job of the batch, in its order."""

    data: list[BatchItem]


class Resume(BaseModel):
    """Answer what a job asked."""

    model_config = ConfigDict(extra="forbid")
    interrupt: str = Field(min_length=1, max_length=500, description="The interrupt's id.")
    value: Any = Field(description="The answer; it must match the interrupt's schema.")


class Retry(BaseModel):
    """Go on with a job that stopped. Recorded steps are not run again."""

    model_config = ConfigDict(extra="forbid")
    from_step: str | None = Field(
        default=None, min_length=1, max_length=500, description="Run again from this step on."
    )
    rerun: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(
        default_factory=list,
        max_length=1000,
        description="Writing steps that were in flight and may run a second time.",
    )
    input: dict[str, Any] = Field(
        default_factory=dict, description="Inputs that were not stored (secrets)."
    )


class Fork(BaseModel):
    """Begin a new job with what another one recorded before a step."""

    model_config = ConfigDict(extra="forbid")
    from_step: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="The first step run anew; the whole job where it is left out.",
    )
    input: dict[str, Any] = Field(default_factory=dict, description="Inputs to change.")


class Health(Document):
    """The process answers."""

    status: Literal["ok"]
    version: str


class Readiness(BaseModel):
    """Whether jobs are taken; 503 where one of the checks fails."""

    ready: bool
    checks: dict[str, bool]


class WorkflowInput(BaseModel):
    """One input of a workflow; `value_schema` is its JSON Schema."""

    name: str
    type: str
    value_schema: dict[str, Any] = Field(alias="schema")
    required: bool
    default: Any


class WorkflowDocument(BaseModel):
    """A workflow that may be asked for."""

    name: str
    description: str
    inputs: list[WorkflowInput]
    deadline_s: float | None
    budget_usd: float | None
    program_hash: str
    num_stages: int


class WorkflowList(Document):
    """The workflows of this server."""

    data: list[WorkflowDocument]


class Listing(BaseModel):
    """A list of objects."""

    data: list[dict[str, Any]]


class StepList(BaseModel):
    """The records of a job's steps."""

    data: list[dict[str, Any]]


class PlanDocument(BaseModel):
    """What a job is predicted to take, where its stages would run, whether it would be admitted."""


class PlanReport(BaseModel):
    """Predicted against actual, per stage and in total."""


class GraphDocument(BaseModel):
    """A job's graph with the states of its steps."""


class Capacity(BaseModel):
    """Jobs that run and wait, and how many may."""
