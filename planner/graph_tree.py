"""What of a program is drawn: steps and control flow as a tree of small graphs.

Values that the dispatcher computes itself (constants, arithmetic, members) are not drawn; edges
pass through them. At agent level the four stages of one model call are one node, and
an embedding belongs to the lookup or store that reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gangline.ir.program import Program, Stage

from .graph_boxes import boxed
from .graph_items import Item, Level

HIDDEN = frozenset({"constant", "compute"})
LLM_STAGES = ("tokenize", "prefill", "decode", "detokenize")
LEVELS = ("agent", "stage")
SIDES = {"branch": ("then", "else"), "loop": ("until", "")}


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a value comes from: items of its level, and values from outside the level."""

    items: frozenset[int] = frozenset()
    outer: frozenset[int] = frozenset()


Plans = Mapping[str, Sequence[Mapping[str, Any]]]
"""Plans that `expand` stages recorded at run time, by stage name: steps with `id`, `tool` and the
ids they come `after`."""


def drawn_tree(program: Program, level: str = "stage", plans: Plans | None = None) -> Level:
    """Give the graph of a program, at `agent` or `stage` level, with recorded plans inside."""
    return _Builder(program, level == "agent", plans or {}).region(0, "")


class _Builder:
    def __init__(self, program: Program, calls: bool, plans: Plans) -> None:
        self.program, self.calls, self.plans = program, calls, plans
        self.calls_drawn: set[str] = set()

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
            if stage.op in HIDDEN or (self.calls and stage.op == "embed"):
                origins.update(dict.fromkeys(stage.results, found))
                continue
            outer |= found.outer
            if plan := self.plans.get(stage.name):
                inside = [_planned(stage, plan)]
            position = self._item(level, stage, inside, groups)
            level.edges.update((source, position) for source in found.items if source != position)
            made = _Origin(frozenset({position}))
            origins.update(dict.fromkeys(stage.results, made))
        yielded = _join(
            origins.get(value, _Origin(outer=frozenset({value}))) for value in region.yields
        )
        level.outer = frozenset(outer | yielded.outer)
        return boxed(level)

    def _inside(self, stage: Stage) -> tuple[list[int], list[Level]]:
        """Give what a stage reads (with all that its regions read), and its regions drawn."""
        titles = zip(stage.regions, _titles(stage), strict=True)
        inside = [self.region(region, title) for region, title in titles]
        reads = {value for level in inside for value in level.outer}
        return [*stage.operands, *sorted(reads)], [level for level in inside if level.items]

    def _item(self, level: Level, stage: Stage, inside: list[Level], groups: dict[int, int]) -> int:
        """Add a stage to its level, or to the model call it belongs to; gives the position."""
        if not (self.calls and stage.op in LLM_STAGES):
            item = Item(stage.name, _label(stage), stage.op, [stage.name], inside, _within(stage))
            level.items.append(item)
            return len(level.items) - 1
        position = groups.pop(stage.operands[0], None) if stage.op != "tokenize" else None
        if position is None:
            position = len(level.items)
            name = stage.name.replace(f".{stage.op}", "")
            # A decode of a prefill outside its region is an item of its own, beside that one.
            own = stage.name if name in self.calls_drawn else name
            self.calls_drawn.add(own)
            level.items.append(Item(own, _plain(name), "llm", [], within=_within(stage)))
        level.items[position].stages.append(stage.name)
        # A second decode of one prefill is a call of its own: it may read what the first gave.
        groups.update(dict.fromkeys(stage.results, position))
        return position


def _within(stage: Stage) -> tuple[str, ...]:
    return tuple(stage.attributes.get("agent.within", ()))


def _planned(stage: Stage, plan: Sequence[Mapping[str, Any]]) -> Level:
    """Draw the steps of a plan; they are named by their step ids."""
    places = {step["id"]: position for position, step in enumerate(plan)}
    names = [f"{stage.name}/{name}" for name in places]
    items = [
        Item(name, f"{step['id']}: {step['tool']}", "tool", [name])
        for name, step in zip(names, plan, strict=True)
    ]
    edges = {(places[before], places[step["id"]]) for step in plan for before in step["after"]}
    return Level(items=items, edges=edges)


def _join(origins: Iterable[_Origin]) -> _Origin:
    found = list(origins)
    if len(found) == 1:
        return found[0]
    return _Origin(
        frozenset().union(*(origin.items for origin in found)),
        frozenset().union(*(origin.outer for origin in found)),
    )


def _titles(stage: Stage) -> tuple[str, ...]:
    """Name the sides of a branch or loop, and the agents that a plan may call."""
    if "case" in stage.attributes:
        return (stage.attributes["case"], "")
    agents = tuple(stage.attributes.get("agents", ("",) * len(stage.regions)))
    return SIDES.get(stage.op, agents)


def _label(stage: Stage) -> str:
    if stage.op == "loop":
        return f"loop, at most {stage.attributes.get('max_trips', '?')}"
    if stage.op in ("map", "branch"):
        return stage.op
    return _plain(stage.name)


def _plain(name: str) -> str:
    """Give a name without its number (`find#2`): the drawing shows which is which."""
    return name.partition("#")[0]
