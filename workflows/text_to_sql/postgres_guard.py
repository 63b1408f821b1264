"""A look at a PostgreSQL statement before it is sent: one query, known functions only.

The server's read-only transaction, the plain user and the cursor are the real walls. This
scan adds that functions which reach files, the network, other sessions or other SQL
(pg_read_file, lo_import, dblink, query_to_xml, set_config ...) are never called. It follows
PostgreSQL's lexical rules and refuses the spellings that could hide a name from it.
"""

from __future__ import annotations

import re

from .functions import POSTGRES_FUNCTIONS

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--[^\n]*|/\*)
    | (?P<hidden>(?:[eE]|[uU]&|[bBxX])(?=['"])|\$[A-Za-z_]*\$)
    | (?P<string>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<word>[^\W\d][\w$]*)
    | (?P<number>\d[\w.]*)
    | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
# Words that may stand before a parenthesis without being a function.
_KEYWORDS = """
    select from where and or not in exists any all some as on using by having case when then
    else end values over partition filter within group order union intersect except with
    recursive join inner left right full outer cross lateral distinct between like ilike is null
    limit offset interval cast extract row array materialized return rollup cube grouping sets
    numeric decimal varchar char character varying timestamp time bit float rows range
"""

_CALLABLE = POSTGRES_FUNCTIONS.union(_KEYWORDS.split())


def refusal(sql: str) -> str:
    """Say in one sentence why the statement must not be run; empty when it may be."""
    tokens = [match for match in _TOKEN.finditer(sql) if match.lastgroup != "space"]
    for match in tokens:
        if match.lastgroup in ("comment", "hidden"):
            return f"write the query without {_described(match)}"
        if match.lastgroup == "mark" and match.group() in ";'\"" and not _is_last(match, sql):
            return "only one statement may be run, with its quotes closed"
    if not tokens or tokens[0].group().lower() not in ("select", "with", "values", "("):
        return "only a SELECT statement gives an answer"
    return _bad_call(tokens)


def _described(match: re.Match[str]) -> str:
    return "comments" if match.lastgroup == "comment" else f"the prefix {match.group()!r}"


def _is_last(match: re.Match[str], sql: str) -> bool:
    return match.group() == ";" and not sql[match.end() :].strip(" \t\r\n;")


def _bad_call(tokens: list[re.Match[str]]) -> str:
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if after.group() == "(" and token.lastgroup in ("word", "quoted"):
            # A name after these is being defined with its columns: WITH n(a) AS, AS t(a, b).
            defined = before.group().lower() in ("with", "recursive", "as", ")")
            if not defined and not _may_call(before, token):
                return f"the function {token.group()} may not be called"
    return ""


def _may_call(before: re.Match[str], token: re.Match[str]) -> bool:
    if before.group() == ".":  # a schema could hold another function of a harmless name
        return False
    if token.lastgroup == "quoted":
        return token.group()[1:-1] in POSTGRES_FUNCTIONS
    return token.group().lower() in _CALLABLE
