"""Where every node, box and edge of a program's drawing is, in pixels from the upper left.

A map, loop, branch or nested workflow is a box around the drawing of its regions. Pure and
deterministic: the page, `explain` and tests draw from the same numbers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gangline.ir.errors import PlanError
from gangline.ir.program import Program

from .graph_items import Item, Level
from .graph_tree import LEVELS, Plans, drawn_tree
from .layered import Drawing, Point, layered, turned

MAX_NODES = 4000
CHAR_WIDTH = 7.8
"""Pixels of an average character of 13 px sans-serif."""

NODE_HEIGHT, NODE_MIN, NODE_MAX, NODE_PADDING = 46.0, 140.0, 232.0, 30.0
BOX_TITLE, BOX_PADDING, SIDE_TITLE, SIDE_GAP = 26.0, 14.0, 16.0, 14.0
MARGIN = 12.0
WIDEST = 1800.0
"""Pixels beyond which `best` turns a drawing: people scroll down more gladly than sideways."""


@dataclass(frozen=True, slots=True)
class DrawnNode:
    """A step or a model call. `box` is the id of the box around it, or empty."""

    id: str
    label: str
    kind: str
    stages: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float
    box: str = ""


@dataclass(frozen=True, slots=True)
class DrawnBox:
    """A control stage with something inside; `sides` are its titled parts (then, else)."""

    id: str
    label: str
    kind: str
    stages: tuple[str, ...]
    x: float
    y: float
    width: float
    height: float
    box: str = ""
    sides: tuple[tuple[str, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class DrawnEdge:
    """`target` reads what `source` made. A curve runs along the direction through each point."""

    source: str
    target: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class GraphLayout:
    """The drawing of one program. Boxes come before the boxes inside them.

    `direction` is where time goes: `right`, or `down`.
    """

    width: float
    height: float
    nodes: tuple[DrawnNode, ...]
    boxes: tuple[DrawnBox, ...]
    edges: tuple[DrawnEdge, ...]
    direction: str = "right"

    def to_json(self) -> dict[str, Any]:
        """Give the drawing as plain JSON; stages and points become lists."""
        return asdict(self)


def graph_layout(
    program: Program, level: str = "stage", plans: Plans | None = None, direction: str = "right"
) -> GraphLayout:
    """Lay out a program at `stage` level, or at `agent` level with one node per model call.

    `direction` is `right`, `down`, or `best`: down where a page would have to be too wide.
    `plans` are those that `expand` stages recorded: they are drawn inside them.
    PlanError if there are more than MAX_NODES stages, which nobody could read.
    """
    if level not in LEVELS:
        raise PlanError(
            f"There is no level {level!r}", next_step=f"Use one of: {', '.join(LEVELS)}."
        )
    if len(program.stages) > MAX_NODES:
        raise PlanError(
            f"The graph has {len(program.stages)} stages; at most {MAX_NODES} are drawn",
            where=program.name,
            next_step="Read the table of steps instead.",
        )
    tree = drawn_tree(program, level, plans)
    if direction != "best":
        return _laid_out(tree, direction == "down")
    flat = _laid_out(tree, down=False)
    return flat if flat.width <= WIDEST else _laid_out(tree, down=True)


def _laid_out(tree: Level, down: bool) -> GraphLayout:
    pen = _Pen()
    sized = _measure_level(tree, down)
    pen.level(sized, MARGIN, MARGIN, "")
    width, height = sized.drawing.width + 2 * MARGIN, sized.drawing.height + 2 * MARGIN
    return GraphLayout(
        round(width, 1),
        round(height, 1),
        tuple(pen.nodes),
        tuple(pen.boxes),
        tuple(pen.edges),
        "down" if down else "right",
    )


@dataclass(frozen=True, slots=True)
class _SizedLevel:
    level: Level
    drawing: Drawing
    items: tuple[_SizedItem, ...]


@dataclass(frozen=True, slots=True)
class _SizedItem:
    item: Item
    width: float
    height: float
    inside: tuple[_SizedLevel, ...] = ()


def _measure_level(level: Level, down: bool) -> _SizedLevel:
    items = tuple(_measure(item, down) for item in level.items)
    if down:
        drawing = turned(layered([(item.height, item.width) for item in items], level.edges))
    else:
        drawing = layered([(item.width, item.height) for item in items], level.edges)
    return _SizedLevel(level, drawing, items)


def _measure(item: Item, down: bool) -> _SizedItem:
    label = min(max(len(item.label) * CHAR_WIDTH + NODE_PADDING, NODE_MIN), NODE_MAX)
    if not item.inside:
        return _SizedItem(item, round(label, 1), NODE_HEIGHT)
    inside = tuple(_measure_level(level, down) for level in item.inside)
    width = max(label, *(2 * BOX_PADDING + part.drawing.width for part in inside))
    height = BOX_TITLE + BOX_PADDING + sum(_side_height(part) for part in inside)
    height += SIDE_GAP * (len(inside) - 1)
    return _SizedItem(item, width, height, inside)


def _side_height(part: _SizedLevel) -> float:
    return part.drawing.height + (SIDE_TITLE if part.level.title else 0.0)


class _Pen:
    """Turns sizes into places, from the outermost level inwards."""

    def __init__(self) -> None:
        self.nodes: list[DrawnNode] = []
        self.boxes: list[DrawnBox] = []
        self.edges: list[DrawnEdge] = []

    def level(self, sized: _SizedLevel, left: float, top: float, box: str) -> None:
        for part, (x, y) in zip(sized.items, sized.drawing.corners, strict=True):
            self._item(part, left + x, top + y, box)
        ids = [part.item.id for part in sized.items]
        for (source, target), points in sized.drawing.routes.items():
            moved = tuple((round(left + x, 1), round(top + y, 1)) for x, y in points)
            self.edges.append(DrawnEdge(ids[source], ids[target], moved))

    def _item(self, part: _SizedItem, left: float, top: float, box: str) -> None:
        item = part.item
        names = (item.id, item.label, item.kind, tuple(item.stages))
        place = (round(left, 1), round(top, 1), round(part.width, 1), round(part.height, 1))
        if not part.inside:
            self.nodes.append(DrawnNode(*names, *place, box))
            return
        sides: list[tuple[str, float, float]] = []
        index, y = len(self.boxes), top + BOX_TITLE
        self.boxes.append(DrawnBox(*names, *place, box))
        for inner in part.inside:
            if inner.level.title:
                y += SIDE_TITLE
                sides.append((inner.level.title, round(left + BOX_PADDING, 1), round(y - 4, 1)))
            self.level(inner, left + BOX_PADDING, y, item.id)
            y += inner.drawing.height + SIDE_GAP
        self.boxes[index] = DrawnBox(*names, *place, box, tuple(sides))
