"""Compute equal things once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gangline.ir.module import Module, blocks

from .base import Pass, is_removable


@dataclass(frozen=True, slots=True)
class CommonStages(Pass):
    """Compute equal pure operations once, where the first of them dominates the others."""

    name: ClassVar[str] = "common-stages"

    def apply(self, module: Module) -> None:
        for function in module.functions():
            for block in blocks(function):
                _merge(block, {})


def _merge(block: Any, outer: dict[Any, Any]) -> None:
    """Merge in one block; `outer` holds what the blocks around it have computed already."""
    known = dict(outer)
    for found in list(block.operations):
        op = found.operation
        if is_removable(op):
            first = known.setdefault(_key(op), op)
            if first is not op:
                for old, new in zip(op.results, first.results, strict=True):
                    old.replace_all_uses_with(new)
                op.erase()
                continue
        for inner in blocks(op):
            _merge(inner, known)


def _key(op: Any) -> Any:
    # Attributes and types are unique in a context, so equal ones are one object.
    return (
        op.name,
        tuple(op.operands),
        tuple(op.attributes.items()),
        tuple(result.type for result in op.results),
    )
