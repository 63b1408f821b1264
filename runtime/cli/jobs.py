"""`gangline jobs list|show|retry|cancel`: the jobs in the store."""

from __future__ import annotations

from typing import Annotated

import typer

from . import jobs_keep
from .output import console, print_document
from .run_command import Json

app = typer.Typer(help="List, show, continue and cancel jobs.", no_args_is_help=True)
jobs_keep.register(app)
JobId = Annotated[str, typer.Argument(help="A job id; a unique beginning or end is enough.")]


@app.command("list")
def list_jobs(
    status: Annotated[str | None, typer.Option(help="Only jobs of this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many jobs.")] = 20,
    after: Annotated[str | None, typer.Option(help="Go on after this cursor.")] = None,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first."""
    from gangline.runtime.job_documents import list_jobs as read

    page = read(limit=limit, after=after, status=status)
    if as_json:
        print_document(page)
        return
    from rich.table import Table

    from .tables import usd

    table = Table("job", "workflow", "status", "$", box=None, pad_edge=False)
    for row in page["data"]:
        table.add_row(row["id"], row["workflow"], row["status"], usd(row["usd"]))
    console().print(table if page["data"] else "No jobs yet.")
    if page["next"]:
        console().print(f"More: gangline jobs list --after {page['next']}", style="dim")


@app.command("show")
def show(job: JobId, as_json: Json = False) -> None:
    """Show one job: its output or error, and its stages."""
    from gangline.runtime.job_documents import job_document

    from .run_command import print_job

    document = job_document(job)
    if as_json:
        print_document(document)
    else:
        print_job(document)


@app.command("retry")
def retry(
    job: JobId,
    inputs: Annotated[
        list[str] | None,
        typer.Option("-i", "--input", help="An input that was not stored (a password), key=value."),
    ] = None,
    rerun: Annotated[
        list[str] | None,
        typer.Option("--rerun", help="Id of a writing step that may run a second time."),
    ] = None,
    fleet: Annotated[
        str | None, typer.Option("--fleet", help="The fleet file the job was run with.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Go on with a job that was interrupted or failed; recorded steps are not run again."""
    from gangline.runtime.api import retry_job

    from .arguments import read_pairs
    from .progress import JobProgress
    from .run_command import show_result

    given = read_pairs(inputs or (), {})
    with JobProgress(f"retry {job}", quiet=as_json) as progress:
        result = retry_job(
            job, inputs=given, rerun=frozenset(rerun or ()), fleet=fleet, on_event=progress
        )
    return show_result(result, as_json=as_json)


@app.command("cancel")
def cancel(job: JobId, as_json: Json = False) -> None:
    """Cancel a job that is queued, waiting or interrupted."""
    from gangline.runtime.job_documents import cancel_job

    document = cancel_job(job)
    if as_json:
        print_document(document)
    else:
        console().print(f"job {document['id']}: {document['status']}", markup=False)
