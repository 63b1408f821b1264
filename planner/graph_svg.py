"""A program's drawing as one SVG image that loads nothing, readable in light and dark.

Colours of nodes are kinds of devices, where a plan says which; a red edge is on the critical path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import pairwise

from gangline.ir.program import Program

from .graph_layout import CHAR_WIDTH, DrawnBox, DrawnEdge, DrawnNode, GraphLayout, graph_layout
from .graph_marks import Marks, device_types, place_on_path
from .graph_tree import Plans
from .layered import Point

STYLE = """
text{font:13px system-ui,sans-serif;fill:#1c2026}
.kind,.side{font-size:11px;fill:#5b6472}
.node{fill:#fff;stroke:#aab2bd}
.box{fill:#8a93a1;fill-opacity:.08;stroke:#aab2bd;stroke-dasharray:4 3}
.edge{fill:none;stroke:#8a93a1;stroke-width:1.4}
.paper{fill:#fff}
.tick{fill:#8a93a1}
.llm .mark,.prefill .mark,.decode .mark{fill:#3d6fb6}
.tool .mark{fill:#4f8a4c}
.failed .node{stroke:#b3261e;stroke-width:2}
.running .node{stroke:#1f6feb;stroke-width:2}
.succeeded .node{stroke:#2e7d32;stroke-width:2}
.mark{fill:#8a93a1}
.critical .node{stroke:#c62828;stroke-width:2}
.edge.critical{stroke:#c62828;stroke-width:2.2}
.tick.critical{fill:#c62828}
.box.critical{stroke:#c62828}
.d0 .node,.key.d0{fill:#cfe3fb}.d1 .node,.key.d1{fill:#fde3c4}.d2 .node,.key.d2{fill:#d6efd2}
.d3 .node,.key.d3{fill:#ead7f5}.d4 .node,.key.d4{fill:#fbd5d9}.d5 .node,.key.d5{fill:#d3f0ee}
.d6 .node,.key.d6{fill:#f4efb8}.d7 .node,.key.d7{fill:#dfe3e8}
.key{stroke:#aab2bd}
@media (prefers-color-scheme:dark){
text{fill:#e6e8eb}.kind,.side{fill:#a2abb8}.node{fill:#1d2127;stroke:#59626e}.paper{fill:#14171b}
.d0 .node,.key.d0{fill:#1d3a5c}.d1 .node,.key.d1{fill:#5a3b14}.d2 .node,.key.d2{fill:#21481f}
.d3 .node,.key.d3{fill:#43265a}.d4 .node,.key.d4{fill:#5c2229}.d5 .node,.key.d5{fill:#174a47}
.d6 .node,.key.d6{fill:#4d4810}.d7 .node,.key.d7{fill:#39404a}
}
"""
NUM_COLOURS = 8
LEGEND_HEIGHT = 30.0
SMALL_CHAR_WIDTH = 6.0
"""Pixels of an average character of 11 px sans-serif."""


def graph_svg(
    program: Program,
    level: str = "stage",
    status: Mapping[str, str] | None = None,
    *,
    marks: Marks | None = None,
    plans: Plans | None = None,
) -> str:
    """Draw a program as SVG text.

    Args:
        status: a word (running, failed, ...) per stage name.
        marks: what a plan says of its stages: nodes are coloured by device, with a legend, and
            the critical path is marked.
        plans: what `expand` stages recorded; drawn inside them.
    """
    layout = graph_layout(program, level, plans, "best")
    return _Picture(layout, program.name, status or {}, marks or {}).text()


class _Picture:
    """One drawing being written."""

    def __init__(
        self, layout: GraphLayout, title: str, status: Mapping[str, str], marks: Marks
    ) -> None:
        self.layout, self.title, self.status, self.marks = layout, title, status, marks
        shown = (name for node in layout.nodes for name in node.stages)
        self.kinds = {kind: place for place, kind in enumerate(device_types(marks, shown))}
        self.inside = _inside(layout)
        self.path = frozenset(self.critical_edges())

    def text(self) -> str:
        """Give the whole image."""
        legend = LEGEND_HEIGHT if self.marks else 0.0
        width, height = self.layout.width, self.layout.height + legend
        size = f'width="{width:g}" height="{height:g}"'
        view = f'viewBox="0 0 {width:g} {height:g}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {view} {size} role="img">',
            f"<title>{escape(self.title)}</title>",
            f"<style>{STYLE}</style>",
            '<rect class="paper" width="100%" height="100%"/>',
            *(part for box in self.layout.boxes for part in _box(box, self.critical(box.id))),
            *(part for edge in self.layout.edges for part in self.edge(edge)),
            *(part for node in self.layout.nodes for part in self.node(node)),
            *(self.legend() if self.marks else ()),
            "</svg>",
        ]
        return "\n".join(parts) + "\n"

    def critical(self, item: str) -> bool:
        return place_on_path(self.marks, self.inside[item]) is not None

    def critical_edges(self) -> Iterator[tuple[str, str]]:
        """Yield the edges between neighbours on the critical path, at every depth."""
        rooms: dict[str, list[tuple[int, str]]] = {}
        homes = [(node.box, node.id) for node in self.layout.nodes]
        homes += [(box.box, box.id) for box in self.layout.boxes]
        for room, item in homes:
            place = place_on_path(self.marks, self.inside[item])
            if place is not None:
                rooms.setdefault(room, []).append((place, item))
        for found in rooms.values():
            names = [name for _, name in sorted(found)]
            yield from pairwise(names)

    def edge(self, edge: DrawnEdge) -> Iterator[str]:
        down = self.layout.direction == "down"
        more = " critical" if (edge.source, edge.target) in self.path else ""
        x, y = edge.points[-1]
        head = "l-3.5 -7h7z" if down else "l-7 -3.5v7z"
        yield f'<path class="edge{more}" d="{curve(edge.points, down)}"/>'
        yield f'<path class="tick{more}" d="M{x:g} {y:g}{head}"/>'

    def node(self, node: DrawnNode) -> Iterator[str]:
        words = {self.status[stage] for stage in node.stages if stage in self.status}
        word = next((w for w in ("failed", "running", "succeeded") if w in words), "")
        kinds = device_types(self.marks, node.stages)
        classes = [node.kind, word]
        if kinds:
            # A call whose prefill and decode are apart has the colour of its decode.
            classes.append(f"d{self.kinds[kinds[-1]] % NUM_COLOURS}")
        if self.critical(node.id):
            classes.append("critical")
        told = [part for part in (node.kind, word, " to ".join(kinds), self.seconds(node)) if part]
        label = escape(shortened(node.label, node.width - 24))
        below = escape(shortened(" · ".join(told), node.width - 15, SMALL_CHAR_WIDTH))
        names = escape(" ".join(part for part in classes if part))
        place = f"translate({node.x:g} {node.y:g})"
        yield f'<g class="{names}" transform="{place}">'
        yield f"<title>{escape(node.label)}</title>"
        yield f'<rect class="node" width="{node.width:g}" height="{node.height:g}" rx="6"/>'
        yield f'<rect class="mark" y="6" width="3" height="{node.height - 12:g}" rx="1.5"/>'
        yield f'<text x="13" y="20">{label}</text>'
        yield f'<text class="kind" x="13" y="36">{below}</text>'
        yield "</g>"

    def seconds(self, node: DrawnNode) -> str:
        found = [self.marks[name].seconds for name in node.stages if name in self.marks]
        return _duration(sum(found)) if found else ""

    def legend(self) -> Iterator[str]:
        """Say which colour is which kind of device, and what red means."""
        x, y = 12.0, self.layout.height + 8
        for kind, place in self.kinds.items():
            yield (
                f'<rect class="key d{place % NUM_COLOURS}" x="{x:g}" y="{y:g}" width="13" '
                'height="13" rx="3"/>'
            )
            yield f'<text class="side" x="{x + 19:g}" y="{y + 11:g}">{escape(kind)}</text>'
            x += 35 + CHAR_WIDTH * len(kind)
        yield f'<path class="edge critical" d="M{x:g} {y + 7:g}h18"/>'
        yield f'<text class="side" x="{x + 24:g}" y="{y + 11:g}">critical path</text>'


def _duration(seconds: float) -> str:
    if seconds < 0.001:
        return "< 1 ms"
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _inside(layout: GraphLayout) -> dict[str, set[str]]:
    """Give the stages of every item, a box's with those of all inside it."""
    found = {node.id: set(node.stages) for node in layout.nodes}
    found |= {box.id: set(box.stages) for box in layout.boxes}
    homes = {box.id: box.box for box in layout.boxes}
    for item in layout.nodes:
        box = item.box
        while box:
            found[box] |= set(item.stages)
            box = homes[box]
    return found


def curve(points: Sequence[Point], down: bool = False) -> str:
    """Give an SVG path through the points that runs level (or down) into and out of each."""
    if down:
        return _curve_down(points)
    (x, y), *rest = points
    path = [f"M{x:g} {y:g}"]
    for to_x, to_y in rest:
        half = (x + to_x) / 2
        path.append(
            f"H{to_x:g}" if y == to_y else f"C{half:g} {y:g} {half:g} {to_y:g} {to_x:g} {to_y:g}"
        )
        x, y = to_x, to_y
    return "".join(path)


def _curve_down(points: Sequence[Point]) -> str:
    (x, y), *rest = points
    path = [f"M{x:g} {y:g}"]
    for to_x, to_y in rest:
        half = (y + to_y) / 2
        path.append(
            f"V{to_y:g}" if x == to_x else f"C{x:g} {half:g} {to_x:g} {half:g} {to_x:g} {to_y:g}"
        )
        x, y = to_x, to_y
    return "".join(path)


def shortened(label: str, width: float, char_width: float = CHAR_WIDTH) -> str:
    """Cut a label to what some pixels hold, with an ellipsis."""
    room = max(1, int(width / char_width))
    return label if len(label) <= room else label[: room - 1] + "…"


def _box(box: DrawnBox, critical: bool) -> Iterator[str]:
    place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
    yield f'<rect class="box{" critical" if critical else ""}" {place} rx="8"/>'
    label = escape(shortened(box.label, box.width - 20))
    yield f'<text class="kind" x="{box.x + 12:g}" y="{box.y + 17:g}">{label}</text>'
    for title, x, y in box.sides:
        yield f'<text class="side" x="{x:g}" y="{y:g}">{escape(title)}</text>'
