"""Types an author writes in signatures: `Database`, `Rows`, `Free[T]` and `Secret[T]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DatabaseMark:
    """Marks a `str` as the name of a database."""


@dataclass(frozen=True, slots=True)
class FreeMark:
    """Marks a part of a prompt that the compiler may move."""


@dataclass(frozen=True, slots=True)
class SecretMark:
    """Marks an input that may not reach an external tool."""


Database = Annotated[str, DatabaseMark()]
"""A database: the path of a SQLite file, a registered name, or a `postgresql://` URL.

It is a `str` at run time. In a trace it is its own type: text made by a model or a tool is not
accepted where a database is wanted.
"""

Free = Annotated[T, FreeMark()]
"""`Free[T]`: a field of a prompt whose place the author leaves to the compiler."""

Secret = Annotated[T, SecretMark()]
"""`Secret[T]`: an input of a workflow that the policy pass keeps from external tools."""


class Rows(BaseModel):
    """What a query returned. `truncated` is True when there were more rows than were kept."""

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool = False
