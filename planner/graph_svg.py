"""A program's drawing as one SVG image that loads nothing, readable in light and dark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from gangline.ir.program import Program

from .graph_layout import CHAR_WIDTH, DrawnBox, DrawnEdge, DrawnNode, GraphLayout, graph_layout
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
@media (prefers-color-scheme:dark){
text{fill:#e6e8eb}.kind,.side{fill:#a2abb8}.node{fill:#1d2127;stroke:#59626e}.paper{fill:#14171b}
}
"""


def graph_svg(
    program: Program, level: str = "stage", status: Mapping[str, str] | None = None
) -> str:
    """Draw a program; `status` may give a word (running, failed, ...) per stage name."""
    return layout_svg(graph_layout(program, level), program.name, status or {})


def layout_svg(layout: GraphLayout, title: str, status: Mapping[str, str]) -> str:
    """Draw a layout as SVG text."""
    size = f'width="{layout.width:g}" height="{layout.height:g}"'
    view = f'viewBox="0 0 {layout.width:g} {layout.height:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {view} {size} role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        '<rect class="paper" width="100%" height="100%"/>',
        *(part for box in layout.boxes for part in _box(box)),
        *(part for edge in layout.edges for part in _edge(edge)),
        *(part for node in layout.nodes for part in _node(node, status)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def curve(points: Sequence[Point]) -> str:
    """Give an SVG path through the points that runs level into and out of each."""
    (x, y), *rest = points
    path = [f"M{x:g} {y:g}"]
    for to_x, to_y in rest:
        half = (x + to_x) / 2
        path.append(
            f"H{to_x:g}" if y == to_y else f"C{half:g} {y:g} {half:g} {to_y:g} {to_x:g} {to_y:g}"
        )
        x, y = to_x, to_y
    return "".join(path)


def shortened(label: str, width: float) -> str:
    """Cut a label to what some pixels hold, with an ellipsis."""
    room = max(1, int(width / CHAR_WIDTH))
    return label if len(label) <= room else label[: room - 1] + "…"


def _edge(edge: DrawnEdge) -> Iterator[str]:
    x, y = edge.points[-1]
    yield f'<path class="edge" d="{curve(edge.points)}"/>'
    yield f'<path class="tick" d="M{x:g} {y:g}l-7 -3.5v7z"/>'


def _box(box: DrawnBox) -> Iterator[str]:
    place = f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}"'
    yield f'<rect class="box" {place} rx="8"/>'
    label = escape(shortened(box.label, box.width - 20))
    yield f'<text class="kind" x="{box.x + 12:g}" y="{box.y + 17:g}">{label}</text>'
    for title, x, y in box.sides:
        yield f'<text class="side" x="{x:g}" y="{y:g}">{escape(title)}</text>'


def _node(node: DrawnNode, status: Mapping[str, str]) -> Iterator[str]:
    words = {status[stage] for stage in node.stages if stage in status}
    word = next((w for w in ("failed", "running", "succeeded") if w in words), "")
    label = escape(shortened(node.label, node.width - 24))
    yield f'<g class="{escape(node.kind)} {word}" transform="translate({node.x:g} {node.y:g})">'
    yield f"<title>{escape(node.label)}</title>"
    yield f'<rect class="node" width="{node.width:g}" height="{node.height:g}" rx="6"/>'
    yield f'<rect class="mark" y="6" width="3" height="{node.height - 12:g}" rx="1.5"/>'
    yield f'<text x="13" y="20">{label}</text>'
    yield f'<text class="kind" x="13" y="36">{escape(node.kind)}{" · " + word if word else ""}</text>'
    yield "</g>"
