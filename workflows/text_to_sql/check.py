"""Check a query against the schema before it runs: one sentence on what is wrong, or none.

Small repairs that keep the meaning are made on the way: a column behind the wrong alias goes
behind the only table in FROM that has it, double-quoted text becomes text, and a value gets
the spelling it has in a column whose values are all known. Nothing is executed here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import settings
from .location import Dialect
from .names import Names, Wrong
from .schema import Schema

if TYPE_CHECKING:
    from sqlglot import exp


_STARTS = re.compile(r"[\s(]*(select|with|values)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Checked:
    """A query that may run (`error` empty; `sql` perhaps repaired), or what is wrong with it."""

    sql: str
    error: str = ""
    repairs: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong that can be seen without running it."""
        return not self.error


def check(sql: str, schema: Schema) -> Checked:
    """Parse one SELECT and resolve its names; never raises on any text."""
    from sqlglot.errors import SqlglotError

    text = sql.strip().rstrip(";").rstrip()
    if problem := _too_much(text):
        return Checked(text, problem)
    try:
        tree = _parse(text, schema.dialect)
        found = Names(schema)
        found.look_at(tree)
        repaired = tree.sql(dialect=schema.dialect) if found.repairs else text
    except Wrong as wrong:
        return Checked(text, str(wrong))
    except RecursionError:
        return Checked(text, "the query is nested too deeply")
    except SqlglotError as error:
        # Names that only the resolver trips over, such as one table twice without an alias.
        return Checked(text, f"the names do not resolve: {' '.join(str(error).split())[:200]}")
    return Checked(repaired, "", tuple(found.repairs))


def _too_much(text: str) -> str:
    if not text:
        return "the query is empty"
    if len(text) > settings.MAX_STATEMENT_CHARS:
        return f"the query is longer than {settings.MAX_STATEMENT_CHARS} characters"
    if not _STARTS.match(text):
        return "only a SELECT statement gives an answer"
    if "\x00" in text:
        return "the query holds a NUL character"
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    return "the query is nested too deeply" if deepest > settings.MAX_NESTING else ""


def _parse(text: str, dialect: Dialect) -> exp.Query:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    try:
        _count_joins(text, dialect)
        trees = sqlglot.parse(text, read=dialect)
    except ParseError as error:
        raise Wrong(_syntax(error)) from None
    except TokenError:
        raise Wrong("syntax error: a quote or a comment is not closed") from None
    if len(trees) != 1:
        raise Wrong("write one statement only")
    tree = trees[0]
    if not isinstance(tree, exp.Query):
        raise Wrong("only a SELECT statement gives an answer")
    if any(not select.expressions for select in tree.find_all(exp.Select)):
        raise Wrong("a SELECT list is empty")
    return tree


def _count_joins(text: str, dialect: Dialect) -> None:
    """Refuse long runs of JOINs without ON: the parser takes twice as long for each more."""
    import sqlglot
    from sqlglot import TokenType

    open_joins = 0
    for token in sqlglot.tokenize(text, read=dialect):
        if token.token_type is TokenType.JOIN:
            open_joins += 1
        elif token.token_type in (TokenType.ON, TokenType.USING):
            open_joins = max(0, open_joins - 1)
        if open_joins > settings.MAX_OPEN_JOINS:
            raise Wrong(f"more than {settings.MAX_OPEN_JOINS} JOINs have no ON")


def _syntax(error: object) -> str:
    details = getattr(error, "errors", None) or [{}]
    near = f"{details[0].get('highlight', '')}".strip()
    said = str(details[0].get("description", "")).rstrip(".")
    return f"syntax error near {near!r}" + (f" ({said})" if said else "")
