"""Search for the orders of all prompts' parts with which the least has to be computed.

Few combinations are all tried. Otherwise prompts are put in order by a common ranking of the
parts that may move (all rankings of few parts, else the usual one and those near it), and the
best of these are improved prompt by prompt until none can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import prod

from .prompt_parts import Order, Part, moved, orders
from .prompt_reuse import SETTINGS, Prompt, PromptTree, Setting, computed_share

MAX_COMBINATIONS = 500
"""Combinations of orders up to which all are tried."""
MAX_RANKED = 4
"""Different movable parts up to which all their rankings are tried."""
MAX_CANDIDATES = 130
"""Orders of one prompt up to which all are tried: those of four free parts."""
NUM_STARTS = 4
LEAST_GAIN = 1e-9
"""A share of the prompt tokens: less is not worth moving what an author wrote."""

Orders = tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class Movable:
    """A prompt with its parts as the author wrote them."""

    prompt: Prompt
    parts: tuple[Part, ...]

    @property
    def own(self) -> Order:
        """The author's order."""
        return tuple(range(len(self.parts)))


def best_orders(rows: Sequence[Movable], settings: Sequence[Setting] = SETTINGS) -> Orders:
    """Give an order for each prompt; the author's where no other computes less."""
    own = tuple(row.own for row in rows)
    candidates = [orders(row.parts) for row in rows]
    if all(len(found) == 1 for found in candidates):
        return own
    return _Search(rows, candidates, settings).best(own)


class _Search:
    def __init__(
        self, rows: Sequence[Movable], candidates: list[list[Order]], settings: Sequence[Setting]
    ) -> None:
        self._rows = rows
        self._prompts = [row.prompt for row in rows]
        self._candidates = candidates
        self._settings = settings

    def best(self, own: Orders) -> Orders:
        if prod(map(len, self._candidates)) <= MAX_COMBINATIONS:
            return self._least([own, *product(*self._candidates)])
        starts = sorted({own, *self._ranked()}, key=self._share)[:NUM_STARTS]
        return self._least([own, *map(self._improved, (own, *starts))])

    def _share(self, found: Orders) -> float:
        return computed_share(self._prompts, found, self._settings)

    def _least(self, found: Iterable[Orders]) -> Orders:
        """Give the first of those that compute the least, but for what is not worth a move."""
        rest = iter(found)
        best = next(rest)
        least = self._share(best)
        for one in rest:
            share = self._share(one)
            if share < least - LEAST_GAIN:
                best, least = one, share
        return best

    # Rankings of all parts that may move ---------------------------------------------------

    def _ranked(self) -> list[Orders]:
        keys = self._usual()
        if len(keys) <= MAX_RANKED:
            return [self._by(ranking) for ranking in permutations(keys)]
        near = [
            [*keys[:at], *keys[at + 1 : to], key, *keys[to:]]
            for at, key in enumerate(keys)
            for to in range(at + 2, len(keys) + 1)
        ]
        return [self._by(keys), *map(self._by, near)]

    def _usual(self) -> list[object]:
        """Rank by what parts change with, then by how much of all prompts they are."""
        weights: dict[object, float] = {}
        scopes: dict[object, float] = {}
        for row in self._rows:
            for at, part in enumerate(row.parts):
                if part.is_free:
                    key, atoms = _key(row, at), row.prompt.parts[at]
                    tokens = sum(atom.tokens for atom in atoms)
                    weights[key] = weights.get(key, 0.0) + row.prompt.visits * tokens
                    scopes[key] = max(atom.values((16.0, 16.0)) for atom in atoms)
        return sorted(weights, key=lambda key: (scopes[key], -weights[key]))

    def _by(self, ranking: Sequence[object]) -> Orders:
        place = {key: at for at, key in enumerate(ranking)}
        return tuple(
            moved(
                row.parts,
                sorted(
                    (at for at, part in enumerate(row.parts) if part.is_free),
                    key=lambda at: place[_key(row, at)],
                ),
            )
            for row in self._rows
        )

    # Improvement ---------------------------------------------------------------------------

    def _improved(self, start: Orders) -> Orders:
        found = list(start)
        tree = PromptTree(self._prompts, self._settings)
        for prompt, order in zip(self._prompts, found, strict=True):
            tree.add(prompt, order)
        changed = True
        # Invariant: each change computes less than before by LEAST_GAIN, so this ends.
        while changed:
            changed = False
            for at, prompt in enumerate(self._prompts):
                tree.add(prompt, found[at], -1.0)
                order = self._better(at, tree, found[at])
                changed = changed or order != found[at]
                found[at] = order
                tree.add(prompt, order)
        return tuple(found)

    def _better(self, at: int, tree: PromptTree, present: Order) -> Order:
        prompt, best = self._prompts[at], present
        least = tree.extra(prompt, present)
        known = self._candidates[at]
        for order in known if len(known) <= MAX_CANDIDATES else self._near(at, present):
            share = tree.extra(prompt, order)
            if share < least - LEAST_GAIN:
                best, least = order, share
        return best

    def _near(self, at: int, present: Order) -> Iterable[Order]:
        """Yield orders in which one part stands elsewhere among those at the front, or not there."""
        parts = self._rows[at].parts
        free = [place for place in present if parts[place].is_free]
        for part in free:
            others = [place for place in free if place != part]
            for count in range(len(others) + 1):
                for to in range(count + 1):
                    yield moved(parts, [*others[:to], part, *others[to:count]], others[count:])
                yield moved(parts, others[:count])


def _key(row: Movable, at: int) -> object:
    return tuple(atom.key for atom in row.prompt.parts[at])
