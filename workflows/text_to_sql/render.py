"""Show a schema to a model: compact CREATE TABLE text within a budget of characters."""

from __future__ import annotations

from collections.abc import Iterable

from . import settings
from .location import Dialect
from .reserved import identifier
from .schema import Column, ForeignKey, Schema, Table

PLAIN_TYPES = (
    ("INT", "INTEGER"),
    ("CHAR", "TEXT"),
    ("TEXT", "TEXT"),
    ("CLOB", "TEXT"),
    ("REAL", "REAL"),
    ("FLOA", "REAL"),
    ("DOUB", "REAL"),
    ("TIMESTAMP", "TIMESTAMP"),
    ("DATETIME", "DATETIME"),
)


def render(schema: Schema, budget_chars: int = settings.SCHEMA_CHARS) -> str:
    """Give the schema as CREATE TABLE statements with values in comments.

    A schema over the budget loses first samples, then types, then the columns that are
    neither keys nor names; table names are always there.
    """
    for num_samples in (settings.SAMPLES_PER_COLUMN, 2, 1, 0):
        text = "\n".join(_table(table, num_samples, schema.dialect) for table in schema.tables)
        if len(text) <= budget_chars:
            return text
    short = "\n".join(_short_table(table, 10_000, schema.dialect) for table in schema.tables)
    if len(short) <= budget_chars:
        return short
    each = max(3, budget_chars // (len(schema.tables) * 16))
    return "\n".join(_short_table(table, each, schema.dialect) for table in schema.tables)


def plain_type(declared: str) -> str:
    """Shorten a declared type to the word that matters; unknown ones stay as they are."""
    kind = declared.upper()
    return next((short for mark, short in PLAIN_TYPES if mark in kind), kind)


def _table(table: Table, num_samples: int, dialect: Dialect) -> str:
    keys = [column.name for column in table.columns if column.primary_key]
    inline = len(keys) == 1
    lines = [_column(column, num_samples, inline, dialect) for column in table.columns]
    if len(keys) > 1:
        lines.append((f"PRIMARY KEY ({_names(keys, dialect)})", ""))
    lines += [(_foreign_key(key, dialect), "") for key in table.foreign_keys]
    # Every line but the last ends in a comma, which must stand before the comment.
    commas = [","] * (len(lines) - 1) + [""]
    body = "\n".join(
        f"  {text}{comma}{note}" for (text, note), comma in zip(lines, commas, strict=True)
    )
    return f"CREATE TABLE {identifier(table.name, dialect)} (\n{body}\n);"


def _names(names: Iterable[str], dialect: Dialect) -> str:
    return ", ".join(identifier(name, dialect) for name in names)


def _column(
    column: Column, num_samples: int, inline_key: bool, dialect: Dialect
) -> tuple[str, str]:
    words = [identifier(column.name, dialect), plain_type(column.type)]
    if column.primary_key and inline_key:
        words.append("PRIMARY KEY")
    return " ".join(word for word in words if word), _note(column, num_samples)


def _note(column: Column, num_samples: int) -> str:
    if num_samples == 0 or not column.samples:
        return ""
    wanted = 1 if column.is_time and not column.is_text else num_samples
    shown = [literal(_clip(value)) for value in column.samples[:wanted]]
    more = "" if column.complete and len(shown) == len(column.samples) else ", ..."
    return f" -- {', '.join(shown)}{more}"


def literal(value: str) -> str:
    """Quote text as SQL does."""
    return "'" + value.replace("'", "''") + "'"


def _clip(value: str) -> str:
    flat = " ".join(value.split())
    return flat if len(flat) <= settings.SAMPLE_CHARS else flat[: settings.SAMPLE_CHARS - 1] + "…"


def _foreign_key(key: ForeignKey, dialect: Dialect) -> str:
    own = _names(key.columns, dialect)
    other = _names(key.ref_columns, dialect)
    return f"FOREIGN KEY ({own}) REFERENCES {identifier(key.ref_table, dialect)} ({other})"


def _short_table(table: Table, num_columns: int, dialect: Dialect) -> str:
    linked = {name for key in table.foreign_keys for name in key.columns}
    weight = {
        column.name: 0 if column.primary_key or column.name in linked else 1
        for column in table.columns
    }
    kept = set(sorted(weight, key=lambda name: weight[name])[:num_columns])
    names = [identifier(column.name, dialect) for column in table.columns if column.name in kept]
    links = [
        f"{identifier(key.columns[0], dialect)}->{identifier(key.ref_table, dialect)}"
        for key in table.foreign_keys
    ]
    note = f" -- {', '.join(links)}" if links and num_columns >= 10 else ""
    return f"{identifier(table.name, dialect)}({', '.join(names)}){note}"
