"""Values of the database that a question names, with the columns that hold them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import prompts, settings
from .render import literal
from .reserved import identifier
from .sandbox import Limits, Sandbox
from .schema import Column, Schema, Table
from .sqlite_reader import quoted

_COMMON = frozenset(
    [
        "a",
        "all",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "by",
        "do",
        "for",
        "from",
        "has",
        "how",
        "in",
        "is",
        "it",
        "me",
        "no",
        "not",
        "of",
        "on",
        "or",
        "our",
        "that",
        "the",
        "their",
        "this",
        "to",
        "was",
        "we",
        "what",
        "when",
        "where",
        "which",
        "who",
        "with",
        "you",
    ]
)
_LONGEST_VALUE = 60
_COLUMNS_PER_QUERY = 20
_PART_CHARS = 400  # of a statement for one column, without the question
_LIMITS = Limits(timeout_s=2.0, max_rows=100, max_bytes=50_000)


def find_hints(question: str, db: str, schema: Schema, sandbox: Sandbox) -> str:
    """Give one line for the prompt, or nothing; a table that takes too long is left out."""
    found = [
        (table.name, column, value)
        for table in schema.tables
        for statement in _statements(table, question, schema.dialect == "postgres")
        for column, value in sandbox.run(db, statement, _LIMITS).rows
        if is_named(value, question)
    ]
    found.sort(key=lambda hit: (-len(hit[2]), hit))
    shown = [
        f"{identifier(table, schema.dialect)}.{identifier(column, schema.dialect)} = {literal(value)}"
        for table, column, value in _longest(found)[: settings.HINT_VALUES]
    ]
    return prompts.HINTS.format(values=", ".join(shown)) if shown else ""


def is_named(value: object, question: str) -> bool:
    """Tell whether a value stands in the question as whole words, in any case."""
    if not isinstance(value, str) or value.lower().strip() in _COMMON:
        return False
    if len(value.strip()) < 2 or (value.isdigit() and len(value) < 4):
        return False
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", question, re.IGNORECASE) is not None


def _longest(found: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Drop what is only a part of a longer value, as York is of New York."""
    kept: list[tuple[str, str, str]] = []
    for hit in found:
        value = hit[2].lower()
        if not any(value != other.lower() and value in other.lower() for _, _, other in kept):
            kept.append(hit)
    return kept


def _statements(table: Table, question: str, postgres: bool) -> Iterator[str]:
    columns = [column for column in table.columns if column.is_text]
    # The question stands in every part of a statement, whose length is bounded.
    room = settings.MAX_STATEMENT_CHARS // (len(literal(question)) + _PART_CHARS)
    step = max(1, min(_COLUMNS_PER_QUERY, room))
    for start in range(0, len(columns), step):
        chunk = columns[start : start + step]
        yield " UNION ALL ".join(_statement(table, column, question, postgres) for column in chunk)


def _statement(table: Table, column: Column, question: str, postgres: bool) -> str:
    find, cast = ("strpos", "::text") if postgres else ("instr", "")
    inner = f"SELECT {quoted(column.name)}{cast} AS v FROM {quoted(table.name)}"
    return (
        f"SELECT {literal(column.name)}, v FROM (SELECT DISTINCT v FROM"
        f" ({inner} LIMIT {settings.HINT_SCAN_ROWS}) AS scanned"
        f" WHERE length(v) BETWEEN 2 AND {_LONGEST_VALUE}"
        f" AND {find}(lower({literal(question)}), lower(v)) > 0) AS named"
    )
