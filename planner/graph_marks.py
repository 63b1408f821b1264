"""What a plan says of every stage that a drawing shows: its device, and whether time hangs on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gangline.ir.specs.plan import Plan


@dataclass(frozen=True, slots=True)
class Mark:
    """A plan's words on one stage.

    `order` is its place on the critical path, None beside it; `seconds` and `usd` are those of
    all visits a job is expected to make.
    """

    device: str = ""
    order: int | None = None
    seconds: float = 0.0
    usd: float = 0.0


Marks = Mapping[str, Mark]
"""Marks by stage name."""


def plan_marks(plan: Plan) -> Marks:
    """Give the marks of a plan's stages."""
    order = {name: place for place, name in enumerate(plan.critical_path)}
    return {
        row.stage: Mark(
            row.device, order.get(row.stage), row.seconds * row.visits, row.usd * row.visits
        )
        for row in plan.stages
    }


def device_type(device: str) -> str:
    """Give the name all devices of one kind share: `a100` of `a100/3`."""
    return device.rpartition("/")[0] or device


def device_types(marks: Marks, stages: Iterable[str]) -> tuple[str, ...]:
    """Give the kinds of device these stages run on, each once, in the order of the stages."""
    found = (device_type(marks[name].device) for name in stages if name in marks)
    return tuple(dict.fromkeys(kind for kind in found if kind))


def place_on_path(marks: Marks, stages: Iterable[str]) -> int | None:
    """Give the first place on the critical path of any of these stages; None beside it."""
    places = [marks[name].order for name in stages if name in marks]
    return min((place for place in places if place is not None), default=None)
