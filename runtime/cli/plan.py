"""`gangline plan`: place a workflow on a fleet without running it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import console, print_document
from .run_command import Fleet, Json, Model, Workflow

if TYPE_CHECKING:
    from gangline.ir.program import Program
    from gangline.ir.specs.plan import Plan
    from gangline.planner.calibration import Calibration, ErrorReport
    from gangline.runtime.planning import Judged

ProfileFile = Annotated[
    Path | None,
    typer.Option("--profile", help="What jobs do: a profile file or a trace of them."),
]


def plan(
    workflow: Workflow,
    fleet: Fleet = None,
    slo: Annotated[
        str | None, typer.Option("--slo", help="What jobs are to keep, such as p95=4s.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Jobs per second; without it one at a time.")
    ] = None,
    budget_usd: Annotated[float | None, typer.Option("--budget-usd", help="$ per job.")] = None,
    model: Model = None,
    profile: ProfileFile = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the simulated jobs.")] = 0,
    as_json: Json = False,
) -> None:
    """Place the stages of WORKFLOW on a fleet at least $, or say why that cannot be."""
    from .arguments import parse_rate, parse_slo

    if slo is None and rate is None:
        proposed = propose_plan(workflow, fleet, None, budget_usd, model, profile=profile)
        show_plan(proposed, as_json=as_json)
        return
    percent, seconds = parse_slo(slo) if slo else (95, math.inf)
    jobs_per_s = 0.0 if rate is None else parse_rate(rate)
    judged = judge_plan(
        workflow, fleet, (percent, seconds, jobs_per_s), budget_usd, model, profile, seed
    )
    reports = known_errors(judged.plan)
    if as_json:
        print_document({**judged.to_json(), "calibration": [_report(row) for row in reports]})
    else:
        print_plan(judged.plan)
        lines = [*percentile_lines(judged), *error_lines(reports)]
        console().print("\n".join(lines), markup=False)


def judge_plan(
    workflow: str,
    fleet: str | None,
    objective: tuple[float, float, float],
    budget_usd: float | None,
    model: str | None,
    profile: Path | None = None,
    seed: int = 0,
) -> Judged:
    """Place a workflow so that a percentile of its jobs is met, as the simulator sees it.

    Args:
        objective: percent of jobs, seconds they are to take at most, jobs per second.
    """
    from gangline.runtime.api import open_fleet
    from gangline.runtime.history import History
    from gangline.runtime.machine.models import catalogue
    from gangline.runtime.planning import Objective, plan_for
    from gangline.runtime.profiles import profile_for

    program = compile_for(workflow, model)
    return plan_for(
        program,
        profile_for(program, profile),
        open_fleet(fleet),
        catalogue(),
        Objective(*objective),
        budget_usd=budget_usd,
        calibration=History().calibration(),
        seed=seed,
    )


def propose_plan(
    workflow: str,
    fleet: str | None,
    deadline_s: float | None,
    budget_usd: float | None,
    model: str | None,
    *,
    strict: bool = True,
    profile: Path | None = None,
) -> Plan:
    """Compile a workflow and propose its placement.

    Where nothing meets the limits, raise InfeasibleError, or give the nearest if not `strict`.
    """
    program = compile_for(workflow, model)
    return propose_program(program, fleet, deadline_s, budget_usd, strict=strict, profile=profile)


def propose_program(
    program: Program,
    fleet: str | None,
    deadline_s: float | None,
    budget_usd: float | None,
    *,
    strict: bool = True,
    profile: Path | None = None,
) -> Plan:
    """Propose the placement of a compiled program; see `propose_plan`."""
    from gangline.planner.proposal import propose
    from gangline.runtime.api import open_fleet
    from gangline.runtime.history import History
    from gangline.runtime.machine.models import catalogue
    from gangline.runtime.profiles import profile_for

    return propose(
        program,
        profile_for(program, profile),
        open_fleet(fleet),
        catalogue(),
        deadline_s,
        budget_usd,
        strict=strict,
        calibration=History().calibration(),
    )


def compile_for(workflow: str, model: str | None) -> Program:
    """Compile a workflow, every LLM stage on `model` where one is named.

    A model whose shape is known can be planned for, though nothing here may be able to run it.
    """
    from gangline.ir.errors import ConfigError
    from gangline.planner.costs.shape import find_shape
    from gangline.runtime.machine.models import catalogue, find
    from gangline.runtime.session import with_model
    from gangline.workflows.registry import load

    if model is not None and model not in catalogue():
        try:
            find_shape(model)
        except ConfigError:
            find(model)  # says which models there are
    return with_model(load(workflow).program(), model)


def show_plan(proposed: Plan, *, as_json: bool) -> None:
    """Print a plan of expected times, and how well such plans have been right so far."""
    reports = known_errors(proposed)
    if as_json:
        print_document({**proposed.to_json(), "calibration": [_report(row) for row in reports]})
        return
    print_plan(proposed)
    lines = list(error_lines(reports))
    if lines:
        console().print("\n".join(lines), markup=False)


def known_errors(proposed: Plan, known: Calibration | None = None) -> Sequence[ErrorReport]:
    """Give the errors before and after calibration of the ops a plan uses."""
    from gangline.runtime.history import History

    calibration = History().calibration() if known is None else known
    used = {row.op for row in proposed.stages}
    return [report for report in calibration.errors() if report.op in used]


def _report(row: ErrorReport) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(row)


def error_lines(reports: Sequence[ErrorReport]) -> Iterator[str]:
    """Say how far predictions were off, before and after calibration."""
    for row in reports:
        yield (
            f"{row.op} of {row.model} on {row.device}: predictions off by {_percent(row.before)} "
            f"before calibration, {_percent(row.after)} after ({row.num_runs} runs, median)"
        )


def percentile_lines(judged: Judged) -> Iterator[str]:
    """Say which latencies were predicted and which were simulated, and how busy devices are."""
    wanted, verdict = judged.objective, judged.verdict
    for percent in sorted({50.0, 95.0, float(wanted.percent)}):
        yield (
            f"p{percent:g}: {judged.prediction.percentile(percent):.3f} s predicted, "
            f"{verdict.percentile(percent):.3f} s simulated"
        )
    rate = f"{wanted.rate:g} jobs per second" if wanted.rate else "one job at a time"
    yield f"simulated: {verdict.num_jobs} jobs, {rate}, seed {verdict.seed}"
    for device, busy in sorted(verdict.utilisation.items()):
        predicted = judged.prediction.utilisation.get(device, 0.0)
        yield f"{device}: {_percent(busy)} busy ({_percent(predicted)} predicted)"
    if wanted.rate:
        yield (
            f"the fleet's price is ${verdict.fleet_usd_per_job:.6f} a job at this rate, idle time "
            "counted"
        )


def _percent(share: float) -> str:
    return f"{100.0 * share:.0f} %"


def print_plan(proposed: Plan) -> None:
    """Print a plan for people: one line a stage, the critical path marked."""
    from gangline.planner.report import text_table

    console().print(text_table(proposed), markup=False, end="")
