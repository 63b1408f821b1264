"""The order of a profile's stages: what a stage names as its `parents` comes before it.

A profile file may say of each stage which others it waits for. A profile without a workflow is
planned as one stage after the other, in an order that keeps to that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from gangline.ir.errors import ConfigError
from gangline.planner.catalogue import near_matches
from gangline.planner.profile import Profile


def ordered(profile: Profile, text: str, file: str = "") -> Profile:
    """Give the profile with its stages in an order that respects their parents.

    Raises:
        ConfigError: a parent that is no stage, or stages that wait for each other; with the line.
    """
    parents = _parents(text, profile)
    for stage in profile.stages:
        for parent in parents.get(stage, ()):
            if parent not in profile.stages:
                raise _unknown(parent, stage, profile, _where(text, file, stage))
    sorter = TopologicalSorter({stage: parents.get(stage, ()) for stage in profile.stages})
    try:
        order = tuple(sorter.static_order())
    except CycleError as error:
        raise _ring(error.args[1], profile, text, file) from None
    return replace(profile, stages={stage: profile.stages[stage] for stage in order})


def _ring(found: Sequence[str], profile: Profile, text: str, file: str) -> ConfigError:
    """Name stages that wait for each other, from the first in the file on.

    Args:
        found: each comes before the next, the last is the first.
    """
    ring = list(reversed(found[1:]))
    first = ring.index(min(ring, key=list(profile.stages).index))
    ring = ring[first:] + ring[: first + 1]
    return ConfigError(
        f"The profile's stages wait for each other: {' -> '.join(ring)}",
        where=_where(text, file, ring[0]),
        next_step="Take one of these parents out: a job's steps form no ring.",
    )


def _unknown(parent: str, stage: str, profile: Profile, where: str) -> ConfigError:
    near = near_matches(parent, profile.stages)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return ConfigError(
        f"Stage {stage!r} waits for {parent!r}, which is no stage of the profile",
        where=where,
        next_step=f"{hint}Its stages are {', '.join(profile.stages)}.",
    )


def _parents(text: str, profile: Profile) -> Mapping[str, tuple[str, ...]]:
    """Read who waits for whom; nothing from a trace, whose rows are in order."""
    try:
        document: Any = json.loads(text)
        stages = document["stages"]
        found = {name: stages[name].get("parents", ()) for name in profile.stages}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {
        name: tuple(str(parent) for parent in named)
        for name, named in found.items()
        if isinstance(named, list)
    }


def _where(text: str, file: str, stage: str) -> str:
    """Give file:line of a stage's row."""
    marked = f"{json.dumps(stage)}:"
    for number, line in enumerate(text.splitlines(), start=1):
        if marked in line.replace('" :', '":'):
            return f"{file}:{number}"
    return file
