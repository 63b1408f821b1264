"""`gangline jobs ...`: jobs of a server, or of the store on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gangline.ir.errors import from_json

from . import jobs_keep
from .output import console, exit_code, print_document
from .run_command import (
    Budget,
    Deadline,
    DeadlineRule,
    Grants,
    InputJson,
    Inputs,
    Json,
    Model,
    OnDeadline,
    PolicyFile,
    Workflow,
)

if TYPE_CHECKING:
    from .job_desk import Document, JobDesk

app = typer.Typer(help="Submit, list, watch, continue, cancel and keep jobs.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="A job id; a unique beginning or end is enough.")]
Server = Annotated[
    str | None,
    typer.Option("--server", help="Address of a server; GANGLINE_SERVER names one, too."),
]
Watch = Annotated[bool, typer.Option("--watch", help="Show the job until it has stopped.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the job has stopped.")]
LocalFleet = Annotated[
    str | None, typer.Option("--fleet", help="Without a server: the fleet file to run on.")
]
NewInputs = Annotated[
    list[str] | None,
    typer.Option("-i", "--input", help="An input that was not stored (a password), key=value."),
]


@app.command("submit")
def submit(
    workflow: Workflow,
    inputs: Inputs = None,
    input_json: InputJson = None,
    deadline: Deadline = None,
    on_deadline: OnDeadline = DeadlineRule.late,
    budget_usd: Budget = None,
    priority: Annotated[
        int, typer.Option("--priority", min=0, max=9, help="Higher is sooner.")
    ] = 5,
    model: Model = None,
    policy: PolicyFile = None,
    grant: Grants = None,
    fleet: LocalFleet = None,
    key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="Same key, same job: never a second one."),
    ] = None,
    wait: Wait = False,
    watch: Watch = False,
    server: Server = None,
    as_json: Json = False,
) -> int:
    """Submit one job of WORKFLOW; a server runs it."""
    from gangline.runtime.job_policy import load_policy

    from .arguments import parse_duration, read_grants
    from .job_desk import Order, open_desk
    from .progress import JobProgress

    order = Order(
        workflow=workflow,
        pairs=inputs or (),
        input_json=input_json,
        deadline_s=parse_duration(deadline) if deadline else None,
        on_deadline=on_deadline.value,
        budget_usd=budget_usd,
        priority=priority,
        model=model,
        fleet=fleet,
        idempotency_key=key,
        policy=load_policy(policy) if policy else None,
        grants=read_grants(grant or ()),
    )
    stay = wait or watch
    with open_desk(server, fleet) as desk:
        if desk.follows or not stay:
            made = desk.submit(order, None)
            return _seen(desk, made, stay=stay, quiet=not watch, as_json=as_json)
        with JobProgress(workflow, quiet=as_json or not watch) as progress:
            made = desk.submit(order, progress)
        return _told(made, as_json=as_json)


@app.command("list")
def list_jobs(
    status: Annotated[str | None, typer.Option(help="Only jobs of this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many jobs.")] = 20,
    after: Annotated[str | None, typer.Option(help="Go on after this cursor.")] = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first."""
    from .job_desk import open_desk

    with open_desk(server) as desk:
        page = desk.list(limit, after, status)
    if as_json:
        print_document(page)
        return
    from rich.table import Table
    from rich.text import Text

    from .tables import usd

    table = Table("job", "workflow", "status", "$", box=None, pad_edge=False)
    for row in page["data"]:
        table.add_row(row["id"], Text(row["workflow"]), row["status"], usd(row["usd"]))
    console().print(table if page["data"] else "No jobs yet.")
    if page["next"]:
        console().print(f"More: gangline jobs list --after {page['next']}", style="dim")


@app.command("show")
def show(job: JobId, server: Server = None, as_json: Json = False) -> None:
    """Show one job: its output or error, and its stages."""
    from .job_desk import open_desk
    from .run_command import print_job

    with open_desk(server) as desk:
        document = desk.show(job)
    if as_json:
        print_document(document)
    else:
        print_job(document)


@app.command("watch")
def watch_job(job: JobId, server: Server = None, as_json: Json = False) -> int:
    """Show one job live until it has stopped; ends with the job's own exit code."""
    from .job_desk import open_desk

    with open_desk(server) as desk:
        return _watched(desk, desk.show(job)["job_id"], quiet=False, as_json=as_json)


@app.command("retry")
def retry(
    job: JobId,
    inputs: NewInputs = None,
    rerun: Annotated[
        list[str] | None,
        typer.Option("--rerun", help="Id of a writing step that may run a second time."),
    ] = None,
    step: Annotated[
        str | None, typer.Option("--from-step", help="Run this step anew, and what follows it.")
    ] = None,
    fleet: LocalFleet = None,
    watch: Watch = False,
    server: Server = None,
    as_json: Json = False,
) -> int:
    """Go on with a job that was interrupted or failed; recorded steps are not run again."""
    from .arguments import read_pairs
    from .job_desk import open_desk
    from .progress import JobProgress

    given = read_pairs(inputs or (), {})
    with open_desk(server, fleet) as desk:
        with JobProgress(f"retry {job}", quiet=as_json or desk.follows) as progress:
            made = desk.retry(job, given, rerun or (), step, progress)
        return _seen(desk, made, stay=watch, quiet=False, as_json=as_json)


@app.command("resume")
def resume(
    job: JobId,
    answer: Annotated[str, typer.Argument(help="The answer; JSON where the question wants it.")],
    interrupt: Annotated[
        str, typer.Option("--interrupt", help="Id of the question, if there are several.")
    ] = "",
    fleet: LocalFleet = None,
    watch: Watch = False,
    server: Server = None,
    as_json: Json = False,
) -> int:
    """Answer the question a job waits for, and go on with it."""
    from .job_desk import open_desk
    from .progress import JobProgress

    with open_desk(server, fleet) as desk:
        with JobProgress(f"resume {job}", quiet=as_json or desk.follows) as progress:
            made = desk.resume(job, interrupt, answer, progress)
        return _seen(desk, made, stay=watch, quiet=False, as_json=as_json)


@app.command("fork")
def fork(
    job: JobId,
    step: Annotated[str, typer.Option("--from-step", help="The first step that is run anew.")],
    inputs: Annotated[
        list[str] | None, typer.Option("-i", "--input", help="An input to change, key=value.")
    ] = None,
    fleet: LocalFleet = None,
    watch: Watch = False,
    server: Server = None,
    as_json: Json = False,
) -> int:
    """Run a new job that begins with what another recorded before a step."""
    from .arguments import read_pairs
    from .job_desk import open_desk
    from .progress import JobProgress

    given = read_pairs(inputs or (), {})
    with open_desk(server, fleet) as desk:
        with JobProgress(f"fork {job}", quiet=as_json or desk.follows) as progress:
            made = desk.fork(job, step, given, progress)
        return _seen(desk, made, stay=watch, quiet=False, as_json=as_json)


@app.command("cancel")
def cancel(job: JobId, server: Server = None, as_json: Json = False) -> None:
    """Cancel a job, also one that a server runs on the store of this machine."""
    from .job_desk import open_desk

    with open_desk(server) as desk:
        document = desk.cancel(job)
    if as_json:
        print_document(document)
    else:
        console().print(f"job {document['id']}: {document['status']}", markup=False)


jobs_keep.register(app)


def _seen(desk: JobDesk, made: Document, *, stay: bool, quiet: bool, as_json: bool) -> int:
    """Print a job that was begun somewhere, at once or once it has stopped."""
    from .job_desk import STARTED

    if stay and made["status"] in STARTED:
        return _watched(desk, made["job_id"], quiet=quiet, as_json=as_json)
    return _told(made, as_json=as_json)


def _watched(desk: JobDesk, job_id: str, *, quiet: bool, as_json: bool) -> int:
    from .progress import JobProgress

    with JobProgress(f"job {job_id}", quiet=quiet or as_json, left_running=job_id) as progress:
        for event in desk.follow(job_id):
            progress(event)
    return _told(desk.show(job_id), as_json=as_json)


def _told(document: Document, *, as_json: bool) -> int:
    """Print a job and give the exit code: 0 also for one that is only on its way."""
    from .job_desk import STARTED
    from .run_command import print_job

    if as_json:
        print_document(document)
    elif document["status"] in STARTED and not document["steps"]:
        console().print(f"job {document['job_id']}: {document['status']}", markup=False)
    else:
        print_job(document)
    if document["status"] == "succeeded" or document["status"] in STARTED:
        return 0
    return exit_code(from_json(document["error"])) if "error" in document else 1
