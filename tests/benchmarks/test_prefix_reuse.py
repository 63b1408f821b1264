"""What the prefix benchmark counts as found: whole blocks, never a prompt's last token."""

from __future__ import annotations

from benchmarks.prefix_cache import Count, Prompts, counted, shares
from benchmarks.virtual_jobs import BLOCK

ONE = tuple(range(2 * BLOCK + 1))
OTHER = (*range(BLOCK), *range(900, 900 + BLOCK + 1))


def test_whole_blocks_are_found_and_the_last_token_is_computed() -> None:
    assert counted([[[ONE, ONE]]]) == Count(2 * len(ONE), 2 * BLOCK)
    whole = tuple(range(2 * BLOCK))
    assert counted([[[whole, whole]]]) == Count(4 * BLOCK, BLOCK), "its last token is computed"
    assert counted([[[ONE, OTHER]]]).reused == BLOCK
    assert counted([[[ONE, (7, *ONE)]]]).reused == 0, "only what prompts begin with"


def test_each_setting_has_a_cache_of_its_own() -> None:
    jobs: dict[str, list[Prompts]] = {"a": [[ONE], [ONE]], "b": [[OTHER]]}
    tokens = 3 * len(ONE)
    assert shares(jobs) == {
        "one_job": 0.0,
        "one_database": round(100 * 2 * BLOCK / tokens, 2),
        "across_databases": round(100 * 3 * BLOCK / tokens, 2),
    }
