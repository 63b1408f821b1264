"""A job's expected times, by stage name: what plans and drawings show of `ir/critical_path.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gangline.ir.critical_path import Hop, paths
from gangline.ir.program import Program


@dataclass(frozen=True, slots=True)
class Timeline:
    """Expected times of one job.

    Attributes:
        seconds: end of the last stage.
        path: names of the step stages on the critical path, in order.
        spans: (start, end) seconds of the first visit of each step stage, by name.
    """

    seconds: float
    path: tuple[str, ...]
    spans: Mapping[str, tuple[float, float]]


def timeline(
    program: Program, seconds: Mapping[int, float], factors: Mapping[str, float], hop: Hop
) -> Timeline:
    """Compute a job's expected times.

    Args:
        seconds: by stage id, what one visit adds to the job's time.
        factors: of control stages, as in `Profile.factors`.
    """
    found = paths(program, seconds, factors, hop)
    names = dict.fromkeys(stage.name for stage in found.critical())
    return Timeline(found.seconds, tuple(names), found.spans())
