"""The tree that a drawing is made of: items, and levels of items."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Item:
    """One thing to draw: a step, a model call, or control flow with graphs inside.

    `stages` are names of the program's stages that it stands for.
    """

    id: str
    label: str
    kind: str
    stages: list[str]
    inside: list[Level] = field(default_factory=list)
    within: tuple[str, ...] = ()
    """Names of the inlined agents around it, outermost first."""


@dataclass(slots=True)
class Level:
    """One region: items, and pairs of positions of which the second reads the first."""

    title: str = ""
    items: list[Item] = field(default_factory=list)
    edges: set[tuple[int, int]] = field(default_factory=set)
    outer: frozenset[int] = frozenset()
    """Values of the regions around it that something in here reads."""
