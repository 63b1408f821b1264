"""One running instance of a region, and the control stages that wait for such instances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gangline.ir.errors import LoweringError

from .layout import RegionLayout

MAX_PARENTS = 256
"""Most parents one step names. Without a bound, a loop that carries a growing join would copy
all parents on every trip."""

Parents = tuple[str, ...]


@dataclass(slots=True, eq=False)
class Bound:
    """A value and the ids of the steps it comes from; never changed (frozen ones cost more)."""

    value: Any
    parents: Parents = ()


def merge(parts: list[Parents]) -> Parents:
    """Join parents in order, each once, at most MAX_PARENTS."""
    parts = [part for part in parts if part]
    if len(parts) <= 1:
        return parts[0] if parts else ()
    joined = dict.fromkeys(name for part in parts for name in part[:MAX_PARENTS])
    return tuple(joined)[:MAX_PARENTS]


@dataclass(slots=True, eq=False)
class Frame:
    """A region being executed.

    Attributes:
        prefix: what the ids of its steps start with.
        control: the steps whose results decided that this frame runs.
        values: what is known, by value number.
        missing: by position, how many values are still unknown.
        open: positions not finished yet; the frame is done at 0.
        waiters: positions of inner frames that wait for a value of this frame.
    """

    layout: RegionLayout
    parent: Frame | None
    owner: Control | None
    slot: int
    prefix: str
    control: Parents
    values: dict[int, Bound] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    open: int = 0
    waiters: dict[int, list[tuple[Frame, tuple[int, ...]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.missing = list(self.layout.counts)
        self.open = len(self.missing)
        for value, region, positions in self.layout.outer:
            owner = self._ancestor(region)
            if value not in owner.values:
                owner.waiters.setdefault(value, []).append((self, positions))
                for position in positions:
                    self.missing[position] += 1

    def _ancestor(self, region: int) -> Frame:
        frame = self.parent
        while frame is not None and frame.layout.index != region:
            frame = frame.parent
        if frame is None:
            raise LoweringError("A region reads a value of a region that is not around it")
        return frame

    def lookup(self, value: int) -> Bound:
        """Find a value here or in the frames around; it must be known."""
        frame: Frame | None = self
        while frame is not None:
            found = frame.values.get(value)
            if found is not None:
                return found
            frame = frame.parent
        raise LoweringError(f"Value %{value} is read before it is made")

    def read(self, values: tuple[int, ...]) -> list[Bound]:
        """Look several values up."""
        known = self.values
        return [known[value] if value in known else self.lookup(value) for value in values]


@dataclass(slots=True, eq=False)
class Control:
    """A map, branch, loop or call that waits for frames.

    Attributes:
        results: by slot, what each frame gave (a map has many slots, the others one).
        waiting: frames still running.
        trips: bodies a loop has run; `testing` while its `until` frame runs.
    """

    frame: Frame
    position: int
    results: list[Bound]
    waiting: int
    trips: int = 0
    testing: bool = False
