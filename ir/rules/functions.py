"""Rules of a module and its functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gangline.ir.errors import VerifyError
from gangline.ir.module import VERSION, mlir, where
from gangline.ir.ops import HANDLES, OP_TABLE_VERSION

from .facts import Facts, OpFacts, Rule


def module_holds_functions(facts: Facts) -> Iterator[VerifyError]:
    """A module holds functions only."""
    for view in facts.module.mlir.body.operations:
        op = view.operation
        if op.name != "func.func":
            yield VerifyError(
                f"a module holds functions only, not {op.name}",
                where=where(op),
                next_step="Put it into a func.func.",
            )


def one_function_is_public(facts: Facts) -> Iterator[VerifyError]:
    """The public function is the workflow; the others are private."""
    public = [f for f in facts.functions.values() if "sym_visibility" not in f.given]
    if len(public) != 1:
        place = public[1].op if public else facts.module.mlir.operation
        yield VerifyError(
            f"a module has one public function, the workflow; this one has {len(public)}",
            where=where(place),
            next_step="Mark every other function `private`.",
        )


def version_is_current(facts: Facts) -> Iterator[VerifyError]:
    """A module of another version is upgraded before it is verified."""
    op = facts.module.mlir.operation
    for name, found in op.attributes.items():
        if name != VERSION:
            yield VerifyError(
                f"a module has no attribute {name!r}",
                where=where(op),
                next_step=f"Remove it: a module says {VERSION} alone.",
            )
        elif str(found) != f"{OP_TABLE_VERSION} : i64":
            yield VerifyError(
                f"{VERSION} is {found}, not {OP_TABLE_VERSION}",
                where=where(op),
                next_step="Read the module with ir.version.read_module, which upgrades it.",
            )


def functions_take_and_give_values(facts: Facts) -> Iterator[VerifyError]:
    """A function has a body, and inputs and one result whose values are JSON."""
    for name, function in facts.functions.items():
        if not facts.inside[function]:
            yield function.error(f"function @{name} has no body")
            continue
        kind = mlir.FunctionType(function.given["function_type"].value)
        if len(kind.results) != 1:
            yield function.error(f"function @{name} gives {len(kind.results)} values, not one")
        for given in (*kind.inputs, *kind.results):
            found = facts.type_name(given)
            if found is None or found in HANDLES:
                yield function.error(f"function @{name} takes or gives a {given}")


def inputs_have_names(facts: Facts) -> Iterator[VerifyError]:
    """Every input has a name of its own."""
    for function in facts.functions.values():
        seen = set()
        for index, row in enumerate(argument_rows(facts, function)):
            name = row.get("agent.name")
            if not isinstance(name, str) or not name:
                yield function.error(f"input {index} has no agent.name")
            elif name in seen:
                yield function.error(f"two inputs are named {name!r}")
            else:
                seen.add(name)


def argument_rows(facts: Facts, function: OpFacts) -> list[dict[str, Any]]:
    """Give the attributes of each input; a row that cannot be read is empty."""
    kind = mlir.FunctionType(function.given["function_type"].value)
    given = function.given.get("arg_attrs")
    rows = list(given) if isinstance(given, mlir.ArrayAttr) else []
    made = [
        facts.decoded({entry.name: entry.attr for entry in row})
        if isinstance(row, mlir.DictAttr)
        else {}
        for row in rows
    ]
    return [*made, *({} for _ in range(len(kind.inputs) - len(made)))]


RULES: tuple[Rule, ...] = (
    module_holds_functions,
    one_function_is_public,
    version_is_current,
    functions_take_and_give_values,
    inputs_have_names,
)
