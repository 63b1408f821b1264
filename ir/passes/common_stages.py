"""Compute equal things once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gangline.ir.module import Module, blocks
from gangline.ir.ops import ANNOTATIONS

from .base import Pass
from .effects import Effects, cast_from

_NOT_COMPARED = frozenset({"name", *ANNOTATIONS})
"""What a step is called and what was noted about it does not change what it gives."""


@dataclass(frozen=True, slots=True)
class CommonStages(Pass):
    """Compute equal deterministic operations once, where the first of them dominates the others.

    Deterministic are computations, tools without effects, and models at temperature 0 that no
    seed or temperature operand steers. Values are compared through casts.
    """

    name: ClassVar[str] = "common-stages"

    def apply(self, module: Module) -> None:
        effects = Effects(module)
        for function in module.functions():
            for block in blocks(function):
                _merge(block, {}, effects)


def _merge(block: Any, known: dict[Any, Any], effects: Effects) -> None:
    """Merge in one block.

    `known` holds what dominates it; what this block adds is taken out again at its end.
    """
    added = []
    for found in list(block.operations):
        op = found.operation
        if op.name == "agent.cast" and _shorten(op):
            continue
        if effects.is_deterministic(op):
            key = _key(op)
            first = known.get(key)
            if first is not None:
                _replace(op, first)
                continue
            known[key] = op
            added.append(key)
        for inner in blocks(op):
            _merge(inner, known, effects)
    for key in added:
        del known[key]


def _shorten(cast: Any) -> bool:
    """Cast from where a chain of casts starts; True where that makes the cast needless."""
    start = cast_from(cast.operands[0])
    if start.type == cast.results[0].type:
        cast.results[0].replace_all_uses_with(start)
        cast.erase()
        return True
    cast.operands[0] = start
    return False


def _replace(op: Any, first: Any) -> None:
    for old, new in zip(op.results, first.results, strict=True):
        old.replace_all_uses_with(new)
    op.erase()


def _key(op: Any) -> Any:
    # Attributes and types are unique in a context, so equal ones are one object.
    compared = [pair for pair in op.attributes.items() if pair[0] not in _NOT_COMPARED]
    return (
        op.name,
        tuple(map(cast_from, op.operands)),
        tuple(compared),
        tuple(result.type for result in op.results),
    )
