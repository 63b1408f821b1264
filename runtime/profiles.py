"""Which profile a plan rests on: a file, what jobs here took, or what the workflow ships with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from gangline.ir.errors import ConfigError, InputError
from gangline.ir.program import Program
from gangline.planner.profile import Profile, observe
from gangline.planner.profile_file import from_document, parse_profile, portable, to_document

from .dispatch.job import JobResult
from .folders import write_whole
from .history import History

SHIPPED = "profile.json"
"""Beside the code of a built-in workflow."""


def load_profile(path: str | Path) -> Profile:
    """Read a profile file or a trace; InputError or ConfigError says what is wrong."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The profile cannot be read: {error}", where=str(file), next_step="Check --profile."
        ) from None
    return parse_profile(text, str(file))


@lru_cache(maxsize=16)
def shipped_profile(workflow: str) -> Profile | None:
    """Give the profile a built-in workflow ships with; None where it has none."""
    found = files("gangline.workflows").joinpath(workflow, SHIPPED)
    if not workflow.isidentifier() or not found.is_file():
        return None
    return from_document(json.loads(found.read_text(encoding="utf-8")), str(found))


def profile_for(program: Program, path: str | Path | None = None) -> Profile | None:
    """Give the best profile of a program there is.

    A file that is named stands alone. Otherwise jobs that ran here are added to what the
    workflow ships with; without jobs of this very program, those of another version or with
    another model count, as far as their stages have the same names.

    Raises:
        ConfigError: the file knows none of the program's stages.
    """
    names = {stage.name for stage in program.walk()}
    if path is not None:
        return _checked(load_profile(path), names, str(path))
    shipped = shipped_profile(program.name)
    if shipped is not None and not names >= set(shipped.stages):
        shipped = None  # a user's workflow of the same name, or an older file
    history = History()
    known = history.profile(program) or history.relative(program)
    if shipped is None or known is None:
        return known or shipped
    return local_seconds(shipped.merge(known), known)


def local_seconds(merged: Profile, own: Profile) -> Profile:
    """Give a merged profile with the tool seconds of this machine wherever some were measured.

    What jobs do is alike everywhere, and more jobs say it better; how long a tool takes is not.
    """
    stages = dict(merged.stages)
    for name, row in own.stages.items():
        if row.seconds is not None and row.samples:
            stages[name] = replace(
                stages[name], seconds=row.seconds, samples=row.samples, source=row.source
            )
    return replace(merged, stages=stages)


def _checked(profile: Profile, names: set[str], file: str) -> Profile:
    if not names.intersection(profile.stages):
        raise ConfigError(
            "The profile knows none of the workflow's stages: it has "
            f"{', '.join(list(profile.stages)[:4])}",
            where=file,
            next_step="Measure the workflow itself, or size a fleet for the profile alone with "
            "`gangline tco --profile`.",
        )
    return profile


def profile_of(results: Iterable[JobResult]) -> Profile:
    """Make a profile for any machine from jobs of one workflow that ran one by one."""
    done = [result for result in results if result.status == "succeeded"]
    if not done:
        raise InputError("No job succeeded, so there is nothing to profile")
    steps = [step for result in done for step in result.steps]
    return portable(observe(steps, len(done)))


def write_profile(path: Path, profile: Profile, workflow: str, note: str) -> None:
    """Write a profile file (docs/schemas/profile.json), whole or not at all."""
    write_whole(path, profile_text(to_document(profile, workflow, note)))


def profile_text(document: Mapping[str, Any]) -> str:
    """Write a profile's document with a line per stage, so that two of them can be compared."""
    head = {key: value for key, value in document.items() if key != "stages"}
    rows = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in document["stages"].items())
    stages = ",\n".join(rows)
    return json.dumps(head, indent=1)[:-2] + ',\n "stages": {\n' + stages + "\n}}\n"
