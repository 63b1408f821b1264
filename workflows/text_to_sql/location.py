"""Where a database is: a SQLite file or a PostgreSQL server."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gangline.ir.errors import DatabaseError
from gangline.workflows.databases import DATABASES

SQLITE_MAGIC = b"SQLite format 3\x00"
_TELL = "Tell who runs this server: a registered database cannot be opened."
Dialect = Literal["sqlite", "postgres"]


@dataclass(frozen=True, slots=True)
class Location:
    """An opened-able database; `target` is an absolute path or a URL with its password.

    `name` is the registered name it was found by, or empty.
    """

    dialect: Dialect
    target: str
    name: str = ""

    @property
    def shown(self) -> str:
        """Give the name, or the target without a password, fit for messages and logs."""
        if self.name:
            return self.name
        return redacted(self.target) if self.dialect == "postgres" else self.target


def locate(db: str) -> Location:
    """Tell what `db` names; DatabaseError when no database can be there.

    A registered name comes before a file of that name, and errors show the name only. Looks at
    the file's first bytes, never creates it.
    """
    registered = DATABASES.get(db)
    if registered is None:
        return _locate(db)
    try:
        return replace(_locate(registered), name=db)
    except DatabaseError as error:
        # Whoever may use the name need not learn where the database lies.
        raise DatabaseError(error.detail, where=db, next_step=_TELL) from None


def _locate(db: str) -> Location:
    if db.startswith(("postgresql://", "postgres://")):
        _must_be_url(db)
        return Location("postgres", db)
    if "://" in db and not db.startswith("sqlite:///"):
        scheme = db.split("://", 1)[0]
        raise DatabaseError(
            f"Databases of type {scheme!r} are not supported",
            where=redacted(db),
            next_step="Give the path of a SQLite file or a postgresql:// URL.",
        )
    if "password=" in db:  # PostgreSQL's other form, which must not be shown as a file's name
        step = "Give the path of a SQLite file or a postgresql:// URL."
        raise DatabaseError("Connection parameters are not supported", where="db", next_step=step)
    path = Path(db.removeprefix("sqlite:///")).expanduser()
    _must_be_sqlite(path)
    return Location("sqlite", str(path.resolve()))


def sqlite_uri(path: str) -> str:
    """Give the URI that opens a SQLite file read-only and leaves nothing beside it.

    A file in WAL mode that nobody has open has no -wal file, and SQLite would make one to
    read it. Such a file is opened as immutable instead, which holds as long as no writer
    comes during the one short query.
    """
    with open(path, "rb") as file:
        head = file.read(20)
    idle_wal = head[18:20] == b"\x02\x02" and not Path(f"{path}-wal").exists()
    return f"{Path(path).as_uri()}?mode=ro{'&immutable=1' if idle_wal else ''}"


def redacted(url: str) -> str:
    """Hide the password of a URL, in the host part and in the query; the URL may be malformed."""
    scheme, _, rest = url.partition("://")
    base, mark, query = rest.partition("?")
    if "@" not in base and "@" in query:  # the question mark is part of the password
        base, mark, query = rest, "", ""
    user, at, host = base.rpartition("@")
    shown = f"{scheme}://{user.split(':', 1)[0]}{at}{host}"
    return shown if "password" in query.lower() else f"{shown}{mark}{query}"


def masked(text: str, url: str) -> str:
    """Take the password of a URL out of a message; a driver quotes what it cannot read."""
    user = url.partition("://")[2].rpartition("@")[0]
    secrets = [user.partition(":")[2], *re.findall(r"password=([^&#]*)", url)]
    for secret in secrets:
        text = text.replace(secret, "***") if secret else text
    return text


def _must_be_url(url: str) -> None:
    """Refuse what the driver would misread: a part of the password could become host or port."""
    rest = url.partition("://")[2]
    base = rest.partition("?")[0]
    user = (base if "@" in base else rest).rpartition("@")[0]
    if re.search(r"\s", url) or "/" in user or "?" in user:
        raise DatabaseError(
            "The URL of the database is malformed",
            where=redacted(url),
            next_step="In user and password, write %20 for a blank, %2F for /, %3F for ? and %40 for @.",
        )


def _must_be_sqlite(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(len(SQLITE_MAGIC))
    except FileNotFoundError:
        raise _error(path, "There is no database", "Check the path given as db.") from None
    except IsADirectoryError:
        raise _error(path, "A folder is not a database", "Give the file inside it.") from None
    except (OSError, ValueError) as error:
        step = "Check the path and that you may read it."
        raise _error(path, f"The database cannot be read: {_reason(error)}", step) from error
    if not head:
        raise _error(path, "The database file is empty", "Create tables in it first.")
    if head != SQLITE_MAGIC:
        step = "Give a SQLite 3 file or a postgresql:// URL."
        raise _error(path, "The file is not a SQLite database", step)


def _reason(error: OSError | ValueError) -> str:
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)


def _error(path: Path, detail: str, next_step: str) -> DatabaseError:
    return DatabaseError(detail, where=str(path), next_step=next_step)
