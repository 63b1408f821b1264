"""Resolve the names of a query against a schema, scope by scope, repairing the small things."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .reserved import identifier
from .schema import Column, Schema, Table
from .scopes import (
    equal_columns,
    in_select_list,
    is_operand,
    joined_by_name,
    link,
    listed,
    outputs,
    source_of,
    suggestion,
)

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope


class Wrong(Exception):
    """What is wrong with the query, in one sentence."""


@dataclass
class Names:
    """Resolves the names of one query scope by scope, noting repairs."""

    schema: Schema
    repairs: list[str] = field(default_factory=list)
    _joined: set[tuple[int, str]] = field(default_factory=set)

    def look_at(self, tree: exp.Query) -> None:
        """Resolve every scope; Wrong names the first thing that does not fit."""
        from sqlglot.errors import OptimizeError
        from sqlglot.optimizer.scope import traverse_scope

        try:
            scopes = traverse_scope(tree)
        except OptimizeError as error:
            raise Wrong(f"syntax error: {error}") from None
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
            for column in own:
                self._value(column, scope)

    def _tables(self, scope: Scope) -> None:
        from sqlglot import exp

        for source in scope.sources.values():
            if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
                name = source.name
                if self.schema.table(name) is None:
                    tables = [table.name for table in self.schema.tables]
                    raise Wrong(f"there is no table {name}{suggestion(name, tables)}")

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
        source = source_of(column.table, scope)
        if source is None:
            self._unknown_qualifier(column, scope)
        elif not self._has(source, column.name):
            self._move(column, scope, list(self._owners(column.name, scope)))

    def _move(self, column: exp.Column, scope: Scope, owners: list[str]) -> None:
        from sqlglot import exp

        if len(owners) != 1 and not self._join_owner(column, scope, owners):
            raise Wrong(self._missing(column, scope))
        if not owners:
            return
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
            raise Wrong(f"there is no table or alias {column.table}; FROM has {names}")
        aliases = [alias for alias, found in self._from(scope) if found == table]
        if len(aliases) == 1:  # FROM singer AS T1 ... singer.name
            self._move(column, scope, aliases)
            return
        if table.column(column.name) is None or not self._add_join(table, column, scope):
            joined = self._join(table, scope)
            raise Wrong(f"table {column.table} is used but not in FROM{joined}")

    def _ambiguous(self, column: exp.Column, scope: Scope, owners: list[str]) -> None:
        from sqlglot import exp

        equal = equal_columns(scope, column.name)
        if not set(owners) <= equal:
            choices = " or ".join(f"{owner}.{column.name}" for owner in owners)
            raise Wrong(f"column {column.name} is ambiguous: write {choices}")
        if not joined_by_name(scope):
            self.repairs.append(f"{column.name} is {owners[0]}.{column.name}")
            column.set("table", exp.to_identifier(owners[0]))

    def _unknown(self, column: exp.Column, scope: Scope) -> None:
        from sqlglot import exp

        quoted = isinstance(column.this, exp.Identifier) and column.this.quoted
        if quoted and self.schema.dialect == "sqlite" and is_operand(column):
            self.repairs.append(f'"{column.name}" is text')
            column.replace(exp.Literal.string(column.name))
            return
        if not self._join_owner(column, scope, []):
            raise Wrong(self._missing(column, scope))

    def _join_owner(self, column: exp.Column, scope: Scope, owners: list[str]) -> bool:
        """Join the one table that has the column and a foreign key to or from FROM."""
        if owners:
            return False
        here = [table for _, table in self._from(scope)]
        away = [table for table in self.schema.owners(column.name) if table not in here]
        linked = [table for table in away if self._join(table, scope)]
        return len(linked) == 1 and self._add_join(linked[0], column, scope)

    def _add_join(self, table: Table, column: exp.Column, scope: Scope) -> bool:
        from sqlglot import exp

        key = (id(scope), table.name)
        on = self._on(table, scope)
        if not on or not isinstance(scope.expression, exp.Select):
            return False
        if key not in self._joined:
            name = exp.to_identifier(table.name)
            scope.expression.join(
                exp.Table(this=name), on=on, dialect=self.schema.dialect, copy=False
            )
            self._joined.add(key)
            self.repairs.append(f"{table.name} is joined on {on}")
        column.set("table", exp.to_identifier(table.name))
        return True

    def _missing(self, column: exp.Column, scope: Scope) -> str:
        """Say that a column is not there, and where it is or what may be meant."""
        tables = [table for _, table in self._from(scope) if table is not None]
        source = source_of(column.table, scope) if column.table else None
        here = self._table_of(source) if source is not None else None
        within = [here] if here is not None else tables
        where = f" in {listed(table.name for table in within)}" if within else ""
        said = f"there is no column {column.name}{where}"
        elsewhere = [table for table in self.schema.owners(column.name) if table not in tables]
        if elsewhere:
            return f"{said}; it is in table {elsewhere[0].name}{self._join(elsewhere[0], scope)}"
        names = [found.name for table in within for found in table.columns]
        if not (hint := suggestion(column.name, names)):
            everywhere = [c.name for table in self.schema.tables for c in table.columns]
            hint = suggestion(column.name, everywhere)
        return said + hint

    def _join(self, table: Table, scope: Scope) -> str:
        on = self._on(table, scope)
        return f": JOIN {identifier(table.name, self.schema.dialect)} ON {on}" if on else ""

    def _on(self, table: Table, scope: Scope) -> str:
        for alias, found in self._from(scope):
            if found is not None and (on := link(table, found, alias, self.schema.dialect)):
                return on
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
        names = {found.lower() for found in outputs(source)}
        return name.lower() in names or "*" in names

    def _visible_outside(self, column: exp.Column, scope: Scope) -> bool:
        """Tell whether a name is an alias of the select list or a column of an outer query."""
        aliases = {found.lower() for found in outputs(scope)}
        if column.name.lower() in aliases and not in_select_list(column, scope):
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
        source = source_of(owners[0], scope) if len(owners) == 1 else None
        table = self._table_of(source)
        return table.column(column.name) if table is not None else None
