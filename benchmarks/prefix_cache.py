"""Prompt tokens an engine would not compute twice, by its own block manager, never short of memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gangline.backends.engine.block_manager import BlockManager, extend_keys, root_key

from .virtual_jobs import BLOCK

Tokens = tuple[int, ...]
Prompts = Sequence[Tokens]
"""Prompts of one job, in the order in which they come."""


@dataclass(frozen=True, slots=True)
class Count:
    """Prompt tokens, and those of them that were found."""

    total: int = 0
    reused: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.total + other.total, self.reused + other.reused)

    @property
    def percent(self) -> float:
        """Share that was found."""
        return round(100.0 * self.reused / max(self.total, 1), 2)


class Cache:
    """Blocks that were computed so far."""

    def __init__(self) -> None:
        self._blocks = BlockManager(200_000, BLOCK)
        self._root = root_key("")
        self._taken = 0

    def take(self, tokens: Tokens) -> Count:
        """Compute a prompt; its last token is computed in any case."""
        keys: list[bytes] = []
        extend_keys(keys, self._root, tokens, BLOCK, len(tokens) // BLOCK)
        matched = self._blocks.match_prefix(keys[: (len(tokens) - 1) // BLOCK])
        self._taken += 1
        name = str(self._taken)
        self._blocks.allocate(name, matched, len(tokens))
        for index in range(len(matched), len(keys)):
            self._blocks.publish(name, index, keys[index])
        self._blocks.free(name)
        return Count(len(tokens), len(matched) * BLOCK)


def counted(runs: Iterable[Iterable[Prompts]]) -> Count:
    """Run each list of jobs, one job after the other, on a cache of its own."""
    found = Count()
    for run in runs:
        cache = Cache()
        for job in run:
            for tokens in job:
                found += cache.take(tokens)
    return found


def shares(jobs: dict[str, list[Prompts]]) -> dict[str, float]:
    """Give the percentage that was found: in one job, on one database, across all databases.

    Args:
        jobs: prompts of each job, by its database.
    """
    every = [job for rows in jobs.values() for job in rows]
    return {
        "one_job": counted([job] for job in every).percent,
        "one_database": counted(jobs.values()).percent,
        "across_databases": counted([every]).percent,
    }
