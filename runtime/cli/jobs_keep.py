"""`gangline jobs export|import|prune`: keep a copy of jobs, and forget old ones."""

from __future__ import annotations

import re
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from gangline.ir.errors import UsageError
from gangline.ir.specs.event import FINAL_STATUSES, JOB_STATUSES

from .output import console, print_document
from .run_command import Json

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}

Database = Annotated[
    str | None,
    typer.Option("--db", help="The job store: a path or postgresql://...; default: your own."),
]
Statuses = Annotated[
    list[str] | None, typer.Option("--status", help="Only jobs of this status; may be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export")(export)
    app.command("import")(import_)
    app.command("prune")(prune)


def export(
    out: Annotated[Path | None, typer.Option(help="A file to write; default: stdout.")] = None,
    status: Statuses = None,
    before: Annotated[
        str | None, typer.Option(help="Only jobs created longer ago than this: 12h, 30d.")
    ] = None,
    db: Database = None,
) -> None:
    """Write jobs and their events as lines of JSON."""
    from gangline.runtime.store import ExportFilter, open_store

    before_s = None if before is None else time.time() - age_s(before)
    chosen = ExportFilter(_known(status) if status else None, before_s=before_s)
    with ExitStack() as stack:
        store = stack.enter_context(open_store(db))
        lines = store.export(chosen)
        if out is None:
            sys.stdout.writelines(lines)
            return
        # Not at its place until it is whole.
        part = out.with_name(f".{out.name}.part")
        try:
            with part.open("w", encoding="utf-8") as file:
                part.chmod(0o600)
                file.writelines(lines)
            part.replace(out)
        except OSError as error:
            raise UsageError(
                f"The export cannot be written: {error.strerror}",
                where=str(out),
                next_step="Check the folder and its free space.",
            ) from None
        finally:
            part.unlink(missing_ok=True)


def import_(
    file: Annotated[Path, typer.Argument(help="What `gangline jobs export` wrote.")],
    unfinished: Annotated[
        bool,
        typer.Option(
            "--unfinished", help="Also jobs that have not ended: servers go on with them."
        ),
    ] = False,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Add the jobs of an export that are not in the store yet."""
    from dataclasses import asdict

    from gangline.runtime.store import open_store

    try:
        with open_store(db) as store, file.open(encoding="utf-8") as lines:
            imported = store.import_(lines, unfinished=unfinished)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"The export cannot be read: {error}", where=str(file)) from None
    if as_json:
        print_document(asdict(imported))
        return
    left = f"{imported.present} were there, {imported.unfinished} have not ended"
    console().print(f"{imported.jobs} jobs added ({left})", markup=False)


def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", help="Nothing happened to them for this long: 12h, 30d.")
    ],
    status: Statuses = None,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Forget jobs that ended, with their events. There is no way back: export them before."""
    from gangline.runtime.store import open_store

    before_s = time.time() - age_s(older_than)
    with open_store(db) as store:
        pruned = store.prune(before_s, _known(status) if status else FINAL_STATUSES)
    if as_json:
        print_document({"pruned": pruned})
    else:
        console().print(f"{pruned} jobs forgotten", markup=False)


def age_s(text: str) -> float:
    """Read an age (`90s`, `15m`, `12h`, `30d`, `4w`) in seconds; UsageError if it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if found is None:
        raise UsageError(
            f"{text!r} is no age", next_step="Give a number and a unit: 90s, 15m, 12h, 30d, 4w."
        )
    return float(found[1]) * _UNITS_S[found[2]]


def _known(statuses: list[str]) -> list[str]:
    for status in statuses:
        if status not in JOB_STATUSES:
            raise UsageError(
                f"No job status is called {status!r}",
                next_step=f"Use one of: {', '.join(JOB_STATUSES)}.",
            )
    return statuses
