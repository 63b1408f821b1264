"""`gangline plan`: place a workflow on a fleet without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .output import console, print_document
from .run_command import Fleet, Json, Model, Workflow

if TYPE_CHECKING:
    from gangline.ir.specs.plan import Plan


def plan(
    workflow: Workflow,
    fleet: Fleet = None,
    slo: Annotated[
        str | None, typer.Option("--slo", help="An objective such as p95=4s; taken as deadline.")
    ] = None,
    budget_usd: Annotated[float | None, typer.Option("--budget-usd", help="$ per job.")] = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Place the stages of WORKFLOW on a fleet at least $, or say why that cannot be."""
    from .arguments import parse_slo

    deadline_s = parse_slo(slo)[1] if slo else None
    proposed = propose_plan(workflow, fleet, deadline_s, budget_usd, model)
    if as_json:
        print_document(proposed.to_json())
    else:
        print_plan(proposed)


def propose_plan(
    workflow: str,
    fleet: str | None,
    deadline_s: float | None,
    budget_usd: float | None,
    model: str | None,
    *,
    strict: bool = True,
) -> Plan:
    """Compile a workflow and propose its placement.

    Where nothing meets the limits, raise InfeasibleError, or give the nearest if not `strict`.
    """
    from gangline.planner.proposal import propose
    from gangline.runtime.api import open_fleet
    from gangline.runtime.history import History
    from gangline.runtime.models import catalogue, find
    from gangline.runtime.session import with_model
    from gangline.workflows.registry import load

    if model is not None:
        find(model)
    program = with_model(load(workflow).program(), model)
    known = History().profile(program)
    return propose(
        program, known, open_fleet(fleet), catalogue(), deadline_s, budget_usd, strict=strict
    )


def print_plan(proposed: Plan) -> None:
    """Print a plan for people: one line a stage, the critical path marked."""
    from gangline.planner.report import text_table

    console().print(text_table(proposed), markup=False, end="")
