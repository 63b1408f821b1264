"""Rules of attributes: each is known where it stands, of its kind, and within its bounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from gangline.ir.attributes import decode
from gangline.ir.errors import GanglineError, VerifyError
from gangline.ir.module import mlir
from gangline.ir.ops import (
    ANNOTATIONS,
    ARGUMENT_ATTRIBUTES,
    CONTROL_ATTRIBUTES,
    FUNCTION_ATTRIBUTES,
    AttributeSpec,
)

from .facts import Facts, OpFacts, Rule

_HOMES = {
    "agent.max_trips": "scf.while",
    "agent.parallel": "scf.for",
    "agent.speculative": "scf.if",
    "agent.case": "scf.if",
    "agent.arms": "scf.if",
}
"""The one operation that a control attribute belongs to, where not every one takes it."""

_FUNCTION = frozenset({"sym_name", "function_type", "sym_visibility", "arg_attrs"})
_CONTROL: Mapping[str, Mapping[str, AttributeSpec]] = {
    op: {name: spec for name, spec in CONTROL_ATTRIBUTES.items() if _HOMES.get(name, op) == op}
    for op in ("scf.if", "scf.for", "scf.while")
}
_NONE: Mapping[str, AttributeSpec] = {}


def attributes_fit_the_table(facts: Facts) -> Iterator[VerifyError]:
    """An operation has the attributes of its row, of its kinds; annotations go anywhere."""
    # Attributes are unique in a context: an equal one at an equal place is checked once.
    known: dict[tuple[str, str, Any], str] = {}
    for found in facts.ops:
        spec = found.spec
        rows = spec.by_name if spec else _CONTROL.get(found.name, _NONE)
        if spec is not None and not spec.required <= found.given.keys():
            for name in sorted(spec.required - found.given.keys()):
                yield found.error(f"{found.name} needs the attribute {name!r}")
        for name, given in found.given.items():
            key = found.name, name, given
            problem = known.get(key)
            if problem is None:
                row = rows.get(name) or ANNOTATIONS.get(name)
                problem = known[key] = _problem(found.name, name, row, given)
            if problem:
                yield found.error(problem)


def control_has_a_name(facts: Facts) -> Iterator[VerifyError]:
    """A branch, a map and a loop say what they are called."""
    for found in facts.of("scf.if", "scf.for", "scf.while"):
        if "agent.name" not in found.given:
            yield found.error(f"{found.name} needs the attribute 'agent.name'")


def function_attributes_are_known(facts: Facts) -> Iterator[VerifyError]:
    """A function says what FUNCTION_ATTRIBUTES has, and each input what ARGUMENT_ATTRIBUTES has."""
    for function in facts.functions.values():
        for name, given in function.given.items():
            if name not in _FUNCTION:
                row = FUNCTION_ATTRIBUTES.get(name) or ANNOTATIONS.get(name)
                if problem := _problem("func.func", name, row, given):
                    yield function.error(problem)
        if function.attrs.get("sym_visibility", "private") != "private":
            yield function.error("a function is private, or the workflow")
        yield from _inputs(function)


def _inputs(function: OpFacts) -> Iterator[VerifyError]:
    rows = function.given.get("arg_attrs", ())
    for index, row in enumerate(rows):
        for entry in row:
            spec = ARGUMENT_ATTRIBUTES.get(entry.name)
            if problem := _problem(f"input {index}", entry.name, spec, entry.attr):
                yield function.error(problem)
            elif entry.name == "agent.schema" and not isinstance(entry.attr, mlir.DictAttr):
                yield function.error(f"the schema of input {index} is no JSON Schema")


def _problem(place: str, name: str, row: AttributeSpec | None, given: Any) -> str:
    """Say what is wrong with an attribute; an empty text where nothing is."""
    if row is None:
        return "" if (place, name) == ("arith.constant", "value") else _unknown(place, name)
    what = f"attribute {name!r} of {place}"
    if row.kind == "unit":
        return "" if isinstance(given, mlir.UnitAttr) else f"{what} is {given}, not a mark"
    try:
        value = decode(given)
    except GanglineError:
        return f"{what} is {_short(given)}, which is no JSON value"
    if not _is_kind(value, given, row.kind):
        return f"{what} is {_short(given)}, not of kind {row.kind}"
    if row.kind == "str" and row.required and not value:
        return f"{what} is empty"
    if row.choices and value not in row.choices:
        return f"{what} is {value!r}, not one of {', '.join(row.choices)}"
    if row.minimum is not None and value < row.minimum:
        return f"{what} is {value}, below {row.minimum}"
    if row.maximum is not None and value > row.maximum:
        return f"{what} is {value}, above {row.maximum}"
    return ""


def _unknown(place: str, name: str) -> str:
    return f"{place} has no attribute {name!r}"


def _short(given: Any) -> str:
    """Give the beginning of what an attribute prints, which may be long."""
    printed = str(given)
    return printed if len(printed) <= 80 else printed[:77] + "..."


def _is_finite(value: Any) -> bool:
    """Tell whether JSON can hold every number of a decoded value."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, list) or all(map(_is_finite, value))


def _is_kind(value: Any, given: Any, kind: str) -> bool:
    match kind:
        case "json":
            return not isinstance(given, mlir.FlatSymbolRefAttr) and _is_finite(value)
        case "symbol":
            return isinstance(given, mlir.FlatSymbolRefAttr)
        case "str":
            return isinstance(given, mlir.StringAttr)
        case "bool":
            return isinstance(given, mlir.BoolAttr)
        case "int":
            return isinstance(given, mlir.IntegerAttr) and str(given.type) == "i64"
        case "float":
            wide = isinstance(given, mlir.FloatAttr) and str(given.type) == "f64"
            return wide and math.isfinite(value)
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


RULES: tuple[Rule, ...] = (
    attributes_fit_the_table,
    control_has_a_name,
    function_attributes_are_known,
)
