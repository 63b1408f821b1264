"""Which database a URL means."""

from __future__ import annotations

from pathlib import Path

from gangline.ir.errors import StoreError
from gangline.runtime.folders import data_dir

from .database import Database
from .sqlite import SqliteDatabase


def _default_path() -> Path:
    """Give the store's file under gangline's data folder."""
    return data_dir() / "jobs.sqlite"


def open_database(url: str | Path | None) -> Database:
    """Open a path or `sqlite:///path`, `postgresql://...`, or None for the user's own file."""
    text = str(url) if url is not None else ""
    if text.startswith(("postgresql://", "postgres://")):
        try:
            from .postgres import PostgresDatabase
        except ImportError:
            raise StoreError(
                "A job store in PostgreSQL needs the package psycopg",
                next_step="Install it: pip install 'gangline[postgres]'",
            ) from None
        return PostgresDatabase(text)
    if text.startswith("sqlite:///"):
        return SqliteDatabase(Path(text.removeprefix("sqlite:///")))
    if "://" in text:
        raise StoreError(
            "A job store is a file or a PostgreSQL database",
            where=text.partition("://")[0],
            next_step="Give a path, sqlite:///path or postgresql://user@host/database.",
        )
    return SqliteDatabase(Path(url) if url is not None else _default_path())
