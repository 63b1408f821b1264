"""`gangline memory list|show|forget|export`: what workflows remember in a job store."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from gangline.ir.errors import UsageError
from gangline.ir.specs.event import LOCAL
from gangline.ir.specs.memory import MAX_LIMIT

from .output import console, print_document
from .run_command import Json

app = typer.Typer(
    help="List, show, forget and export what workflows remember.", no_args_is_help=True
)
Database = Annotated[
    str | None, typer.Option("--db", help="The job store: a file or postgresql:// URL.")
]
Tenant = Annotated[str, typer.Option("--tenant", help="Whose memory.")]
Space = Annotated[str, typer.Argument(help="A memory space, such as notes.")]
SHOWN = 100
"""Characters of a value in a table."""


@app.command("list")
def list_spaces(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this one's.")] = None,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """List memory spaces: whose they are, what they hold and how much of it."""
    from gangline.runtime.store import open_store

    with open_store(db) as store:
        rows = store.memory.spaces(tenant)
    if as_json:
        print_document({"data": [asdict(row) for row in rows]})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("space", "tenant", "holds", "entries", "model", box=None, pad_edge=False)
    for row in rows:
        told = (row.space, row.tenant, row.kind, f"{row.entries:,}", row.model or "-")
        table.add_row(*map(Text, told))
    console().print(table if rows else "Nothing is remembered yet: see gl.remember.")


@app.command("show")
def show(
    space: Space,
    key: Annotated[str | None, typer.Argument(help="One entry of it.")] = None,
    find: Annotated[
        str, typer.Option("--find", help="Entries with these words, the best first.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="How many.")] = 50,
    after: Annotated[str, typer.Option("--after", help="Begin after this key.")] = "",
    tenant: Tenant = LOCAL,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Show the entries of a space in the order of their keys, or one of them."""
    from gangline.runtime.store import open_store

    if key is not None and find:
        raise UsageError(
            "An entry is named and looked for at once",
            where="--find",
            next_step="Give a key or --find, not both.",
        )
    with open_store(db) as store:
        if key is not None:
            rows = [store.memory.entry(tenant, space, key)]
        elif find:
            rows = store.memory.lookup(tenant, space, "text", find, limit)
        else:
            rows = store.memory.entries(tenant, space, limit, after)
    documents = [asdict(row) for row in rows]
    if as_json:
        print_document(documents[0] if key is not None else {"data": documents})
    elif key is not None:
        print_document(documents[0]["value"])
    else:
        _print_entries(documents)


@app.command("forget")
def forget(
    space: Space,
    key: Annotated[str | None, typer.Argument(help="One entry; without it the space.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a space goes.")] = False,
    tenant: Tenant = LOCAL,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Forget an entry, or a space with all it holds. The logs of jobs keep what they saw."""
    from gangline.runtime.store import open_store

    if key is None and not yes:
        if as_json or not sys.stdin.isatty():
            raise UsageError(
                f"All of the space {space!r} would be forgotten",
                where="--yes",
                next_step="Add --yes, or name one entry.",
            )
        typer.confirm(f"Forget all of the space {space}?", abort=True)
    with open_store(db) as store:
        count = store.memory.forget(tenant, space, key).result()
    if as_json:
        print_document({"space": space, "key": key, "forgotten": count})
    else:
        console().print(f"{count:,} {'entry' if count == 1 else 'entries'} forgotten")


@app.command("export")
def export(
    space: Annotated[str | None, typer.Argument(help="One space; without it all.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only this one's.")] = None,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Write entries to stdout, a line of JSON each (with --json: one document)."""
    from gangline.runtime.store import open_store

    with open_store(db) as store:
        lines = store.memory.export(tenant, space)
        if as_json:
            import json

            print_document({"data": [json.loads(line) for line in lines]})
            return
        for line in lines:
            sys.stdout.write(line)


def _print_entries(rows: list[dict[str, Any]]) -> None:
    import json

    from rich.table import Table
    from rich.text import Text

    table = Table("key", "value", box=None, pad_edge=False)
    for row in rows:
        value = row["value"]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
        table.add_row(Text(row["key"]), Text(shown))
    console().print(table if rows else "No entries.")
