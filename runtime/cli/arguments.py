"""Read the values users type: inputs, durations, objectives."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gangline.ir.errors import ConfigError, InputError, UsageError
from gangline.ir.program import Parameter

if TYPE_CHECKING:
    from gangline.ir.specs.policy import Grant

_UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Read `4s`, `500ms`, `2m`, `1h` or plain seconds; UsageError otherwise."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z]*)\s*", text)
    if not match or match[2] not in _UNITS or float(match[1]) <= 0:
        raise UsageError(
            f"{text!r} is not a duration", next_step="Write for example 4s, 500ms, 2m or 1h."
        )
    return float(match[1]) * _UNITS[match[2]]


def absolute_reference(workflow: str) -> str:
    """Give `path/to/file.py:name` with its whole path, so that a retry finds it from anywhere."""
    path, colon, name = workflow.rpartition(":")
    return f"{Path(path).resolve()}:{name}" if colon else workflow


def parse_slo(text: str) -> tuple[int, float]:
    """Read an objective such as `p95=4s` into (95, 4.0); UsageError otherwise."""
    match = re.fullmatch(r"p(\d{1,2})=(.+)", text)
    if not match:
        raise UsageError(f"{text!r} is not an objective", next_step="Write for example p95=4s.")
    return int(match[1]), parse_duration(match[2])


def parse_rate(rate: float) -> float:
    """Check a rate of jobs per second; UsageError otherwise."""
    if not 0.0 < rate < math.inf:
        raise UsageError(
            f"{rate:g} is not a rate", where="--rate", next_step="Give jobs per second, above 0."
        )
    return rate


def read_inputs(
    pairs: Sequence[str],
    file: str | None,
    parameters: Iterable[Parameter],
    *,
    local: bool = True,
) -> dict[str, Any]:
    """Join `-i key=value` pairs and a JSON file (`-` for stdin) into a workflow's inputs.

    A value is taken as text where the parameter is text, and read as JSON otherwise. Pairs win
    over the file. Unknown and missing names raise InputError with the right ones. Unless `local`,
    names of databases stay as they are: a server knows its own.
    """
    known = {parameter.name: parameter for parameter in parameters}
    given = {**(_read_file(file) if file else {}), **read_pairs(pairs, known)}
    _check_names(given, known)
    if not local:
        return given
    return {name: _absolute(value, known[name].type) for name, value in given.items()}


def _absolute(value: Any, type_name: str) -> Any:
    """Give the whole path of a database file, so that a retry finds it from anywhere."""
    if type_name != "database" or not isinstance(value, str) or "\0" in value:
        return value
    path = Path(value)
    return str(path.absolute()) if path.is_file() else value


def read_pairs(pairs: Sequence[str], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """Read `key=value` pairs: as JSON where the parameter is known and is no text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name:
            raise UsageError(f"{pair!r} is not an input", next_step="Write -i name=value.")
        parameter = known.get(name)
        is_text = parameter is None or parameter.type in ("text", "database")
        found[name] = value if is_text else _read_value(name, value)
    return found


def _read_value(name: str, value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value  # the workflow's own type check says what it wanted


def _read_file(file: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        inputs = json.loads(text)
    except OSError as error:
        raise InputError(
            f"The input file cannot be read: {error.strerror}",
            where=file,
            next_step="Check --input-json.",
        ) from None
    except ValueError as error:
        raise InputError(
            f"The input file is not JSON: {error}", where=file, next_step="Mend that line."
        ) from None
    if not isinstance(inputs, dict):
        raise InputError(
            "The input file must hold one JSON object", where=file, next_step='Write {"name": ...}.'
        )
    return inputs


def _check_names(given: Mapping[str, Any], known: Mapping[str, Parameter]) -> None:
    wanted = ", ".join(f"{p.name} ({p.type})" for p in known.values()) or "none"
    for name in given:
        if name not in known:
            raise InputError(
                f"The workflow has no input {name!r}", next_step=f"Its inputs are: {wanted}."
            )
    missing = [p.name for p in known.values() if p.required and p.name not in given]
    if missing:
        raise InputError(
            f"The input {missing[0]!r} is missing",
            next_step=f"Add -i {missing[0]}=... (inputs: {wanted}).",
        )


def read_grants(texts: Sequence[str]) -> tuple[Grant, ...]:
    """Read `--grant TOOL` and `--grant TOOL:N`; UsageError for anything else."""
    from gangline.ir.specs.policy import Grant

    try:
        return tuple(Grant.parse(text, "--grant") for text in texts)
    except ConfigError as error:
        raise UsageError(error.detail, where=error.where, next_step=error.next_step) from None
