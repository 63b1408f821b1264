"""The verifier: holds a module to the op table and to the shapes control flow may have.

MLIR's own verifier runs first (types of scf and func, dominance). Then every operation is
checked against `ops.OPS`, and the few rules that span operations are checked by hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gangline.ir.errors import LoweringError, VerifyError

from .attributes import decode
from .module import Module, blocks, location_text, mlir, walk, where
from .ops import HANDLES, OPS, TYPE_NAMES, TYPES, AttributeSpec, OpSpec
from .rules import RULES

_CONTROL = frozenset(
    {
        "func.func",
        "func.return",
        "scf.if",
        "scf.for",
        "scf.while",
        "scf.yield",
        "scf.condition",
        "arith.constant",
    }
)
_KINDS: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "symbol": str,
}


def verify(module: Module, *, level: str | None = None) -> None:
    """Raise VerifyError for the first rule the module breaks; `level` is agent or stage.

    Without a level both are accepted, but not in one function.
    """
    for error in violations(module, level=level):
        raise error


def violations(module: Module, *, level: str | None = None) -> Iterator[VerifyError]:
    """Yield every rule the module breaks, each with the place of its operation.

    What MLIR itself refuses comes alone: the later checks rely on it.
    """
    try:
        module.mlir.operation.verify()
    except mlir.MLIRError as error:
        yield _from_mlir(error)
        return
    yield from _module_shape(module)
    for function in module.functions():
        yield from _function(function, level)
        for op in walk(function):
            yield from _operation(op, level)
    for rule in RULES:
        yield from rule(module)


def _from_mlir(error: Any) -> VerifyError:
    found = error.error_diagnostics[0]
    return VerifyError(found.message, where=location_text(found.location))


def _module_shape(module: Module) -> Iterator[VerifyError]:
    for op in module.mlir.body.operations:
        if op.operation.name != "func.func":
            yield VerifyError(
                f"a module holds functions only, not {op.operation.name}", where=where(op.operation)
            )
    public = [f for f in module.functions() if "sym_visibility" not in f.attributes]
    if len(public) != 1:
        yield VerifyError(
            f"a module has one public function, the workflow; this one has {len(public)}",
            where=where(public[1]) if len(public) > 1 else "",
        )


def _function(function: Any, level: str | None) -> Iterator[VerifyError]:
    at, name = where(function), function.attributes["sym_name"].value
    if not list(blocks(function)):
        yield VerifyError(f"function @{name} has no body", where=at)
        return
    kind = mlir.FunctionType(function.attributes["function_type"].value)
    if len(kind.results) != 1:
        yield VerifyError(f"function @{name} gives {len(kind.results)} values, not one", where=at)
    for given in (*kind.inputs, *kind.results):
        if str(given) not in TYPE_NAMES or TYPE_NAMES[str(given)] in HANDLES:
            yield VerifyError(f"function @{name} takes or gives a {given}", where=at)
    yield from _argument_names(function, len(kind.inputs))


def _argument_names(function: Any, count: int) -> Iterator[VerifyError]:
    at, seen = where(function), set()
    rows = list(function.attributes["arg_attrs"]) if "arg_attrs" in function.attributes else []
    for index in range(count):
        row = rows[index] if index < len(rows) else None
        name = row["agent.name"] if row is not None and "agent.name" in row else None
        if not isinstance(name, mlir.StringAttr):
            yield VerifyError(f"input {index} has no agent.name", where=at)
        elif name.value in seen:
            yield VerifyError(f"two inputs are named {name.value!r}", where=at)
        else:
            seen.add(name.value)


def _operation(op: Any, level: str | None) -> Iterator[VerifyError]:
    spec = OPS.get(op.name)
    if spec is None:
        if op.name not in _CONTROL:
            yield VerifyError(f"{op.name} is no operation of the op table", where=where(op))
        return
    if level is not None and level not in spec.levels:
        yield VerifyError(f"{op.name} does not belong to the {level} level", where=where(op))
    if len(op.regions) or len(op.successors):
        yield VerifyError(f"{op.name} takes no region or successor", where=where(op))
    yield from _operands(op, spec)
    yield from _results(op, spec)
    yield from _attributes(op, spec)


def _operands(op: Any, spec: OpSpec) -> Iterator[VerifyError]:
    given = [str(value.type) for value in op.operands]
    fixed = len(spec.operands)
    if len(given) < fixed or (len(given) > fixed and spec.variadic is None):
        least = "at least " if spec.variadic is not None else ""
        yield VerifyError(
            f"{op.name} takes {least}{fixed} operands, not {len(given)}", where=where(op)
        )
        return
    for index, found in enumerate(given):
        allowed = spec.operands[index] if index < fixed else spec.variadic
        yield from _type(op, f"operand {index}", found, allowed or frozenset())


def _results(op: Any, spec: OpSpec) -> Iterator[VerifyError]:
    given = [str(value.type) for value in op.results]
    if len(given) != len(spec.results):
        yield VerifyError(
            f"{op.name} gives {len(spec.results)} results, not {len(given)}", where=where(op)
        )
        return
    for index, (found, allowed) in enumerate(zip(given, spec.results, strict=True)):
        yield from _type(op, f"result {index}", found, allowed)


def _type(op: Any, what: str, found: str, allowed: frozenset[str]) -> Iterator[VerifyError]:
    if TYPE_NAMES.get(found) not in allowed:
        wanted = ", ".join(sorted(TYPES[name] for name in allowed))
        yield VerifyError(f"{what} of {op.name} is {found}, not {wanted}", where=where(op))


def _attributes(op: Any, spec: OpSpec) -> Iterator[VerifyError]:
    given = dict(op.attributes.items())
    for name in given:
        if spec.attribute(name) is None:
            yield VerifyError(f"{op.name} has no attribute {name!r}", where=where(op))
    for known in spec.attributes:
        if known.name in given:
            yield from _attribute(op, known, given[known.name])
        elif known.required:
            yield VerifyError(f"{op.name} needs the attribute {known.name!r}", where=where(op))


def _attribute(op: Any, known: AttributeSpec, given: Any) -> Iterator[VerifyError]:
    what = f"attribute {known.name!r} of {op.name}"
    try:
        value = decode(given)
    except LoweringError:
        yield VerifyError(f"{what} is {given}, which is no JSON value", where=where(op))
        return
    if not _is_kind(value, given, known.kind):
        yield VerifyError(f"{what} is {given}, not of kind {known.kind}", where=where(op))
    elif known.choices and value not in known.choices:
        choices = ", ".join(known.choices)
        yield VerifyError(f"{what} is {value!r}, not one of {choices}", where=where(op))
    elif known.minimum is not None and not value >= known.minimum:
        yield VerifyError(f"{what} is {value}, below {known.minimum}", where=where(op))


def _is_kind(value: Any, given: Any, kind: str) -> bool:
    if kind == "json":
        return True
    if kind == "strs":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind == "symbol":
        return isinstance(given, mlir.FlatSymbolRefAttr)
    if isinstance(given, mlir.FlatSymbolRefAttr) or (isinstance(value, bool) and kind != "bool"):
        return False
    return isinstance(value, _KINDS[kind])
