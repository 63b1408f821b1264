"""What a caller asks for: the body of `POST /v1/jobs`, checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

MAX_METADATA = 16


def _whole(value: Any) -> Any:
    """Take 5.0 for 5, as JSON Schema does: JSON has one kind of numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Webhook(BaseModel):
    """Where to tell that a job has stopped. `secret` signs the message; it is never shown."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2048)
    secret: str | None = Field(default=None, min_length=16, max_length=256)
    events: list[str] | None = Field(default=None, max_length=8)


class JobRequest(BaseModel):
    """One job to run.

    Attributes:
        id: a UUID of the caller's choice; made by the server where it is absent.
        deadline_ms: how long the whole job may take from now on, in milliseconds.
        on_deadline: `late` lets a late job finish and marks it; `expire` ends it.
        budget_usd: US dollars the job may spend; it stops before it would spend more.
        priority: 0 to 9, higher is sooner.
        admit: `always`, or `feasible` to be refused (422, code `rejected`) where the prediction
            misses deadline or budget.
        policy: a policy that narrows the server's (see docs/policy.md).
        grants: tools with write effects that plans of this job may use, of those that the
            server grants; all of them where neither this nor `policy` is sent.
        mode: `background` answers 202 at once; `wait` answers when the job stopped; `stream`
            answers with its events.
    """

    model_config = ConfigDict(extra="forbid")

    workflow: str = Field(min_length=1, max_length=200)
    input: dict[str, Any] = Field(default_factory=dict)
    id: str | None = Field(default=None, min_length=36, max_length=36)
    deadline_ms: float | None = Field(default=None, gt=0, le=1e10)
    on_deadline: Literal["late", "expire"] = "late"
    budget_usd: float | None = Field(default=None, ge=0, le=1e9)
    priority: Annotated[int, BeforeValidator(_whole)] = Field(default=5, ge=0, le=9)
    admit: Literal["always", "feasible"] = "always"
    model: str | None = Field(default=None, max_length=200)
    metadata: dict[str, str] = Field(default_factory=dict, max_length=MAX_METADATA)
    webhook: Webhook | None = None
    policy: dict[str, Any] | None = Field(default=None, max_length=16)
    grants: list[Annotated[str, Field(max_length=200)]] | None = Field(default=None, max_length=256)
    mode: Literal["background", "wait", "stream"] = "background"
