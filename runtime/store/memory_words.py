"""Words of texts and JSON values, and the rank of entries by the words they share with a query.

An index of our own instead of those of the databases: both give the same entries in the same
order, and a query is only ever words, so nothing in it can be an operator.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_WORD_CHARS = 64
MAX_QUERY_WORDS = 64
"""Different words of a query that are looked at; those after them are left out."""

K1, B = 1.2, 0.75
"""Of BM25, as Lucene and most others set them (Robertson and Zaragoza 2009, section 3.4)."""

# Kana and Chinese characters are words of their own: they are written without spaces.
_ALONE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(f"[{_ALONE}]|[^\\W_{_ALONE}]+")


def words_of(text: str) -> list[str]:
    """Give the words of a text in order: letters and digits, without case and accents."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(char for char in plain if not unicodedata.combining(char))
    return [word[:MAX_WORD_CHARS] for word in _WORD.findall(bare)]


def words_in(value: Any) -> Counter[str]:
    """Count the words of all texts and numbers in a JSON value."""
    found: Counter[str] = Counter()
    pending = [value]
    # Invariant: what is in `pending` has not been counted yet.
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            found.update(words_of(part))
        elif isinstance(part, Mapping):
            pending.extend(part.values())
        elif isinstance(part, list | tuple):
            pending.extend(part)
        elif isinstance(part, int | float) and not isinstance(part, bool):
            found.update(words_of(str(part)))
    return found


def query_words(query: str) -> list[str]:
    """Give the different words of a query, sorted."""
    return sorted(list(dict.fromkeys(words_of(query)))[:MAX_QUERY_WORDS])


Posting = tuple[str, str, int, int]
"""A word, the key of an entry, how often it has the word, and how many words it has in all."""


def ranked(
    postings: Iterable[Posting], num_entries: int, num_words: int, limit: int
) -> list[tuple[str, float]]:
    """Give keys and BM25 scores, the best first, ties by key.

    Scores are rounded, and sums made in the order of words, so that they do not depend on the
    order in which a database gives rows.
    """
    by_word: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for word, key, times, length in postings:
        by_word[word].append((key, times, length))
    mean = max(num_words / max(num_entries, 1), 1.0)
    scores: dict[str, float] = defaultdict(float)
    for word in sorted(by_word):
        rows = by_word[word]
        without = max(num_entries - len(rows), 0)
        weight = math.log1p((without + 0.5) / (len(rows) + 0.5))
        for key, times, length in rows:
            norm = K1 * (1.0 - B + B * length / mean)
            scores[key] += weight * times * (K1 + 1.0) / (times + norm)
    return best(((key, score) for key, score in scores.items()), limit)


def best(scored: Iterable[tuple[str, float]], limit: int) -> list[tuple[str, float]]:
    """Give the best of some keys, ties by key; scores are rounded to six digits before."""
    rounded: Sequence[tuple[str, float]] = [(key, round(score, 6)) for key, score in scored]
    return sorted(rounded, key=lambda row: (-row[1], row[0]))[:limit]
