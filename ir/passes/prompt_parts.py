"""Parts of a prompt's text: lines that belong together, and which of them may move.

A part is a line, or several where a line goes on in the next one: it ends in the middle of a
sentence, the next begins in small letters, or it is a heading (`Schema:`). A part may move if it
has fields and all of them are free, so a free field inside a sentence stays where it is. Text
without fields at the very front stays first, and everything else keeps its order.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

FIELD = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")
"""A field of a template, or a brace written twice (then group 1 is None)."""

_LINE = re.compile(r"([^\n]*)(\n\s*\n|\n|\Z)")
_GOES_ON = re.compile(r"[\w,;:(-]\s*\Z")

MAX_ORDERS = 5_000
"""Orders of one prompt that are looked at: all of a prompt with five free parts."""

Order = tuple[int, ...]
"""Positions of a text's parts in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some lines of a template, and the line breaks after them."""

    text: str
    separator: str
    fields: tuple[str, ...]
    is_free: bool


def fields_of(text: str) -> Iterator[str]:
    """Yield the fields of a template's text, in order, as often as they are named."""
    yield from (match[1] for match in FIELD.finditer(text) if match[1])


def parts_of(text: str, free: Collection[str]) -> tuple[Part, ...]:
    """Cut a template's text into parts; `arranged` in their own order gives the text again."""
    lines = [(match[1], match[2]) for match in _LINE.finditer(text) if match[0]]
    joined: list[tuple[str, str]] = []
    # Invariant: the lines before are in `joined`, and those of its last entry belong together.
    for line, separator in lines:
        if joined and _belongs(*joined[-1], line):
            before, between = joined.pop()
            line = before + between + line
        joined.append((line, separator))
    return tuple(_part(line, separator, free) for line, separator in joined)


def _belongs(before: str, between: str, line: str) -> bool:
    """Say whether a line goes on with the text before it."""
    if between.count("\n") > 1:  # a blank line ends everything but a heading
        return before.endswith(":") and "\n" not in before and not list(fields_of(before))
    return bool(_GOES_ON.search(before)) or not before.strip() or line[:1].islower()


def _part(text: str, separator: str, free: Collection[str]) -> Part:
    fields = tuple(dict.fromkeys(fields_of(text)))
    return Part(text, separator, fields, bool(fields) and set(fields) <= set(free))


def arranged(parts: Sequence[Part], order: Order) -> str:
    """Write the parts in an order; what is last takes the separator (or none) of what was last."""
    if not order:
        return ""
    separators = [parts[at].separator for at in order]
    # The part that was last may stand elsewhere now: it takes the line breaks of the new last one.
    was_last = order.index(len(parts) - 1)
    separators[was_last], separators[-1] = separators[-1], separators[was_last]
    texts = [parts[at].text for at in order]
    return "".join(text + end for text, end in zip(texts, separators, strict=True))


def num_leading(parts: Sequence[Part]) -> int:
    """Count the parts without fields at the front, which stay there."""
    for at, part in enumerate(parts):
        if part.fields:
            return at
    return len(parts)


def moved(parts: Sequence[Part], front: Sequence[int], places: Sequence[int] = ()) -> Order:
    """Give the order with the free parts of `front` first and all others as they were.

    `places` are the other free parts, in the order in which they fill the places that are left.
    """
    leading = num_leading(parts)
    taken = set(front)
    others = iter(places or [at for at in _free(parts) if at not in taken])
    rest = [
        next(others) if parts[at].is_free else at
        for at in range(leading, len(parts))
        if at not in taken
    ]
    return (*range(leading), *front, *rest)


def _free(parts: Sequence[Part]) -> list[int]:
    return [at for at, part in enumerate(parts) if part.is_free]


def orders(parts: Sequence[Part]) -> list[Order]:
    """List the orders that are allowed, the author's first, at most MAX_ORDERS."""
    free = _free(parts)
    found: dict[Order, None] = {tuple(range(len(parts))): None}
    for count in range(len(free) + 1):
        for order in permutations(free):
            found[moved(parts, order[:count], order[count:])] = None
            if len(found) >= MAX_ORDERS:
                return list(found)
    return list(found)
