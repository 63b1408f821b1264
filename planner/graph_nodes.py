"""The graph of a program as flat lists: what `--json` prints and the page's table reads."""

from __future__ import annotations

from typing import Any

from gangline.ir.program import Program

from .graph_items import Item, Level
from .graph_marks import Marks, device_types, place_on_path
from .graph_tree import Plans, drawn_tree

Node = dict[str, Any]
Edge = dict[str, str]


def graph_nodes(
    program: Program, level: str = "stage", plans: Plans | None = None
) -> tuple[list[Node], list[Edge]]:
    """Give the nodes and edges of a program's graph.

    A node is {id, op, label, parent, side}: a step, a model call, or control flow that others
    name as their `parent`; `side` says which part of it they are in. Parents come before their
    children. An edge is {source, target}: the target reads what the source made.
    """
    nodes: list[Node] = []
    edges: list[Edge] = []
    _walk(drawn_tree(program, level, plans), None, nodes, edges)
    return nodes, edges


def marked_nodes(
    program: Program, level: str, marks: Marks, plans: Plans | None = None
) -> tuple[list[Node], list[Edge]]:
    """As `graph_nodes`, with `stages`, and what a plan says of them.

    `devices` are kinds of device, `seconds` those expected of all visits (None where no plan
    tells), `critical` whether something of it lies on the critical path.
    """
    nodes: list[Node] = []
    edges: list[Edge] = []
    tree = drawn_tree(program, level, plans)
    _walk(tree, None, nodes, edges)
    stages = {item.id: names for item, names in _items(tree)}
    for node in nodes:
        names = stages[node["id"]]
        known = [marks[name] for name in names if name in marks]
        node["stages"] = names
        node["devices"] = list(device_types(marks, names))
        node["seconds"] = sum(mark.seconds for mark in known) if known else None
        node["critical"] = place_on_path(marks, names) is not None
    return nodes, edges


def _items(level: Level) -> list[tuple[Item, list[str]]]:
    """Give every item with the stages it stands for, those inside it counted."""
    found: list[tuple[Item, list[str]]] = []
    for item in level.items:
        inside = [pair for inner in item.inside for pair in _items(inner)]
        within = [name for inner, _ in inside for name in inner.stages]
        found.append((item, [*item.stages, *within]))
        found += inside
    return found


def _walk(level: Level, parent: str | None, nodes: list[Node], edges: list[Edge]) -> None:
    for item in level.items:
        nodes.append(
            {
                "id": item.id,
                "op": item.kind,
                "label": item.label,
                "parent": parent,
                "side": level.title,
            }
        )
        for inner in item.inside:
            _walk(inner, item.id, nodes, edges)
    for source, target in sorted(level.edges):
        edges.append({"source": level.items[source].id, "target": level.items[target].id})
