"""What of a program is drawn: steps and control flow as a tree of small graphs.

Values that the dispatcher computes itself (constants, arithmetic, members) are not drawn; edges
pass through them. At agent level the four stages of one model call are one node.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gangline.ir.program import Program, Stage

HIDDEN = frozenset({"constant", "compute"})
LLM_STAGES = ("tokenize", "prefill", "decode", "detokenize")
LEVELS = ("agent", "stage")
SIDES = {"branch": ("then", "else"), "loop": ("until", "")}


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


@dataclass(slots=True)
class Level:
    """One region: items, and pairs of positions of which the second reads the first."""

    title: str = ""
    items: list[Item] = field(default_factory=list)
    edges: set[tuple[int, int]] = field(default_factory=set)
    outer: frozenset[int] = frozenset()
    """Values of the regions around it that something in here reads."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a value comes from: items of its level, and values from outside the level."""

    items: frozenset[int] = frozenset()
    outer: frozenset[int] = frozenset()


def drawn_tree(program: Program, level: str = "stage") -> Level:
    """Give the graph of a program, at `agent` or `stage` level."""
    return _Builder(program, level == "agent").region(0, "")


class _Builder:
    def __init__(self, program: Program, calls: bool) -> None:
        self.program, self.calls = program, calls

    def region(self, index: int, title: str) -> Level:
        """Draw one region; its own arguments come from nowhere."""
        region = self.program.regions[index]
        level = Level(title)
        origins = {value: _Origin() for value in region.arguments}
        groups: dict[int, int] = {}
        outer: set[int] = set()
        # Invariant: `origins` holds every value made so far in this region.
        for number in region.stages:
            stage = self.program.stages[number]
            reads, inside = self._inside(stage)
            found = _join(origins.get(value, _Origin(outer=frozenset({value}))) for value in reads)
            if stage.op in HIDDEN:
                origins.update(dict.fromkeys(stage.results, found))
                continue
            outer |= found.outer
            position = self._item(level, stage, inside, groups)
            level.edges.update((source, position) for source in found.items if source != position)
            made = _Origin(frozenset({position}))
            origins.update(dict.fromkeys(stage.results, made))
        yielded = _join(
            origins.get(value, _Origin(outer=frozenset({value}))) for value in region.yields
        )
        level.outer = frozenset(outer | yielded.outer)
        return level

    def _inside(self, stage: Stage) -> tuple[list[int], list[Level]]:
        """Give what a stage reads (with all that its regions read), and its regions drawn."""
        titles = SIDES.get(stage.op, ("", "", ""))
        inside = [self.region(r, t) for r, t in zip(stage.regions, titles, strict=False)]
        reads = {value for level in inside for value in level.outer}
        return [*stage.operands, *sorted(reads)], [level for level in inside if level.items]

    def _item(self, level: Level, stage: Stage, inside: list[Level], groups: dict[int, int]) -> int:
        """Add a stage to its level, or to the model call it belongs to; gives the position."""
        if not (self.calls and stage.op in LLM_STAGES):
            level.items.append(Item(stage.name, _label(stage), stage.op, [stage.name], inside))
            return len(level.items) - 1
        position = groups.pop(stage.operands[0], None) if stage.op != "tokenize" else None
        if position is None:
            position = len(level.items)
            name = stage.name.replace(f".{stage.op}", "")
            level.items.append(Item(name, name, "llm", []))
        level.items[position].stages.append(stage.name)
        # A second decode of one prefill is a call of its own: it may read what the first gave.
        groups.update(dict.fromkeys(stage.results, position))
        return position


def _join(origins: Iterable[_Origin]) -> _Origin:
    found = list(origins)
    if len(found) == 1:
        return found[0]
    return _Origin(
        frozenset().union(*(origin.items for origin in found)),
        frozenset().union(*(origin.outer for origin in found)),
    )


def _label(stage: Stage) -> str:
    if stage.op == "loop":
        return f"loop, at most {stage.attributes.get('max_trips', '?')}"
    if stage.op in ("map", "branch"):
        return stage.op
    return stage.name
