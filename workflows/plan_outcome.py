"""What became of a plan whose failures are kept: `gl.expand(..., on_error="keep")`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class PlannedCall(BaseModel):
    """One step of a plan.

    `arguments` are as planned, with references. `error` says why there is no result; it is empty
    where there is one.
    """

    id: str
    tool: str
    arguments: dict[str, Any]
    result: Any = None
    error: str = ""


class PlanOutcome(BaseModel):
    """All steps of a plan, in its order.

    `ok` says that the plan was sound and every step of it gave a result. `error` says what was
    wrong with the plan itself; steps before that place ran.
    """

    ok: bool
    calls: list[PlannedCall]
    error: str = ""
