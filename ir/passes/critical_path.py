"""Write beside every stage what it takes of a job's time, and how late it may be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from gangline.ir.critical_path import StageTimes, paths
from gangline.ir.decoding import skeleton
from gangline.ir.module import Module, mlir

from .base import Pass
from .rewrite import set_floats

Link = Callable[[str, str, float], float]
"""Seconds that so many bytes take from one device to another."""

_MOVES = frozenset({"transfer", "kv_transfer"})


def no_link(source: str, target: str, moved_bytes: float) -> float:
    """Every transfer is free."""
    return 0.0


@dataclass(frozen=True, slots=True)
class CriticalPath(Pass):
    """Write each stage's seconds, slack and share of the deadline; mark the critical path.

    Args:
        seconds: of one visit, by stage name; what is not listed takes no time.
        factors: of control stages, by name (see `ir/visits.py`).
        link: seconds of a transfer that `seconds` does not list, by devices and bytes.

    Slack counts to the function's `agent.deadline_s`; without one, to the job's expected end.
    """

    name: ClassVar[str] = "critical-path"
    seconds: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    link: Link = no_link

    @classmethod
    def example(cls) -> Self:
        """Two drafts of different length that are joined, then a loop of two trips."""
        seconds = {"short": 1.0, "long": 4.0, "join": 1.0, "fix": 2.0}
        return cls(seconds, {"loop": 2.0})

    def apply(self, module: Module) -> None:
        shape = skeleton(module)
        program = shape.program
        seconds = {
            stage.id: self._seconds(stage.name, stage.op, op)
            for stage, op in zip(program.stages, shape.ops, strict=True)
        }
        found = paths(program, seconds, self.factors)
        deadline_s = program.deadline_s or found.seconds
        rows: dict[int, tuple[float, StageTimes]] = {}
        for number, times in found.stages().items():
            first, own_s = shape.first[number], seconds[number]
            if first in rows:
                known_s, known = rows[first]
                own_s, times = max(known_s, own_s), _joined(known, times)
            rows[first] = own_s, times
        yes, no = mlir.BoolAttr.get(True), mlir.BoolAttr.get(False)
        for number, (own_s, times) in rows.items():
            values = {
                "agent.seconds": own_s,
                "agent.slack_s": deadline_s - times.longest_s,
                "agent.deadline_share": _rounded_down(times.deadline_share),
            }
            set_floats(shape.ops[number], values)
            shape.ops[number].attributes["agent.critical"] = yes if times.critical else no

    def _seconds(self, name: str, op: str, found: Any) -> float:
        known = self.seconds.get(name)
        if known is not None:
            return known
        if op not in _MOVES:
            return 0.0
        given = found.attributes
        moved = given["agent.network_bytes"].value if "agent.network_bytes" in given else 0.0
        return self.link(given["source"].value, given["target"].value, moved)


def _rounded_down(share: float) -> float:
    """Round to 6 decimals so that shares still sum to at most 1."""
    return min(math.floor(share * 1e6 + 1e-6) / 1e6, 1.0)


def _joined(first: StageTimes, second: StageTimes) -> StageTimes:
    """Give the times of an operation that stands for two stages: the more urgent of them."""
    return StageTimes(
        max(first.seconds, second.seconds),
        max(first.longest_s, second.longest_s),
        first.critical or second.critical,
    )
