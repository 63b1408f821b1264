"""A grammar for SELECT queries over one schema, in the Lark dialect of llguidance.

A context-free grammar cannot look back at FROM, so columns are bound to tables by *scopes*,
each a copy of the expression rules with its own `column` rule:

    s<i>   a query over table i alone: columns of i, plain or behind i's name or an alias
    n<i>   the same inside a subquery, where a qualified column may belong to an outer table
    j      a join: any column of the schema; behind a table's name only that table's columns
    d      a derived table in FROM: any column, and names that look computed (num_x, total)
    o      ORDER BY and the like behind select-list aliases: any name
    w      inside WITH: any name

A schema with more than MAX_BOUND_TABLES tables is parsed in j alone, to keep compiling and
masking quick. What the grammar lets through is checked by `check`.

Two habits keep the number of Earley items, and so the time of a mask, small. A keyword is one
lexeme with the white space around it (bounded, so that a model cannot dwell in it), a column
with its qualifier too. And what does not depend on the scope is a rule that all share. The
lexer never goes back: where one lexeme begins another, both must be able to end there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from .functions import POSTGRES_FUNCTIONS, SQLITE_FUNCTIONS
from .location import Dialect
from .reserved import RESERVED, is_plain
from .schema import Schema

MAX_BOUND_TABLES = 40

_BY_SCOPE = """
body_@: plain_@ from_@ where_@? group_@? tail_@ | named_@ from_@ where_@? group_o? tail_o
tail_@: order_@? limit? | compound
plain_@: item_@ | plain_@ COMMA item_@
item_@: expr_@ | STAR
named_@: (plain_@ COMMA)? expr_@ AS NAME (COMMA any_item_@)*
any_item_@: expr_@ (AS NAME)? | STAR
where_@: WHERE expr_@
group_@: GROUP_BY list_@ (HAVING expr_@)?
order_@: ORDER_BY sorts_@
sorts_@: expr_@ DIRECTION? NULLS? (COMMA sorts_@)?
list_@: expr_@ (COMMA expr_@)*
expr_@: unit_@ more_@*
more_@: infix (unit_@ | TEXT_IN_QUOTES) | IN_OPEN members_@ CLOSE | BETWEEN sum_@ AND sum_@
  | INFIX_NOT (IN_OPEN_NEXT members_@ CLOSE | BETWEEN_NEXT sum_@ AND sum_@)
members_@: list_@ | nested | quotes
sum_@: (unit_@ | TEXT_IN_QUOTES) (OPERATOR unit_@)*
unit_@: PREFIX? atom_@
atom_@: column_@ | constant | OPEN expr_@ CLOSE | CAST_OPEN expr_@ AS TYPE CLOSE
  | FUNCTION OPEN arguments_@? CLOSE (FILTER_OPEN expr_@ CLOSE)? over_@? | CASE cases_@ (ELSE expr_@)? END
arguments_@: STAR | DISTINCT? list_@
over_@: OVER_OPEN window_@? CLOSE
window_@: PARTITION_BY list_@ order_@? FRAME? | ORDER_BY_FIRST sorts_@ FRAME?
cases_@: (WHEN_FIRST | expr_@ WHEN) expr_@ THEN expr_@ (WHEN expr_@ THEN expr_@)*
"""
_POSTGRES_ONLY = {"more": "CAST_MARK TYPE", "atom": "EXTRACT_OPEN expr_@ CLOSE"}
_SHARED = """
query: SELECT DISTINCT? bodies
nested: SELECT DISTINCT? inner_bodies
compound: SET_SELECT DISTINCT? inner_bodies
qualified: QUALIFIED | ALIAS_DOT ANY_COLUMN
limit: LIMIT NUMBER (OFFSET NUMBER | COMMA NUMBER)?
infix: OPERATOR | WORD_INFIX | INFIX_NOT LIKE_NEXT
constant: NUMBER | TEXT | WORD_CONSTANT | OPEN nested CLOSE | EXISTS_OPEN nested CLOSE
quotes: TEXT_IN_QUOTES | quotes COMMA TEXT_IN_QUOTES
alias: AS NAME | NEXT_NAME
source: TABLE alias?
derived: OPEN nested CLOSE alias?
on_j: ON expr_j | USING_OPEN ANY_COLUMN (COMMA ANY_COLUMN)* CLOSE
sources: FROM source | joined
joined: sources JOIN source on_j? | sources COMMA source
from_d: FROM derived | (from_d | sources) (JOIN | COMMA) derived on_d? | from_d (JOIN | COMMA) source on_d?
on_d: ON expr_d
with_query: WITH RECURSIVE? ctes SPACE query_w
ctes: cte | ctes COMMA cte
cte: NAME (OPEN names CLOSE)? AS_OPEN query_w CLOSE
constant_w: NUMBER | TEXT | WORD_CONSTANT | OPEN query_w CLOSE | EXISTS_OPEN query_w CLOSE
names: NAME | names COMMA NAME
query_w: SELECT DISTINCT? body_w
compound_w: SET_SELECT DISTINCT? body_w
source_w: (NAME | TABLE | OPEN query_w CLOSE) alias?
from_w: FROM source_w | from_w JOIN source_w (ON expr_w | USING_OPEN names CLOSE)? | from_w COMMA source_w
"""
_IN_WITH = {"nested": "query_w", "constant": "constant_w", "compound": "compound_w"}
_S, _O = r"[ \t\r\n]{1,12}", r"[ \t\r\n]{0,12}"
_FRAME_BOUND = r"((unbounded|[0-9]{1,4})~(preceding|following)|current~row)"
# `~` stands for white space that must be there, `%` for white space that may.
_LEXEMES = {
    "SELECT": "select~",
    "DISTINCT": "distinct~",
    "FROM": "~from~",
    "WHERE": "~where~",
    "GROUP_BY": "~group~by~",
    "HAVING": "~having~",
    "ORDER_BY": "~order~by~",
    "ORDER_BY_FIRST": "order~by~",
    "PARTITION_BY": "partition~by~",
    "DIRECTION": "~(asc|desc)",
    "NULLS": "~nulls~(first|last)",
    "LIMIT": "~limit~",
    "OFFSET": "~offset~",
    "SET_SELECT": "~(union|union~all|intersect|except)~select~",
    "JOIN": "~((inner|cross|natural|(left|right|full)(~outer)?)~)?join~",
    "ON": "~on~",
    "USING_OPEN": r"~using%\(%",
    "AS": "~as~",
    "AS_OPEN": r"~as%\(%",
    "WITH": "with~",
    "RECURSIVE": "recursive~",
    "SPACE": "~",
    "COMMA": "%,%",
    "OPEN": r"%\(%",
    "CLOSE": r"%\)",
    "STAR": r"([a-z_][a-z0-9_]{0,40}\.)?\*",
    "OPERATOR": r"%(<>|<=|>=|!=|==|=|<|>|\|\||\+|-|\*|\/|\x25)%",
    "INFIX_NOT": "~not~",
    "BETWEEN": "~between~",
    "BETWEEN_NEXT": "between~",
    "AND": "~and~",
    "IN_OPEN": r"~in%\(%",
    "IN_OPEN_NEXT": r"in%\(%",
    "PREFIX": "not~|[-+]",
    "EXISTS_OPEN": r"exists%\(%",
    "CAST_OPEN": r"cast%\(%",
    "FILTER_OPEN": r"~filter%\(%where~",
    "OVER_OPEN": r"~over%\(%",
    "FRAME": f"~(rows|range)~({_FRAME_BOUND}|between~{_FRAME_BOUND}~and~{_FRAME_BOUND})",
    "CASE": "case~",
    "WHEN_FIRST": "when~",
    "WHEN": "~when~",
    "THEN": "~then~",
    "ELSE": "~else~",
    "END": "~end",
    "SEMICOLON": "%;",
    "NUMBER": r"[0-9]{1,15}(\.[0-9]{1,10})?",
    "TEXT": r"'([^'\n]|'')*'",
    "WORD_CONSTANT": "null|true|false|current_date|current_time|current_timestamp",
    # What models call computed columns. Any name at all would cost 20 times the Earley items.
    "DERIVED_NAME": "(num|cnt|count|total|sum|avg|average|min|max|rank|rn|ratio)[a-z0-9_]{0,30}"
    "|[a-z]{1,12}_[a-z0-9_]{1,30}",
    "TYPE": r"(integer|int|bigint|real|float|double precision|numeric|decimal|text|varchar|char"
    r"|date|datetime|timestamp|time|boolean)(\([0-9]{1,3}(, ?[0-9]{1,3})?\))?",
}
_BY_DIALECT: Mapping[Dialect, Mapping[str, str]] = {
    "sqlite": {
        "WORD_INFIX": "~(and|or|is|like|glob|escape)~",
        "LIKE_NEXT": "(like|glob)~",
        "TEXT_IN_QUOTES": r'"[^"\n]*"',
    },
    "postgres": {
        "WORD_INFIX": "~(and|or|is|like|ilike|escape)~",
        "LIKE_NEXT": "(like|ilike)~",
        # PostgreSQL reads double quotes as a name, never as text: a text without text.
        "TEXT_IN_QUOTES": r"'([^'\n]|'')*'",
        "CAST_MARK": "::",
        "EXTRACT_OPEN": r"extract%\(%[a-z]{3,12}~from~",
    },
}


def schema_grammar_text(schema: Schema) -> str:
    """Give the Lark text of all queries over a schema."""
    return _grammar(schema)


@lru_cache(maxsize=64)
def _grammar(schema: Schema) -> str:
    bound = len(schema.tables) if len(schema.tables) <= MAX_BOUND_TABLES else 0
    parts = [
        "start: (query | with_query) SEMICOLON?",
        *_bodies(bound),
        *_scopes(schema, bound),
        _SHARED,
        *_names(schema),
        *_lexemes(schema.dialect),
    ]
    return "\n".join(parts) + "\n"


def _bodies(bound: int) -> Iterator[str]:
    """Yield what may follow SELECT, at the top and inside parentheses."""
    for prefix, kind in (("", "s"), ("inner_", "n")):
        scopes = [*(f"{kind}{i}" for i in range(bound)), "j", "d"]
        bodies = " | ".join(f"body_{scope}" for scope in scopes)
        yield f"{prefix}bodies: {bodies} | (plain_none | named_none) limit?"


def _scopes(schema: Schema, bound: int) -> Iterator[str]:
    dialect = schema.dialect
    for i in range(bound):
        yield _scope(f"s{i}", f"REFERENCE_{i} | ALIAS_DOT COLUMN_{i}", dialect)
        yield _scope(f"n{i}", f"COLUMN_{i} | qualified", dialect)
        yield f"from_s{i}: FROM TABLE_{i} alias?\nfrom_n{i}: FROM TABLE_{i} alias?"
    yield _scope("j", "ANY_COLUMN | qualified", dialect)
    yield _scope("o", "ANY_NAME | qualified | ALIAS_DOT NAME", dialect)
    yield _scope("d", "DERIVED_NAME | ANY_COLUMN | qualified | ALIAS_DOT NAME", dialect)
    yield "from_o: FROM derived"
    yield _scope("none", "WORD_CONSTANT", dialect) + "from_none: FROM derived"
    free = _scope("w", "ANY_NAME | qualified | ALIAS_DOT NAME", dialect)
    yield re.sub(r"\b(nested|constant|compound)\b", lambda word: _IN_WITH[word.group()], free)
    yield "from_j: joined" if bound else "from_j: sources"


def _scope(name: str, column: str, dialect: Dialect) -> str:
    rules = _BY_SCOPE
    for rule, more in _POSTGRES_ONLY.items() if dialect == "postgres" else ():
        rules = rules.replace(f"\n{rule}_@: ", f"\n{rule}_@: {more} | ")
    return rules.replace("@", name) + f"column_{name}: {column}\n"


def _names(schema: Schema) -> Iterator[str]:
    dialect = schema.dialect
    tables = [table.name for table in schema.tables]
    columns = dict.fromkeys(column.name for table in schema.tables for column in table.columns)
    yield f"NAME: /(?i:[a-z_][a-z0-9_]{{0,40}})/ & ~/(?i:{'|'.join(sorted(RESERVED))})/"
    # An alias without AS is short, or every word of the vocabulary would be tried here.
    yield f"NEXT_NAME: /{_S}/ (NAME & /(?i:[a-z]{{1,2}}[0-9]?)/)"
    yield f"ALIAS: NAME & ~/(?i:{'|'.join(map(_regex, tables))})/"
    yield f"TABLE: {_any_of(tables, dialect)}"
    yield f"ANY_COLUMN: {_any_of(columns, dialect)}"
    for i, table in enumerate(schema.tables):
        yield f"TABLE_{i}: {_any_of([table.name], dialect)}"
        yield f"COLUMN_{i}: {_any_of((column.name for column in table.columns), dialect)}"
        yield f'REFERENCE_{i}: (TABLE_{i} ".")? COLUMN_{i}'
    bound = [f'TABLE_{i} "." COLUMN_{i}' for i in range(len(tables))]
    yield f"QUALIFIED: {' | '.join(bound)}"
    yield 'ALIAS_DOT: ALIAS "."'
    yield "ANY_NAME: ANY_COLUMN | NAME"


def _any_of(names: Iterable[str], dialect: Dialect) -> str:
    """Make a terminal for a set of identifiers, plain where that is allowed, and quoted."""
    spelled = "|".join(_regex(form) for name in names for form in _spellings(name, dialect))
    return f"/(?i:{spelled})/" if dialect == "sqlite" else f"/{spelled}/"


def _spellings(name: str, dialect: Dialect) -> list[str]:
    forms = ['"' + name.replace('"', '""') + '"']
    if dialect == "sqlite":
        forms.append("`" + name.replace("`", "``") + "`")
    return [name, *forms] if is_plain(name, dialect) else forms


def _regex(text: str) -> str:
    """Write text as a regular expression between slashes."""
    return "".join(map(_regex_character, text))


def _regex_character(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in '_"` '):
        return character
    if character.isascii() and character.isprintable() and character not in "<>":
        return f"\\{character}"  # but \< and \> would mean the edges of a word
    return f"\\u{{{ord(character):x}}}"


def _lexemes(dialect: Dialect) -> Iterator[str]:
    for name, pattern in {**_LEXEMES, **_BY_DIALECT[dialect]}.items():
        spaced = pattern.replace("%", _O).replace("~", _S)
        yield f"{name}: /(?i:{spaced})/"
    functions = SQLITE_FUNCTIONS if dialect == "sqlite" else POSTGRES_FUNCTIONS
    yield f"FUNCTION: /(?i:{'|'.join(sorted(functions - {'->', '->>'}))})/"
