"""`gangline explain`: what a workflow was compiled to, and what is expected of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gangline.ir.errors import GanglineError, UsageError

from .output import console, print_document
from .run_command import Fleet, Json, Model

if TYPE_CHECKING:
    from gangline.ir.module import Module
    from gangline.ir.program import Program
    from gangline.ir.specs.plan import Plan

DRAWN = (".svg", ".html")
STAGES = ("agent", "stage", "plan", "timeline")


def explain(
    workflow: Annotated[
        str | None, typer.Argument(help="A built-in name (text_to_sql) or path/to/file.py:name.")
    ] = None,
    stage: Annotated[str, typer.Option(help="agent, stage, plan or timeline.")] = "agent",
    fleet: Fleet = None,
    model: Model = None,
    out: Annotated[
        Path | None, typer.Option(help="Write to a file instead (.mlir, .svg, .html).")
    ] = None,
    job: Annotated[
        str | None, typer.Option(help="A job id: show the graph this job made instead.")
    ] = None,
    db: Annotated[
        str | None,
        typer.Option("--db", help="With --job: the job store, a file or postgresql:// URL."),
    ] = None,
    annotate: Annotated[
        bool, typer.Option("--annotate", help="Write needs, times and the critical path too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show WORKFLOW as it was written (agent), as compiled (stage), as a plan, or as a timeline.

    Agent and stage level are printed as MLIR; with --fleet or --annotate, stages have devices and
    transfers. With --out FILE.svg or FILE.html all but the timeline are drawn as a graph: nested
    agents are boxes, colours are kinds of devices, the critical path is red. With --json they are
    nodes and edges. With --job the graph that a job made is shown: each step, when it ran, and
    the plans that were written while it ran.
    """
    if (workflow is None) == (job is None):
        both = "A workflow and a job are named at once" if job else "Nothing is named to explain"
        raise UsageError(both, where="--job", next_step="Name a workflow, or a job with --job ID.")
    if job is not None:
        _explain_job(job, db, out, as_json)
        return
    if workflow is None or db is not None:
        raise UsageError("--db is for a job", where="--db", next_step="Add --job ID.")
    if stage not in STAGES:
        raise UsageError(
            f"There is no stage {stage!r}", next_step=f"Use one of: {', '.join(STAGES)}."
        )
    if stage in ("agent", "stage"):
        _explain_module(workflow, stage, fleet, model, out, annotate, as_json)
    else:
        _explain_plan(workflow, stage, fleet, model, out, as_json)


def _explain_job(job: str, db: str | None, out: Path | None, as_json: bool) -> None:
    from gangline.runtime.job_graph import job_graph
    from gangline.runtime.store import open_store

    with open_store(db) as store:
        made = job_graph(store.events(store.resolve(job)))
    if as_json:
        print_document(made.document())
    elif out is None:
        console().print(made.text().rstrip("\n"), markup=False, soft_wrap=True)
    elif out.suffix == ".html":
        _write(out, _html(f"{made.program.name}, job {made.job_id}", made.svg()))
    else:
        _write(out, made.svg() if out.suffix == ".svg" else made.text())


def _explain_module(
    workflow: str,
    level: str,
    fleet: str | None,
    model: str | None,
    out: Path | None,
    annotate: bool,
    as_json: bool,
) -> None:
    from gangline.ir.compiler import compile_module, to_stages
    from gangline.runtime.session import with_model
    from gangline.workflows.registry import load

    loaded = load(workflow)
    module = loaded.trace()
    drawn = as_json or (out is not None and out.suffix in DRAWN)
    text = module.text
    if level == "stage":
        stages = to_stages(module)
        placed = annotate or fleet is not None
        text = _placed(stages, fleet, model, annotate) if placed else stages.text
    if not drawn:
        _write(out, text) if out else console().print(text, markup=False, soft_wrap=True)
        return
    # What the author wrote is drawn before any pass merges or inlines something of it.
    program = loaded.program() if level == "stage" else compile_module(module, passes=())
    program = with_model(program, model)
    plan = _plan_or_none(program, fleet)
    if as_json:
        document = {"workflow": loaded.name, "stage": level, "program": loaded.program().hash}
        print_document({**document, **_graph(program, level, plan), "mlir": text})
    elif out:
        title = f"{program.name}, {level} level"
        _write(out, _drawn(program, level, plan, title, out.suffix))


def _placed(stages: Module, fleet: str | None, model: str | None, annotate: bool) -> str:
    """Give the text of stages with their devices on a fleet, transfers and annotations."""
    from gangline.ir.decoding import decode_program
    from gangline.runtime.annotated import annotated_module
    from gangline.runtime.api import open_fleet
    from gangline.runtime.history import History
    from gangline.runtime.machine.models import catalogue
    from gangline.runtime.profiles import profile_for
    from gangline.runtime.session import with_model

    program = with_model(decode_program(stages), model)
    return annotated_module(
        stages,
        program,
        open_fleet(fleet),
        catalogue(),
        profile=profile_for(program),
        calibration=History().calibration(),
        annotate=annotate,
    ).text


def _plan_or_none(program: Program, fleet: str | None) -> Plan | None:
    """Plan for the devices and the critical path of a drawing; it can do without."""
    from .plan import propose_program

    try:
        return propose_program(program, fleet, None, None, strict=False)
    except GanglineError as error:
        note = f"drawn without devices and critical path: {error.detail}"
        console(stderr=True).print(note, markup=False)
        return None


def _graph(program: Program, level: str, plan: Plan | None) -> dict[str, Any]:
    from gangline.planner.graph_marks import plan_marks
    from gangline.planner.graph_nodes import marked_nodes

    nodes, edges = marked_nodes(program, level, plan_marks(plan) if plan else {})
    path = list(plan.critical_path) if plan else []
    return {"nodes": nodes, "edges": edges, "critical_path": path}


def _drawn(program: Program, level: str, plan: Plan | None, title: str, suffix: str) -> str:
    from gangline.planner.graph_marks import plan_marks
    from gangline.planner.graph_svg import graph_svg

    drawn = graph_svg(program, level, marks=plan_marks(plan) if plan else None)
    return _html(title, drawn) if suffix == ".html" else drawn


def _explain_plan(
    workflow: str, stage: str, fleet: str | None, model: str | None, out: Path | None, as_json: bool
) -> None:
    from gangline.planner.report import timeline_svg, timeline_text

    from .plan import compile_for, error_lines, known_errors, propose_program, show_plan

    program = compile_for(workflow, model)
    proposed = propose_program(program, fleet, None, None, strict=False)
    if as_json:
        show_plan(proposed, as_json=True)
    elif out:
        title = f"{proposed.workflow} on {proposed.fleet}"
        graph = _drawn(program, "stage", proposed, title, "") if stage == "plan" else ""
        if out.suffix == ".html":
            _write(out, _html(title, graph + timeline_svg(proposed) + _table(proposed)))
        else:
            _write(out, graph or timeline_svg(proposed))
    elif stage == "plan":
        show_plan(proposed, as_json=False)
    else:
        lines = [timeline_text(proposed).rstrip("\n"), *error_lines(known_errors(proposed))]
        console().print("\n".join(lines), markup=False)


def _table(proposed: Plan) -> str:
    """Give the plan's table and the errors so far as HTML that loads nothing."""
    from html import escape

    from gangline.planner.report import text_table

    from .plan import error_lines, known_errors

    text = text_table(proposed) + "".join(
        f"{line}\n" for line in error_lines(known_errors(proposed))
    )
    return f"<pre>{escape(text)}</pre>"


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
