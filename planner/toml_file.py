"""Checked reading of TOML files people write: every error names the file and the line."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gangline.ir.errors import ConfigError

from .catalogue import near_matches

KIND_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    dict: "a table",
    list: "an array of tables",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A table of the file, for error messages: `source` is the whole text, if there is one."""

    file: str
    source: str = ""
    table: str = ""
    index: int = 0

    def where(self, key: str = "") -> str:
        """Give `file:line` of a key of this table, or of the table, or the file's name."""
        line = _line_of(self.source, self.table, self.index, key)
        return f"{self.file}:{line}" if line else self.file

    def error(self, detail: str, next_step: str, key: str = "") -> ConfigError:
        """Make the error about a key of this table, or about the table."""
        return ConfigError(detail, where=self.where(key), next_step=next_step)


def _line_of(source: str, table: str, index: int, key: str) -> int:
    """Find the line of a key of the index-th [[table]], of the table itself, or 0."""
    seen, inside, header = -1, not table, 0
    for number, line in enumerate(source.splitlines(), start=1):
        text = line.strip()
        if text.startswith("[["):
            same = text.split("]]")[0].strip("[ ") == table
            seen += same
            inside = same and seen == index
            header = number if inside else header
        elif inside and key and re.match(rf"""["']?{re.escape(key)}["']?\s*[.=]""", text):
            return number
    return header


def read_text(path: str | Path, what: str, max_bytes: int, next_step: str) -> str:
    """Read a file of UTF-8 text; ConfigError names the file where it is absent, large or binary.

    `what` is what the file is called in messages, for example `fleet file`.
    """
    file = Path(path)
    try:
        if file.stat().st_size > max_bytes:
            raise ConfigError(
                f"The {what} is larger than {max_bytes // 10**6} MB",
                where=str(file),
                next_step="Check that it is the right file.",
            )
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The {what} cannot be read: {_reason(error)}", where=str(file), next_step=next_step
        ) from error


def _reason(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return error.strerror or type(error).__name__


def parse_toml(text: str, file: str, what: str, next_step: str) -> dict[str, Any]:
    """Parse TOML; ConfigError names the file, and the parser its line, where it is not valid."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(
            f"The {what} is not valid TOML: {error}", where=file, next_step=next_step
        ) from error


def tables(document: Mapping[str, Any], key: str, place: Place) -> Sequence[Mapping[str, Any]]:
    """Give the [[key]] tables of a document, none if it has none."""
    found = document.get(key, [])
    if not isinstance(found, list) or not all(isinstance(table, dict) for table in found):
        raise place.error(f"`{key}` is not an array of tables", f"Write [[{key}]] above each.")
    return list(found)


def check_keys(table: Mapping[str, Any], known: Mapping[str, type], place: Place) -> None:
    """Refuse keys that are not known and values that are not of the key's type."""
    for key, value in table.items():
        if key not in known:
            near = near_matches(key, known)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise place.error(f"Unknown key {key!r}", f"{hint}Known keys: {', '.join(known)}.", key)
        check_value(key, value, known[key], place)


def check_value(key: str, value: Any, kind: type, place: Place) -> None:
    """Refuse a value that is not of `kind`, and a number that is negative or not finite."""
    accepted = (int, float) if kind is float else kind
    if isinstance(value, bool) or not isinstance(value, accepted):
        raise place.error(f"`{key}` is not {KIND_NAMES[kind]}", f"Give {KIND_NAMES[kind]}.", key)
    if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
        raise place.error(f"`{key}` is {value}", "Give a finite number that is not negative.", key)


def required(table: Mapping[str, Any], keys: Sequence[str], place: Place) -> None:
    """Refuse a table that lacks one of the keys."""
    for key in keys:
        if key not in table:
            raise place.error(f"A [[{place.table}]] has no `{key}`", f"Add `{key} = ...`.")
