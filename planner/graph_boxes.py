"""Put what was inlined from nested agents back into boxes, for whoever looks at the graph."""

from __future__ import annotations

from collections.abc import Sequence

from .graph_items import Item, Level


def boxed(level: Level) -> Level:
    """Give a level with its items in boxes by the agents they were inlined from.

    An agent whose box would have to be both before and after some other item stays open: then its
    items stand beside the others.
    """
    return _boxed(level, 0)


def _boxed(level: Level, depth: int) -> Level:
    groups: dict[str, list[int]] = {}
    for position, item in enumerate(level.items):
        if len(item.within) > depth:
            groups.setdefault(item.within[depth], []).append(position)
    for name, members in groups.items():
        room = _joined(level, name, members, depth)
        if room is not None:
            return _boxed(room, depth)
    return level


def _joined(level: Level, name: str, members: Sequence[int], depth: int) -> Level | None:
    """Make one box of some items; None where that would make a cycle."""
    inside = set(members)
    first = members[0]
    places = dict.fromkeys(members, first)
    left = [old for old in range(len(level.items)) if old not in inside or old == first]
    numbers = {old: new for new, old in enumerate(left)}
    numbers.update(dict.fromkeys(places, numbers[first]))
    edges = {(numbers[a], numbers[b]) for a, b in level.edges if numbers[a] != numbers[b]}
    if _has_cycle(len(left), edges):
        return None
    own = {old: new for new, old in enumerate(members)}
    inner = Level(
        items=[level.items[old] for old in members],
        edges={(own[a], own[b]) for a, b in level.edges if a in inside and b in inside},
    )
    path = level.items[first].within[: depth + 1]
    label = name.rpartition("/")[2]
    box = Item("/".join(path), label, "call", [], [_boxed(inner, depth + 1)])
    items = [box if old == first else level.items[old] for old in left]
    return Level(level.title, items, edges, level.outer)


def _has_cycle(count: int, edges: set[tuple[int, int]]) -> bool:
    after: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for source, target in edges:
        after[source].append(target)
        missing[target] += 1
    ready = [node for node in range(count) if not missing[node]]
    # Invariant: all that a node in `ready` waits for is in it too.
    for node in ready:
        for target in after[node]:
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    return len(ready) < count
