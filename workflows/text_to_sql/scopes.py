"""Questions asked of one scope of a parsed query, and the words for what is near a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .location import Dialect
from .reserved import identifier
from .schema import ForeignKey, Table

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope


def source_of(alias: str, scope: Scope) -> object | None:
    """Find what an alias stands for, in this query or an outer one."""
    current: Scope | None = scope
    while current is not None:
        for name, source in current.sources.items():
            if name.lower() == alias.lower() and name in current.selected_sources:
                return source
        current = current.parent
    return None


def outputs(scope: Scope) -> list[str]:
    """List the column names a query gives; `*` stands for names that are not known."""
    from sqlglot import exp

    declared = scope.expression.parent
    alias = declared.args.get("alias") if declared is not None else None
    if isinstance(alias, exp.TableAlias) and alias.columns:
        return [column.name for column in alias.columns]
    query = scope.expression
    names = query.named_selects if isinstance(query, exp.Query) else []
    return ["*"] if any(not name for name in names) and "*" in query.sql() else list(names)


def in_select_list(column: exp.Column, scope: Scope) -> bool:
    """Tell whether a column stands in the select list of its own query."""
    node: Any = column
    while node is not None and node.parent is not scope.expression:
        node = node.parent
    return node is not None and node.arg_key == "expressions"


def is_operand(column: exp.Column) -> bool:
    """Tell whether a column stands where a comparison has its value."""
    from sqlglot import exp

    parent = column.parent
    if isinstance(parent, exp.In):
        return column.arg_key == "expressions"
    compares = isinstance(parent, (exp.Binary, exp.Between))
    return compares and column.arg_key != "this"


def equal_columns(scope: Scope, name: str) -> set[str]:
    """Collect the aliases whose column of that name the inner joins make equal."""
    from sqlglot import exp

    joins = scope.expression.args.get("joins") or []
    equal: set[str] = set()
    for join in joins:
        if join.args.get("using") and name in [found.name for found in join.args["using"]]:
            return set(scope.selected_sources)
        on = join.args.get("on")
        for test in on.find_all(exp.EQ) if on is not None and not join.side else ():
            sides = (test.this, test.expression)
            if all(isinstance(s, exp.Column) and s.name.lower() == name.lower() for s in sides):
                equal |= {side.table for side in sides}
    return equal


def joined_by_name(scope: Scope) -> bool:
    """Tell whether USING or NATURAL joins make equal names one column."""
    joins = scope.expression.args.get("joins") or []
    return any(join.args.get("using") or join.args.get("method") for join in joins)


def link(table: Table, other: Table, alias: str, dialect: Dialect) -> str:
    """Give the ON condition of the foreign key between two tables, if there is one."""
    for key in table.foreign_keys:
        if key.ref_table.lower() == other.name.lower():
            return _pairs(key, table.name, alias, dialect)
    for key in other.foreign_keys:
        if key.ref_table.lower() == table.name.lower():
            return _pairs(key, alias, table.name, dialect)
    return ""


def _pairs(key: ForeignKey, owner: str, target: str, dialect: Dialect) -> str:
    return " AND ".join(
        f"{identifier(owner, dialect)}.{identifier(own, dialect)} = "
        f"{identifier(target, dialect)}.{identifier(other, dialect)}"
        for own, other in zip(key.columns, key.ref_columns, strict=True)
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """Name the nearest of the known names, if one is near."""
    spelled = {found.lower(): found for found in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.6)
    return f"; did you mean {spelled[near[0]]}?" if near else ""


def listed(names: Iterable[str]) -> str:
    """Join names once each."""
    return ", ".join(dict.fromkeys(names))
