"""`gangline models list|pull`: which models there are, and bring one to this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from .output import console, print_document
from .run_command import Json

app = typer.Typer(help="List models and download them.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: Json = False) -> None:
    """List the known models and whether their file is on this machine."""
    from gangline.runtime.machine.models import catalogue, file_path, is_present

    rows = [
        {
            "name": spec.name,
            "present": is_present(spec),
            "bytes": spec.file_bytes,
            "licence": spec.licence,
            "note": spec.note,
            "path": str(file_path(spec)),
        }
        for spec in catalogue().values()
    ]
    if as_json:
        print_document({"models": rows})
        return
    from rich.table import Table

    table = Table("model", "on this machine", "GB", "note", box=None, pad_edge=False)
    for row in rows:
        here = "yes" if row["present"] else "no"
        table.add_row(str(row["name"]), here, f"{_gb(row['bytes'])}", str(row["note"]))
    console().print(table)


@app.command("pull")
def pull(
    name: Annotated[str, typer.Argument(help="A name from `gangline models list`.")],
    as_json: Json = False,
) -> None:
    """Download a model, check its sha256, and put it into the cache folder; resumes."""
    pull_with_progress(name)
    from gangline.runtime.machine.models import file_path, find

    spec = find(name)
    if as_json:
        document = {"status": "succeeded", "name": name, "path": str(file_path(spec))}
        print_document({**document, "bytes": spec.file_bytes, "sha256": spec.sha256})
    else:
        console().print(f"{name}: {file_path(spec)}", markup=False)


def pull_with_progress(name: str) -> None:
    """Pull a model with a progress bar on stderr (one line a step where that is no terminal)."""
    from gangline.runtime.machine.download import pull as download
    from gangline.runtime.machine.models import find

    spec = find(name)
    err = console(stderr=True)
    if not err.is_terminal:
        last = ""

        def line(what: str, done: int, total: int) -> None:
            nonlocal last
            now = f"{name}: {what} {10 * int(10 * done / total)} %"
            if now != last:
                err.print(now, markup=False)
                last = now

        download(spec, line)
        return
    from rich import progress as rich_progress

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=err, transient=True) as bars:
        task = bars.add_task(name, total=spec.file_bytes)
        download(
            spec,
            lambda what, done, total: bars.update(
                task, description=f"{name}: {what}", completed=done, total=total
            ),
        )


def _gb(size: object) -> str:
    return f"{float(str(size)) / 1e9:.2f}"
