"""Registered databases: names a server gives to its databases, so that callers never name a file.

A value of type `Database` that equals a registered name stands for that database. The name is
what jobs store and messages show; the location is looked up inside the tool that opens it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

from gangline.ir.errors import ConfigError, InputError

from .signature import near

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Databases:
    """Locations by name; safe to use from many threads."""

    def __init__(self) -> None:
        self._locations: dict[str, str] = {}
        self._makers: dict[str, Callable[[], Path]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, location: str) -> None:
        """Register a database under a name, instead of any of that name.

        Args:
            name: letters, digits, `.`, `_` and `-`, at most 64.
            location: the path of a SQLite file (kept as an absolute path) or a
                `postgresql://` URL. Nothing is opened yet.

        Raises:
            ConfigError: the name has other characters, or the location is empty.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot be the name of a database",
                where="database",
                next_step="Use letters, digits, '.', '_' and '-', beginning with a letter or digit.",
            )
        if not location:
            raise ConfigError(
                f"The database {name!r} has no location",
                where="database",
                next_step=f"Write {name}=path/to/file.sqlite or {name}=postgresql://...",
            )
        with self._lock:
            self._locations[name] = location if "://" in location else _absolute(location)

    def provide(self, name: str, make: Callable[[], Path]) -> None:
        """Say how a database is made that is there when a tool first opens it by this name.

        It is not registered by that: callers from outside may not name it, and a database that
        is registered under the name comes before it.
        """
        with self._lock:
            self._makers[name] = make

    def remove(self, name: str) -> None:
        """Forget a name; nothing happens if it is not registered."""
        with self._lock:
            self._locations.pop(name, None)

    def get(self, name: str) -> str | None:
        """Give the location of a name, or None."""
        found = self._locations.get(name)
        make = self._makers.get(name)
        return str(make()) if found is None and make is not None else found

    def require(self, name: str) -> str:
        """Give a name back if it is registered; InputError otherwise (for untrusted callers)."""
        if name not in self._locations:
            raise InputError(
                "There is no database of that name here",
                where="database",
                next_step=near(name, self._locations)
                or f"Registered are: {', '.join(self.names()) or 'none'}.",
            )
        return name

    def names(self) -> list[str]:
        """Give all names, sorted."""
        return sorted(self._locations)

    def __contains__(self, name: object) -> bool:
        return name in self._locations


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


DATABASES = Databases()
"""The databases of this process."""
