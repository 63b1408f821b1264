"""Words that cannot be names unless they are quoted, and names that need no quotes."""

from __future__ import annotations

import re

from .location import Dialect

_RESERVED_WORDS = """
all and any as asc between by case cast collate create cross current_date current_time
current_timestamp desc distinct else end escape except exists false fetch filter for foreign
from full glob group having ilike in inner intersect into is isnull join left like limit
natural not notnull null nulls offset on or order outer over partition primary references
regexp right select set some table then to true union unique using values when where window with
"""
RESERVED = frozenset(_RESERVED_WORDS.split())


def is_plain(name: str, dialect: Dialect) -> bool:
    """Tell whether a name can be written without quotes and still be found.

    PostgreSQL folds unquoted names to lower case, so others need their quotes there.
    """
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None
    return plain and name.lower() not in RESERVED and (dialect == "sqlite" or name.islower())


def identifier(name: str, dialect: Dialect) -> str:
    """Quote a name only where SQL needs it."""
    return name if is_plain(name, dialect) else '"' + name.replace('"', '""') + '"'
