"""`gangline explain`: what a workflow was compiled to, and what is expected of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gangline.ir.errors import UsageError

from .output import console, print_document
from .run_command import Fleet, Json, Model, Workflow

if TYPE_CHECKING:
    from gangline.ir.program import Program
    from gangline.ir.specs.plan import Plan

STAGES = ("agent", "stage", "plan", "timeline")


def explain(
    workflow: Workflow,
    stage: Annotated[str, typer.Option(help="agent, stage, plan or timeline.")] = "agent",
    fleet: Fleet = None,
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option(help="Write to a file instead (.mlir, .svg, .html).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show WORKFLOW as MLIR (agent or stage level), as a plan, or as a predicted timeline.

    With --out FILE.svg or FILE.html the two levels are drawn as a graph.
    """
    if stage not in STAGES:
        raise UsageError(
            f"There is no stage {stage!r}", next_step=f"Use one of: {', '.join(STAGES)}."
        )
    if stage in ("agent", "stage"):
        _explain_module(workflow, stage, out, as_json)
    else:
        _explain_plan(workflow, stage, fleet, model, out, as_json)


def _explain_module(workflow: str, stage: str, out: Path | None, as_json: bool) -> None:
    from gangline.ir.compiler import to_stages
    from gangline.workflows.registry import load

    loaded = load(workflow)
    module = loaded.trace()
    text = (to_stages(module) if stage == "stage" else module).text
    if as_json:
        document = {"workflow": loaded.name, "stage": stage, "program": loaded.program().hash}
        print_document({**document, "mlir": text})
    elif out:
        _write(out, _drawn(loaded.program(), stage, out.suffix) or text)
    else:
        console().print(text, markup=False, soft_wrap=True)


def _drawn(program: Program, level: str, suffix: str) -> str:
    """Draw the program for a file of this kind; empty where the file takes text."""
    from gangline.planner.graph_svg import graph_svg

    if suffix not in (".svg", ".html"):
        return ""
    drawn = graph_svg(program, level)
    return _html(f"{program.name}, {level} level", drawn) if suffix == ".html" else drawn


def _explain_plan(
    workflow: str, stage: str, fleet: str | None, model: str | None, out: Path | None, as_json: bool
) -> None:
    from gangline.planner.report import timeline_svg, timeline_text

    from .plan import error_lines, known_errors, propose_plan, show_plan

    proposed = propose_plan(workflow, fleet, None, None, model, strict=False)
    if as_json:
        show_plan(proposed, as_json=True)
    elif out:
        drawn = timeline_svg(proposed)
        _write(out, _page(proposed, drawn) if out.suffix == ".html" else drawn)
    elif stage == "plan":
        show_plan(proposed, as_json=False)
    else:
        lines = [timeline_text(proposed).rstrip("\n"), *error_lines(known_errors(proposed))]
        console().print("\n".join(lines), markup=False)


def _page(proposed: Plan, drawn: str) -> str:
    """Put the timeline, the table and the errors so far on one page that loads nothing."""
    from html import escape

    from gangline.planner.report import text_table

    from .plan import error_lines, known_errors

    text = text_table(proposed) + "".join(
        f"{line}\n" for line in error_lines(known_errors(proposed))
    )
    title = f"{proposed.workflow} on {proposed.fleet}"
    return _html(title, f"{drawn}<pre>{escape(text)}</pre>")


def _html(title: str, body: str) -> str:
    from html import escape

    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        '</title></head>\n<body style="font-family: sans-serif; color-scheme: light dark">'
        f"<h1>{escape(title)}</h1>\n{body}</body></html>\n"
    )


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"The file cannot be written: {error.strerror}",
            where=str(path),
            next_step="Check --out.",
        ) from None
    console(stderr=True).print(f"written: {path}", markup=False)
