"""JSON values as MLIR attributes, and back, without loss.

    None   none            int    7 : i64      list   [a, b]
    bool   true            float  1.5 : f64    dict   {a = 1, b = 2} when its keys are sorted,
    str    "text"                                     else [unit, ["b", 2], ["a", 1]]

MLIR sorts the keys of a dictionary attribute, so a dict whose order differs (it shows when a
prompt prints it) is written as a list of pairs after a `unit` mark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from gangline.ir.errors import LoweringError

from .module import mlir

_I64 = range(-(2**63), 2**63)


def encode(value: Any, kind: str = "json") -> Any:
    """Give the attribute of a JSON value; needs a current context and location.

    `kind` is an attribute kind of the op table: only `float` and `symbol` change the encoding.
    Raises LoweringError for what is no JSON value (or an int beyond 64 bits).
    """
    if kind == "symbol":
        return mlir.FlatSymbolRefAttr.get(value)
    return _encode(float(value) if kind == "float" else value)


def _encode(value: Any) -> Any:
    match value:
        case bool():
            return mlir.BoolAttr.get(value)
        case str():
            return mlir.StringAttr.get(_utf8(value))
        case int() if value in _I64:
            return mlir.IntegerAttr.get(mlir.IntegerType.get_signless(64), value)
        case float() if math.isfinite(value):
            return mlir.FloatAttr.get(mlir.F64Type.get(), value)
        case None:
            return mlir.TypeAttr.get(mlir.NoneType.get())
        case list() | tuple():
            return mlir.ArrayAttr.get([_encode(item) for item in value])
        case Mapping():
            return _encode_mapping(value)
    raise LoweringError(
        f"{value!r} is not a value JSON can hold",
        next_step="Use text, finite numbers, 64-bit integers, booleans, None, lists and dicts.",
    )


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LoweringError(
            f"the text {text[:40]!r} is not valid Unicode",
            next_step="Remove lone surrogates from it.",
        ) from None
    return text


def _encode_mapping(value: Mapping[Any, Any]) -> Any:
    keys = list(value)
    if not all(isinstance(key, str) for key in keys):
        raise LoweringError(f"the keys of {value!r} are not all text")
    # The bindings cut keys at a NUL, and MLIR wants keys of at least one character.
    plain = all(key and "\0" not in key for key in keys)
    if plain and keys == sorted(keys, key=lambda key: _utf8(key).encode()):
        return mlir.DictAttr.get({key: _encode(item) for key, item in value.items()})
    pairs = [mlir.ArrayAttr.get([_encode(key), _encode(item)]) for key, item in value.items()]
    return mlir.ArrayAttr.get([mlir.UnitAttr.get(), *pairs])


def decode(attribute: Any) -> Any:
    """Give the JSON value of an attribute; the inverse of `encode`.

    Raises LoweringError for what is no JSON value, or nests too deeply to be one.
    """
    try:
        return _decode(attribute)
    except RecursionError:
        raise LoweringError("an attribute nests too deeply") from None


def _decode(attribute: Any) -> Any:
    match attribute:
        case mlir.StringAttr() | mlir.BoolAttr() | mlir.FloatAttr():
            return attribute.value
        case mlir.IntegerAttr():
            return int(attribute.value)
        case mlir.FlatSymbolRefAttr():
            return attribute.value
        case mlir.DictAttr():
            return {entry.name: _decode(entry.attr) for entry in attribute}
        case mlir.ArrayAttr():
            return _decode_array(attribute)
        case mlir.TypeAttr() if str(attribute) == "none":
            return None
    raise LoweringError(f"the attribute {str(attribute)[:80]} is no JSON value")


def _decode_array(attribute: Any) -> Any:
    items = list(attribute)
    if items and isinstance(items[0], mlir.UnitAttr):
        return {pair[0].value: _decode(pair[1]) for pair in items[1:]}
    return [_decode(item) for item in items]


def decode_all(op: Any) -> dict[str, Any]:
    """Give every attribute of an operation as JSON."""
    return {name: decode(found) for name, found in op.attributes.items()}
