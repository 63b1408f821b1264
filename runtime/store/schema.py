"""The tables of the job store, version by version, and how a connection is set up."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gangline.ir.errors import StoreError

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE jobs (
            id TEXT PRIMARY KEY,
            status TEXT NOT NULL,
            workflow TEXT NOT NULL,
            created_s REAL NOT NULL,
            updated_s REAL NOT NULL,
            seconds REAL,
            usd REAL NOT NULL DEFAULT 0,
            late INTEGER NOT NULL DEFAULT 0,
            last_seq INTEGER NOT NULL DEFAULT 0,
            owner TEXT NOT NULL DEFAULT '',
            epoch INTEGER NOT NULL DEFAULT 0,
            lease_until_s REAL NOT NULL DEFAULT 0
        ) WITHOUT ROWID""",
        "CREATE INDEX jobs_by_status ON jobs (status, id)",
        """CREATE TABLE events (
            job_id TEXT NOT NULL,
            seq INTEGER NOT NULL,
            type TEXT NOT NULL,
            step_id TEXT NOT NULL,
            at_s REAL NOT NULL,
            data TEXT NOT NULL,
            PRIMARY KEY (job_id, seq)
        ) WITHOUT ROWID""",
    ),
)
"""Statements that bring the store from version n to n + 1 (`PRAGMA user_version`)."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the store for writing, creating its folder (0700) and file (0600) as needed."""
    _private_folder(path.parent)
    connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    try:
        path.chmod(0o600)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _private_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(parents=True, mode=0o700)
        folder.chmod(0o700)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, in one transaction; StoreError if they are from the future."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StoreError(
                f"The job store was written by a newer gangline (schema {version})",
                next_step="Upgrade gangline, or set GANGLINE_HOME to another folder.",
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
