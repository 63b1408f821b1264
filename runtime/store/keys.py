"""API keys: only a hash of a key is kept. A key is 256 random bits, so the hash needs no salt."""

from __future__ import annotations

import json

from .database import Database, Row
from .records import KeyRow

_COLUMNS = "id, hash, tenant, scopes, quota, created_s, revoked_s, note"


def add_key(database: Database, key: KeyRow) -> None:
    """Keep a key."""
    database.run(
        f"INSERT INTO api_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key.id,
            key.hash,
            key.tenant,
            json.dumps(list(key.scopes)),
            json.dumps(dict(key.quota)),
            key.created_s,
            key.revoked_s,
            key.note,
        ),
    )


def list_keys(database: Database, tenant: str | None) -> list[KeyRow]:
    """Give the keys of a tenant, or all, oldest first."""
    where, values = ("", ()) if tenant is None else ("WHERE tenant = ? ", (tenant,))
    rows = database.read(f"SELECT {_COLUMNS} FROM api_keys {where}ORDER BY created_s, id", values)
    return [_key(row) for row in rows]


def find_key(database: Database, hash_: str) -> KeyRow | None:
    """Find a key by its hash; the caller looks whether it was revoked."""
    rows = database.read(f"SELECT {_COLUMNS} FROM api_keys WHERE hash = ?", (hash_,))
    return _key(rows[0]) if rows else None


def revoke_key(database: Database, id_: str, now: float) -> bool:
    """Revoke a key; gives whether there was one that was valid."""
    return bool(
        database.run(
            "UPDATE api_keys SET revoked_s = ? WHERE id = ? AND revoked_s IS NULL", (now, id_)
        )
    )


def count_changes(database: Database) -> tuple[int, int]:
    """Give how many keys were ever made and revoked: it differs after every change of the keys."""
    ((made, revoked),) = database.read("SELECT count(*), count(revoked_s) FROM api_keys", ())
    return int(made), int(revoked)


def _key(row: Row) -> KeyRow:
    id_, hash_, tenant, scopes, quota, created_s, revoked_s, note = row
    return KeyRow(
        id=id_,
        hash=hash_,
        tenant=tenant,
        scopes=tuple(json.loads(scopes)),
        quota=json.loads(quota),
        created_s=created_s,
        revoked_s=revoked_s,
        note=note,
    )
