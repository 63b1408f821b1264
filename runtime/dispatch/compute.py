"""The pure functions a dispatcher evaluates itself (`COMPUTE_FUNCTIONS` of ir/program.py).

Each is total on JSON values or raises StepError. Sizes are bounded, so that a loop that
doubles its value ends in an error and not in the machine's memory.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gangline.ir.errors import StepError

MAX_LENGTH = 16 * 1024 * 1024
"""Longest text (characters) a computation may make."""
MAX_ITEMS = 1_000_000
"""Longest list a computation may make."""
MAX_SHOWN = 32
"""Most keys an error lists."""
MAX_BITS = 1024
"""Widest integer a computation may make."""

Attributes = Mapping[str, Any]


def evaluate(fn: str, operands: Sequence[Any], attributes: Attributes, where: str) -> Any:
    """Apply the compute function `fn`; StepError (at `where`) if it has no value there."""
    function = _FUNCTIONS.get(fn)
    if function is None:
        raise StepError(
            f"No compute function is called {fn!r}",
            where=where,
            next_step="Compile the workflow with this version of gangline.",
        )
    try:
        return _bounded(function(operands, attributes))
    except (TypeError, KeyError, IndexError, ValueError, OverflowError) as error:
        shown = ", ".join(_kind(value) for value in operands)
        reason = f"key {error} is absent" if isinstance(error, KeyError) else str(error)
        raise StepError(
            f"`{fn}` of ({shown}) has no value: {reason}",
            where=where,
            next_step="Check what the step before returned.",
        ) from None


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise ValueError(f"the integer is wider than {MAX_BITS} bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("the number is not finite")
    if isinstance(value, str) and len(value) > MAX_LENGTH:
        raise ValueError(f"the text is longer than {MAX_LENGTH} characters")
    if isinstance(value, list) and len(value) > MAX_ITEMS:
        raise ValueError(f"the list is longer than {MAX_ITEMS} items")
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _get(operands: Sequence[Any], attributes: Attributes) -> Any:
    (mapping,) = operands
    if not isinstance(mapping, Mapping):
        raise TypeError("it has no members")
    return mapping[attributes["key"]]


def _item(operands: Sequence[Any], _: Attributes) -> Any:
    container, index = operands
    if isinstance(container, Mapping):
        if isinstance(index, str) and index not in container and len(container) <= MAX_SHOWN:
            raise ValueError(f"{index[:80]!r} is none of {', '.join(map(repr, container))}")
        return container[index]
    if not isinstance(container, list | tuple | str):
        raise TypeError("it has no elements")
    return container[index]


def _len(operands: Sequence[Any], _: Attributes) -> int:
    (value,) = operands
    return len(value)


def _same_kind(left: Any, right: Any) -> None:
    both_numbers = _number(left) and _number(right)
    if not both_numbers and not (type(left) is type(right) and isinstance(left, str | list)):
        raise TypeError("the operands do not go together")


def _compare(test: Callable[[Any, Any], Any]) -> Callable[[Sequence[Any], Attributes], bool]:
    def compare(operands: Sequence[Any], _: Attributes) -> bool:
        left, right = operands
        _same_kind(left, right)
        return bool(test(left, right))

    return compare


def _equal(operands: Sequence[Any], _: Attributes) -> bool:
    left, right = operands
    return bool(left == right)


def _add(operands: Sequence[Any], _: Attributes) -> Any:
    left, right = operands
    _same_kind(left, right)
    return left + right


def _arithmetic(
    combine: Callable[[Any, Any], Any],
) -> Callable[[Sequence[Any], Attributes], Any]:
    def arithmetic(operands: Sequence[Any], _: Attributes) -> Any:
        left, right = operands
        if not (_number(left) and _number(right)):
            raise TypeError("the operands are not both numbers")
        return combine(left, right)

    return arithmetic


def _dict(operands: Sequence[Any], attributes: Attributes) -> dict[str, Any]:
    return dict(zip(attributes["keys"], operands, strict=True))


def _range(operands: Sequence[Any], _: Attributes) -> list[int]:
    (count,) = operands
    if not isinstance(count, int) or count > MAX_ITEMS:
        raise ValueError(f"it must be a whole number up to {MAX_ITEMS}")
    return list(range(count))


_FUNCTIONS: Mapping[str, Callable[[Sequence[Any], Attributes], Any]] = {
    "get": _get,
    "item": _item,
    "len": _len,
    "eq": _equal,
    "ne": lambda operands, attributes: not _equal(operands, attributes),
    "lt": _compare(operator.lt),
    "le": _compare(operator.le),
    "gt": _compare(operator.gt),
    "ge": _compare(operator.ge),
    "not": lambda operands, _: not operands[0],
    "and": lambda operands, _: all(operands),
    "or": lambda operands, _: any(operands),
    "add": _add,
    "sub": _arithmetic(operator.sub),
    "mul": _arithmetic(operator.mul),
    "list": lambda operands, _: list(operands),
    "dict": _dict,
    "range": _range,
}
