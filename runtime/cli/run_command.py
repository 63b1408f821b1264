"""`gangline run`: compile, plan and run one job here and now."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gangline.ir.errors import from_json

from .output import console, exit_code, print_document, print_error

if TYPE_CHECKING:
    from gangline.runtime.dispatch.job import JobResult


class DeadlineRule(StrEnum):
    """What a job does that misses its deadline."""

    late = "late"
    expire = "expire"


Workflow = Annotated[
    str, typer.Argument(help="A built-in name (text_to_sql) or path/to/file.py:name.")
]
Inputs = Annotated[list[str] | None, typer.Option("-i", "--input", help="One input, key=value.")]
InputJson = Annotated[
    str | None, typer.Option("--input-json", help="All inputs from a JSON file (- for stdin).")
]
Fleet = Annotated[str | None, typer.Option("--fleet", help="A fleet file (TOML).")]
Deadline = Annotated[str | None, typer.Option("--deadline", help="One job's deadline, e.g. 4s.")]
OnDeadline = Annotated[
    DeadlineRule, typer.Option("--on-deadline", help="late: finish anyway; expire: end.")
]
Budget = Annotated[float | None, typer.Option("--budget-usd", help="One job's budget in $.")]
Model = Annotated[str | None, typer.Option("--model", help="Use this model for every LLM stage.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]

PolicyFile = Annotated[
    str | None, typer.Option("--policy", help="What the job may do: a policy file (TOML).")
]
Grants = Annotated[
    list[str] | None,
    typer.Option("--grant", help="A writing tool that plans may use, TOOL or TOOL:N times."),
]


def run(
    workflow: Workflow,
    inputs: Inputs = None,
    input_json: InputJson = None,
    fleet: Fleet = None,
    deadline: Deadline = None,
    on_deadline: OnDeadline = DeadlineRule.late,
    budget_usd: Budget = None,
    model: Model = None,
    policy: PolicyFile = None,
    grant: Grants = None,
    as_json: Json = False,
) -> int:
    """Run one job of WORKFLOW and print its output and its stages."""
    from gangline.runtime.api import run_job
    from gangline.runtime.job_policy import load_policy
    from gangline.workflows.registry import load

    from .arguments import absolute_reference, parse_duration, read_grants, read_inputs
    from .progress import JobProgress

    loaded = load(workflow)
    values = read_inputs(inputs or (), input_json, loaded.inputs)
    with JobProgress(f"{loaded.name}", quiet=as_json) as progress:
        result = run_job(
            loaded,
            values,
            fleet=fleet,
            deadline_s=parse_duration(deadline) if deadline else None,
            on_deadline=on_deadline.value,
            budget_usd=budget_usd,
            model=model,
            source=absolute_reference(workflow),
            on_event=progress,
            policy=load_policy(policy) if policy else None,
            grants=read_grants(grant or ()),
        )
    result = answer_questions(result, fleet=fleet, as_json=as_json)
    return show_result(result, as_json=as_json)


def answer_questions(result: JobResult, *, fleet: str | None, as_json: bool) -> JobResult:
    """Put a job's questions to the person at the terminal and go on, until there are none.

    Without a terminal the job stays as it is stored, waiting.
    """
    import sys

    from gangline.runtime.api import resume_job

    from .progress import JobProgress
    from .questions import ask

    while result.interrupts and sys.stdin.isatty():
        row = result.interrupts[0]
        value = ask(row, result.job_id)
        with JobProgress(result.workflow, quiet=as_json) as progress:
            result = resume_job(result.job_id, row["id"], value, fleet=fleet, on_event=progress)
    return result


def show_result(result: JobResult, *, as_json: bool) -> int:
    """Print a finished job and return the command's exit code."""
    document = result.to_json()
    if as_json:
        print_document(document)
    else:
        print_job(document)
    if result.status == "succeeded":
        return 0
    return exit_code(from_json(document["error"])) if "error" in document else 1


def print_job(document: dict[str, Any]) -> None:
    """Print a job for people: the output, then the table of its stages."""
    from .tables import add_total, steps_table

    out = console()
    if document["status"] == "succeeded":
        print_output(document["output"])
    elif document.get("error"):
        print_error(from_json(document["error"]), as_json=False)
    table = steps_table(document["steps"])
    add_total(table, document["predicted"], document["actual"])
    out.print(table)
    out.print(f"job {document['job_id']}: {document['status']}", markup=False, style="dim")


def print_output(output: Any) -> None:
    """Print a job's output: SQL answers as a query and a table, the rest as text or JSON."""
    import json

    from .tables import rows_table

    out = console()
    if isinstance(output, dict) and {"sql", "columns", "rows"} <= set(output):
        out.print(output["sql"], markup=False, style="cyan")
        out.print()
        if output.get("error"):
            out.print(f"No rows: {output['error']}", markup=False, style="red")
        else:
            out.print(rows_table(output["columns"], output["rows"]))
        if output.get("truncated"):
            out.print("There are more rows: a limit was reached.", style="dim")
    elif isinstance(output, str):
        out.print(output, markup=False)
    else:
        out.print(json.dumps(output, indent=2, ensure_ascii=False), markup=False)
    out.print()
