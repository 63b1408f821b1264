"""Passes: small, named, valid in, valid out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from .module import Module, blocks, context, mlir, walk
from .ops import OPS


@dataclass(frozen=True, slots=True)
class Pass:
    """Base of every pass: `apply` changes a valid module in place and leaves it valid."""

    name: ClassVar[str] = ""

    def apply(self, module: Module) -> None:
        """Change the module in place."""
        raise NotImplementedError


def run(module: Module, passes: Iterable[Pass]) -> Module:
    """Apply passes in order, in place, and give the module back."""
    with context(), mlir.Location.unknown():
        for found in passes:
            found.apply(module)
    return module


def is_removable(op: Any) -> bool:
    """Tell whether nobody would notice if an operation with unused results were gone."""
    spec = OPS.get(op.name)
    if spec is None:
        return bool(op.name == "arith.constant")
    if op.name in ("agent.tool", "stage.tool"):
        # A tool that reads may still fail a job on purpose (a check), so only pure ones go.
        return bool(op.attributes["effects"].value == "none")
    return spec.pure


@dataclass(frozen=True, slots=True)
class DeadStages(Pass):
    """Remove pure operations whose results nobody uses."""

    name: ClassVar[str] = "dead-stages"

    def apply(self, module: Module) -> None:
        for function in module.functions():
            # Uses come after definitions, so one walk backwards sees every user removed first.
            for op in reversed(list(walk(function))):
                if is_removable(op) and not any(len(list(r.uses)) for r in op.results):
                    op.erase()


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


DEFAULT_PASSES: tuple[Pass, ...] = (CommonStages(), DeadStages())
"""What every workflow goes through before it is lowered."""
