"""Inlined agents come back as boxes, wherever that is possible."""

from __future__ import annotations

from gangline.planner.graph_boxes import boxed
from gangline.planner.graph_items import Item, Level


def level(edges: set[tuple[int, int]], *within: tuple[str, ...]) -> Level:
    items = [Item(f"n{n}", f"n{n}", "tool", [f"n{n}"], [], room) for n, room in enumerate(within)]
    return Level(items=items, edges=edges)


def shape(found: Level) -> list[object]:
    """Give ids, a box as (id, what is inside)."""
    return [
        (item.id, *(shape(inner) for inner in item.inside)) if item.inside else item.id
        for item in found.items
    ]


def named_edges(found: Level) -> set[tuple[str, str]]:
    return {(found.items[a].id, found.items[b].id) for a, b in found.edges}


def test_boxes_nest() -> None:
    made = boxed(level({(0, 1), (1, 2), (2, 3)}, (), ("a",), ("a", "a/b"), ()))
    assert shape(made) == ["n0", ("a", ["n1", ("a/a/b", ["n2"])]), "n3"]
    assert named_edges(made) == {("n0", "a"), ("a", "n3")}
    (inner,) = made.items[1].inside
    assert named_edges(inner) == {("n1", "a/a/b")}
    assert made.items[1].label == "a" and inner.items[1].label == "b"


def test_a_box_that_would_make_a_cycle_stays_open() -> None:
    made = boxed(level({(0, 1), (1, 2)}, ("a",), (), ("a",)))
    assert shape(made) == ["n0", "n1", "n2"] and made.edges == {(0, 1), (1, 2)}


def test_an_open_agent_does_not_keep_others_open() -> None:
    made = boxed(level({(0, 1), (1, 2)}, ("a",), ("b",), ("a",)))
    assert shape(made) == ["n0", ("b", ["n1"]), "n2"]


def test_two_agents_side_by_side() -> None:
    made = boxed(level({(0, 2), (1, 3)}, ("a",), ("b",), ("a",), ("b",)))
    assert shape(made) == [("a", ["n0", "n2"]), ("b", ["n1", "n3"])] and not made.edges
