"""How many prompt tokens are computed when prompts that begin alike are computed once.

Prompts are sequences of atoms: lines of literal text, and fields. Those of all model calls of a
module make one tree, in which a path is a beginning that some of them share. An atom at the end
of a path is computed once for every different path: once ever if all of it is constant, once per
database, once per job, or once per visit; but not more often than prompts go along it.

Nobody knows at compile time whether jobs come alone or one after the other. So three settings
count alike, each by its share of all prompt tokens: one job on a cold cache, many jobs on one
database, and many jobs on many databases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain

CONSTANT, DATABASE, JOB = range(3)
"""What a value changes with: never, with a job's database, with every job."""
SCOPES = ("constant", "database", "job")

Setting = tuple[float, float]
"""Databases, and jobs on each."""
SETTINGS: tuple[Setting, ...] = ((1.0, 1.0), (1.0, 16.0), (16.0, 16.0))


@dataclass(frozen=True, slots=True)
class Atom:
    """A piece of a prompt. Equal keys are equal text within one job.

    `spread` is how many values it has within one job (or ever, for a constant scope).
    """

    key: object
    tokens: float
    scope: int = CONSTANT
    spread: float = 1.0

    def values(self, setting: Setting) -> float:
        """Count the different values over all jobs of a setting."""
        databases, jobs = setting
        return self.spread * (1.0, databases, databases * jobs)[self.scope]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A model call: what stands before its parts, the parts in the author's order, and after.

    `visits` is how often one job makes the call, in expectation.
    """

    visits: float
    head: tuple[Atom, ...]
    parts: tuple[tuple[Atom, ...], ...]
    tail: tuple[Atom, ...] = ()

    def atoms(self, order: Sequence[int]) -> Iterable[Atom]:
        """Give the whole prompt with its parts in an order."""
        parts = chain.from_iterable(self.parts[at] for at in order)
        return chain(self.head, parts, self.tail)

    @property
    def tokens(self) -> float:
        """Tokens of one visit."""
        return sum(atom.tokens for atom in self.atoms(range(len(self.parts))))


@dataclass(slots=True)
class Node:
    """The end of a path: what its atom weighs, its values by setting, and the prompts on it."""

    tokens: float
    values: tuple[float, ...]
    visits: float = 0.0
    inside: dict[object, Node] = field(default_factory=dict)

    @property
    def is_shared(self) -> bool:
        """Say whether a job computes it less often than it needs it."""
        return self.visits > self.values[0] * (1.0 + 1e-9)


class PromptTree:
    """The prompts of a module with their parts in some order each."""

    def __init__(self, prompts: Sequence[Prompt], settings: Sequence[Setting] = SETTINGS) -> None:
        self._settings = tuple(settings)
        self._root = Node(0.0, (0.0,) * len(self._settings))
        whole = sum(prompt.visits * prompt.tokens for prompt in prompts) or 1.0
        self._rates = tuple(databases * jobs for databases, jobs in self._settings)
        # What one token computed counts in each setting, so that all settings count alike.
        self._weights = tuple(1.0 / (whole * rate * len(self._settings)) for rate in self._rates)

    def add(self, prompt: Prompt, order: Sequence[int], sign: float = 1.0) -> list[Node]:
        """Add a prompt (take it out with `sign` -1); give the path it goes along."""
        path = []
        node, values = self._root, (0.0,) * len(self._settings)
        for atom in prompt.atoms(order):
            own = tuple(atom.values(setting) for setting in self._settings)
            values = tuple(map(max, values, own))
            node = node.inside.setdefault(atom.key, Node(atom.tokens, values))
            node.visits += sign * prompt.visits
            path.append(node)
        return path

    def extra(self, prompt: Prompt, order: Sequence[int]) -> float:
        """Give the share of all prompt tokens that one more prompt would have computed."""
        total = 0.0
        node: Node | None = self._root
        values = (0.0,) * len(self._settings)
        for atom in prompt.atoms(order):
            own = tuple(atom.values(setting) for setting in self._settings)
            values = tuple(map(max, values, own))
            node = node.inside.get(atom.key) if node is not None else None
            before = node.visits if node is not None else 0.0
            total += atom.tokens * self._times(values, before, before + prompt.visits)
        return total

    def _times(self, values: tuple[float, ...], before: float, after: float) -> float:
        """Weigh how often a path is computed more when its visits grow."""
        return sum(
            weight * (min(count, after * rate) - min(count, before * rate))
            for weight, rate, count in zip(self._weights, self._rates, values, strict=True)
        )


def computed_share(
    prompts: Sequence[Prompt],
    orders: Sequence[Sequence[int]],
    settings: Sequence[Setting] = SETTINGS,
) -> float:
    """Give the share of all prompt tokens that is computed, between 0 and 1."""
    tree = PromptTree(prompts, settings)
    share = 0.0
    for prompt, order in zip(prompts, orders, strict=True):
        share += tree.extra(prompt, order)
        tree.add(prompt, order)
    return share
