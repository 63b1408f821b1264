"""Check a query against the schema before it runs: one sentence on what is wrong, or none.

Small repairs that keep the meaning are made on the way: a column behind the wrong alias goes
behind the only table in FROM that has it, double-quoted text becomes text, and a value gets
the spelling it has in a column whose values are all known. Nothing is executed here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import settings
from .location import Dialect
from .render import identifier
from .schema import Column, ForeignKey, Schema, Table

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope


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
    text = sql.strip().rstrip(";").rstrip()
    if problem := _too_much(text):
        return Checked(text, problem)
    try:
        tree = _parse(text, schema.dialect)
        found = _Names(schema)
        found.look_at(tree)
        repaired = tree.sql(dialect=schema.dialect) if found.repairs else text
    except _Wrong as wrong:
        return Checked(text, str(wrong))
    except RecursionError:
        return Checked(text, "the query is nested too deeply")
    return Checked(repaired, "", tuple(found.repairs))


class _Wrong(Exception):
    """What is wrong with the query, in one sentence."""


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
        trees = sqlglot.parse(text, read=dialect)
    except ParseError as error:
        raise _Wrong(_syntax(error)) from None
    except TokenError:
        raise _Wrong("syntax error: a quote or a comment is not closed") from None
    if len(trees) != 1:
        raise _Wrong("write one statement only")
    tree = trees[0]
    if not isinstance(tree, exp.Query):
        raise _Wrong("only a SELECT statement gives an answer")
    if any(not select.expressions for select in tree.find_all(exp.Select)):
        raise _Wrong("a SELECT list is empty")
    return tree


def _syntax(error: object) -> str:
    details = getattr(error, "errors", None) or [{}]
    near = f"{details[0].get('highlight', '')}".strip()
    said = str(details[0].get("description", "")).rstrip(".")
    return f"syntax error near {near!r}" + (f" ({said})" if said else "")


@dataclass
class _Names:
    """Resolves the names of one query scope by scope, noting repairs."""

    schema: Schema
    repairs: list[str] = field(default_factory=list)

    def look_at(self, tree: exp.Query) -> None:
        """Resolve every scope; _Wrong names the first thing that does not fit."""
        from sqlglot.errors import OptimizeError
        from sqlglot.optimizer.scope import traverse_scope

        try:
            scopes = traverse_scope(tree)
        except OptimizeError as error:
            raise _Wrong(f"syntax error: {error}") from None
        for scope in scopes:
            self._tables(scope)
        # A scope lists the columns of its subqueries too; inner scopes come first, and a
        # column belongs to the first scope that lists it.
        seen: dict[int, exp.Column] = {}
        for scope in scopes:
            own = [column for column in scope.columns if id(column) not in seen]
            seen.update((id(column), column) for column in own)
            for column in own:
                self._column(column, scope)
                self._value(column, scope)

    def _tables(self, scope: Scope) -> None:
        from sqlglot import exp

        for source in scope.sources.values():
            if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
                name = source.name
                if self.schema.table(name) is None:
                    tables = [table.name for table in self.schema.tables]
                    raise _Wrong(f"there is no table {name}{_like(name, tables)}")

    def _column(self, column: exp.Column, scope: Scope) -> None:
        name, qualifier = column.name, column.table
        if not name or name == "*" or name.lower() == "rowid":
            return
        if qualifier:
            self._qualified(column, scope)
            return
        owners = list(self._owners(name, scope))
        if len(owners) > 1:
            self._ambiguous(column, scope, owners)
        elif not owners and not self._visible_outside(column, scope):
            self._unknown(column, scope)

    def _qualified(self, column: exp.Column, scope: Scope) -> None:
        source = _source(column.table, scope)
        if source is None:
            self._unknown_qualifier(column, scope)
        elif not self._has(source, column.name):
            self._move(column, scope, list(self._owners(column.name, scope)))

    def _move(self, column: exp.Column, scope: Scope, owners: list[str]) -> None:
        from sqlglot import exp

        if len(owners) != 1:
            raise _Wrong(self._missing(column, scope))
        self.repairs.append(f"{column.table}.{column.name} is {owners[0]}.{column.name}")
        column.set("table", exp.to_identifier(owners[0]))

    def _unknown_qualifier(self, column: exp.Column, scope: Scope) -> None:
        owners = list(self._owners(column.name, scope))
        table = self.schema.table(column.table)
        if len(owners) == 1 and (table is None or table.column(column.name) is None):
            self._move(column, scope, owners)
            return
        if table is None:
            names = ", ".join(scope.selected_sources) or "none"
            raise _Wrong(f"there is no table or alias {column.table}; FROM has {names}")
        aliases = [alias for alias, found in self._from(scope) if found == table]
        if len(aliases) == 1:  # FROM singer AS T1 ... singer.name
            self._move(column, scope, aliases)
            return
        joined = self._join(table, scope)
        raise _Wrong(f"table {column.table} is used but not in FROM{joined}")

    def _ambiguous(self, column: exp.Column, scope: Scope, owners: list[str]) -> None:
        from sqlglot import exp

        equal = _equal_columns(scope, column.name)
        if not set(owners) <= equal:
            choices = " or ".join(f"{owner}.{column.name}" for owner in owners)
            raise _Wrong(f"column {column.name} is ambiguous: write {choices}")
        if not _joined_by_name(scope):
            self.repairs.append(f"{column.name} is {owners[0]}.{column.name}")
            column.set("table", exp.to_identifier(owners[0]))

    def _unknown(self, column: exp.Column, scope: Scope) -> None:
        from sqlglot import exp

        quoted = isinstance(column.this, exp.Identifier) and column.this.quoted
        if quoted and self.schema.dialect == "sqlite" and _is_operand(column):
            self.repairs.append(f'"{column.name}" is text')
            column.replace(exp.Literal.string(column.name))
            return
        raise _Wrong(self._missing(column, scope))

    def _missing(self, column: exp.Column, scope: Scope) -> str:
        """Say that a column is not there, and where it is or what may be meant."""
        tables = [table for _, table in self._from(scope) if table is not None]
        source = _source(column.table, scope) if column.table else None
        here = self._table_of(source) if source is not None else None
        within = [here] if here is not None else tables
        where = f" in {_listed(table.name for table in within)}" if within else ""
        said = f"there is no column {column.name}{where}"
        elsewhere = [table for table in self.schema.owners(column.name) if table not in tables]
        if elsewhere:
            return f"{said}; it is in table {elsewhere[0].name}{self._join(elsewhere[0], scope)}"
        names = [found.name for table in within for found in table.columns]
        if not (hint := _like(column.name, names)):
            everywhere = [c.name for table in self.schema.tables for c in table.columns]
            hint = _like(column.name, everywhere)
        return said + hint

    def _join(self, table: Table, scope: Scope) -> str:
        for alias, found in self._from(scope):
            if found is not None and (on := _link(table, found, alias)):
                return f": JOIN {identifier(table.name)} ON {on}"
        return ""

    def _owners(self, name: str, scope: Scope) -> Iterator[str]:
        for alias in scope.selected_sources:
            if self._has(scope.sources[alias], name):
                yield alias

    def _from(self, scope: Scope) -> Iterator[tuple[str, Table | None]]:
        for alias in scope.selected_sources:
            yield alias, self._table_of(scope.sources[alias])

    def _table_of(self, source: object) -> Table | None:
        from sqlglot import exp

        return self.schema.table(source.name) if isinstance(source, exp.Table) else None

    def _has(self, source: object, name: str) -> bool:
        from sqlglot import exp
        from sqlglot.optimizer.scope import Scope

        if isinstance(source, exp.Table):
            table = self.schema.table(source.name)
            return table is None or table.column(name) is not None
        if not isinstance(source, Scope):
            return True
        names = {found.lower() for found in _outputs(source)}
        return name.lower() in names or "*" in names

    def _visible_outside(self, column: exp.Column, scope: Scope) -> bool:
        """Tell whether a name is an alias of the select list or a column of an outer query."""
        aliases = {found.lower() for found in _outputs(scope)}
        if column.name.lower() in aliases and not _in_select_list(column, scope):
            return True
        outer = scope.parent
        while outer is not None:
            if any(True for _ in self._owners(column.name, outer)):
                return True
            outer = outer.parent
        return False

    def _value(self, column: exp.Column, scope: Scope) -> None:
        from sqlglot import exp

        if isinstance(column.parent, (exp.EQ, exp.NEQ, exp.In)):
            self._spelling(column, column.parent, scope)

    def _spelling(self, column: exp.Column, test: exp.Expression, scope: Scope) -> None:
        from sqlglot import exp

        known = self._schema_column(column, scope)
        if known is None or not known.complete:
            return
        literals = [node for node in test.iter_expressions() if isinstance(node, exp.Literal)]
        for literal in literals:
            alike = [v for v in known.samples if v.lower() == str(literal.this).lower()]
            if literal.is_string and literal.this not in known.samples and len(alike) == 1:
                self.repairs.append(f"{literal.this!r} is {alike[0]!r} in {column.name}")
                literal.replace(exp.Literal.string(alike[0]))

    def _schema_column(self, column: exp.Column, scope: Scope) -> Column | None:
        owners = [column.table] if column.table else list(self._owners(column.name, scope))
        source = _source(owners[0], scope) if len(owners) == 1 else None
        table = self._table_of(source)
        return table.column(column.name) if table is not None else None


def _source(alias: str, scope: Scope) -> object | None:
    """Find what an alias stands for, in this query or an outer one."""
    current: Scope | None = scope
    while current is not None:
        for name, source in current.sources.items():
            if name.lower() == alias.lower() and name in current.selected_sources:
                return source
        current = current.parent
    return None


def _outputs(scope: Scope) -> list[str]:
    from sqlglot import exp

    declared = scope.expression.parent
    alias = declared.args.get("alias") if declared is not None else None
    if isinstance(alias, exp.TableAlias) and alias.columns:
        return [column.name for column in alias.columns]
    query = scope.expression
    names = query.named_selects if isinstance(query, exp.Query) else []
    return ["*"] if any(not name for name in names) and "*" in query.sql() else list(names)


def _in_select_list(column: exp.Column, scope: Scope) -> bool:
    node: Any = column
    while node is not None and node.parent is not scope.expression:
        node = node.parent
    return node is not None and node.arg_key == "expressions"


def _is_operand(column: exp.Column) -> bool:
    from sqlglot import exp

    parent = column.parent
    if isinstance(parent, exp.In):
        return column.arg_key == "expressions"
    compares = isinstance(parent, (exp.Binary, exp.Between))
    return compares and column.arg_key != "this"


def _equal_columns(scope: Scope, name: str) -> set[str]:
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


def _joined_by_name(scope: Scope) -> bool:
    joins = scope.expression.args.get("joins") or []
    return any(join.args.get("using") or join.args.get("method") for join in joins)


def _link(table: Table, other: Table, alias: str) -> str:
    """Give the ON condition of the foreign key between two tables, if there is one."""
    for key in table.foreign_keys:
        if key.ref_table.lower() == other.name.lower():
            return _pairs(key, table.name, alias)
    for key in other.foreign_keys:
        if key.ref_table.lower() == table.name.lower():
            return _pairs(key, alias, table.name)
    return ""


def _pairs(key: ForeignKey, owner: str, target: str) -> str:
    return " AND ".join(
        f"{identifier(owner)}.{identifier(own)} = {identifier(target)}.{identifier(other)}"
        for own, other in zip(key.columns, key.ref_columns, strict=True)
    )


def _like(name: str, known: Iterable[str]) -> str:
    spelled = {found.lower(): found for found in known}
    near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.6)
    return f"; did you mean {spelled[near[0]]}?" if near else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names))
