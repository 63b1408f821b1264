"""`gangline keys create|list|revoke`: who may use a server."""

from __future__ import annotations

import math
import time
from typing import Annotated, Any

import typer

from gangline.ir.errors import NotFoundError, UsageError

from .output import console, print_document
from .run_command import Json

app = typer.Typer(help="Make, list and revoke API keys of a server.", no_args_is_help=True)
Database = Annotated[
    str | None, typer.Option("--db", help="The server's job store: a file or postgresql:// URL.")
]


@app.command("create")
def create(
    tenant: Annotated[str, typer.Option("--tenant", help="Whose jobs the key submits and sees.")],
    scope: Annotated[
        str, typer.Option("--scope", help="submit, read, admin; several with commas.")
    ] = "submit,read",
    max_in_flight: Annotated[
        float | None, typer.Option("--max-in-flight", help="Jobs that are queued or run, at most.")
    ] = None,
    usd_per_day: Annotated[
        float | None, typer.Option("--usd-per-day", help="US dollars a UTC day, at most.")
    ] = None,
    tokens_per_min: Annotated[
        float | None, typer.Option("--tokens-per-min", help="Tokens a minute, at most.")
    ] = None,
    weight: Annotated[
        float | None, typer.Option("--weight", help="Share of a busy server; others have 1.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="What the key is for.")] = "",
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Make a key and show it, this once: only its hash is kept."""
    from gangline.runtime.job_id import new_job_id as time_sorted_id
    from gangline.runtime.service.keys import hash_key, new_key
    from gangline.runtime.store import open_store
    from gangline.runtime.store.records import KeyRow

    now, key = time.time(), new_key()
    row = KeyRow(
        id=time_sorted_id(now),
        hash=hash_key(key),
        tenant=tenant_name(tenant),
        scopes=scopes_of(scope),
        quota=quota_of(
            max_in_flight=max_in_flight,
            usd_per_day=usd_per_day,
            tokens_per_min=tokens_per_min,
            weight=weight,
        ),
        created_s=now,
        note=note,
    )
    with open_store(db) as store:
        store.add_key(row).result()
    if as_json:
        print_document({"key": key, **key_document(row)})
        return
    err = console(stderr=True)
    err.print(f"Key {row.id} of {row.tenant}. It is not shown again:", markup=False)
    console().print(key, markup=False)
    err.print("Callers put it into GANGLINE_API_KEY.", style="dim")


@app.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only keys of this one.")] = None,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """List keys, never the keys themselves."""
    from gangline.runtime.store import open_store

    with open_store(db) as store:
        rows = [key_document(row) for row in store.keys(tenant)]
    if as_json:
        print_document({"data": rows})
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("key", "tenant", "scopes", "quota", "state", "note", box=None, pad_edge=False)
    for row in rows:
        quota = ", ".join(f"{name} {value:g}" for name, value in row["quota"].items())
        state = "valid" if row["revoked_s"] is None else "revoked"
        told = (row["id"], row["tenant"], ",".join(row["scopes"]), quota, state, row["note"])
        table.add_row(*map(Text, told))
    console().print(table if rows else "No keys yet: only this machine may use the server.")


@app.command("revoke")
def revoke(
    key: Annotated[str, typer.Argument(help="A key's id; a unique beginning or end is enough.")],
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Revoke a key; servers stop to accept it within two seconds."""
    from gangline.runtime.store import open_store

    with open_store(db) as store:
        matching = [r for r in store.keys() if r.id.startswith(key) or r.id.endswith(key)]  # noqa: SIM118
        if not key or len(matching) != 1:
            raise NotFoundError(
                f"{len(matching) or 'No'} keys match {key!r}",
                next_step="`gangline keys list` shows the ids.",
            )
        store.revoke_key(matching[0].id, time.time()).result()
        row = next(row for row in store.keys() if row.id == matching[0].id)  # noqa: SIM118
    if as_json:
        print_document(key_document(row))
    else:
        console().print(f"Key {row.id} of {row.tenant}: revoked", markup=False)


def key_document(row: Any) -> dict[str, Any]:
    """Give what may be shown of a key (schema: docs/schemas/key.json); not even its hash."""
    return {
        "id": row.id,
        "tenant": row.tenant,
        "scopes": list(row.scopes),
        "quota": dict(row.quota),
        "created_s": row.created_s,
        "revoked_s": row.revoked_s,
        "note": row.note,
    }


def tenant_name(name: str) -> str:
    """Check a tenant's name: it is shown in lists and logs, and may become a label."""
    if not 1 <= len(name) <= 100 or not name.isprintable() or name != name.strip():
        raise UsageError(
            f"{name[:100]!r} is not a tenant's name",
            where="--tenant",
            next_step="Give 1 to 100 printable characters without blanks at the ends.",
        )
    return name


def scopes_of(text: str) -> tuple[str, ...]:
    """Read scopes with commas between them."""
    from gangline.runtime.service.tenant import SCOPES

    named = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in named if name not in SCOPES]
    if unknown or not named:
        raise UsageError(
            f"There is no scope {unknown[0]!r}" if unknown else "A key needs a scope",
            where="--scope",
            next_step=f"Use {', '.join(SCOPES)}.",
        )
    return tuple(name for name in SCOPES if name in named)


def quota_of(**limits: float | None) -> dict[str, float]:
    """Check limits and give those that were named."""
    from gangline.runtime.service.keys import quota_from_json, quota_to_json

    given = {name: value for name, value in limits.items() if value is not None}
    try:
        if not all(math.isfinite(value) for value in given.values()):
            raise ValueError("a limit must be a finite number")
        return quota_to_json(quota_from_json(given))
    except ValueError as error:
        text = str(error)
        raise UsageError(
            text[0].upper() + text[1:], where="quota", next_step="Leave it out for no limit."
        ) from None
