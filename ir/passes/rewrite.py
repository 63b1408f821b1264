"""What passes that replace operations share: making stages and swapping results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from gangline.ir.builder import mlir_type
from gangline.ir.module import context, mlir
from gangline.ir.ops import ANNOTATIONS, OPS


@cache
def attribute_names(name: str) -> frozenset[str]:
    """Give the names of the attributes that an operation may have."""
    return frozenset(spec.name for spec in OPS[name].attributes)


def make(name: str, operands: Iterable[Any], attrs: Mapping[str, Any], *results: Any) -> Any:
    """Create an operation at the insertion point with those of `attrs` it may have.

    `attrs` are MLIR attributes; `results` are type names such as `kv`, or MLIR types.
    """
    known = attribute_names(name)
    return mlir.Operation.create(
        name,
        operands=list(operands),
        attributes={key: value for key, value in attrs.items() if key in known},
        results=[mlir_type(kind) if isinstance(kind, str) else kind for kind in results],
    )


def text(value: str) -> Any:
    """Give the attribute of a text."""
    return mlir.StringAttr.get(value)


def texts(values: Iterable[str]) -> Any:
    """Give the attribute of a list of texts."""
    return mlir.ArrayAttr.get([mlir.StringAttr.get(value) for value in values])


def name_of(op: Any) -> str:
    """Give the name of an operation, or an empty text."""
    return str(op.attributes["name"].value) if "name" in op.attributes else ""


def annotations_of(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Give those of an operation's attributes that are no part of it."""
    return {key: value for key, value in attrs.items() if key in ANNOTATIONS}


def replace(op: Any, results: Sequence[Any]) -> None:
    """Let the users of an operation use `results` instead, and remove it."""
    for old, new in zip(op.results, results, strict=True):
        old.replace_all_uses_with(new)
    op.erase()


def set_floats(op: Any, values: Mapping[str, float]) -> None:
    """Set attributes that are numbers, to 6 digits: MLIR prints others of size as bits."""
    attributes, kind = op.attributes, float_type()
    for name, value in values.items():
        attributes[name] = mlir.FloatAttr.get(kind, float(f"{value:.6g}"))


@cache
def float_type() -> Any:
    """Give the type of numbers."""
    with context():
        return mlir.F64Type.get()
