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


@dataclass(frozen=True, slots=True)
class HoistFromMaps(Pass):
    """Move work that is the same for every item of a map in front of it.

    Only out of maps over constant lists that are not empty, so nothing runs that would not have
    run; reading tools move too unless the map writes.
    """

    name: ClassVar[str] = "hoist-from-maps"

    def apply(self, module: Module) -> None:
        for function in module.functions():
            # Inner maps first, so that work can move out of several.
            for op in reversed(list(walk(function))):
                if op.name == "scf.for" and _runs(op):
                    _hoist(op)


def _runs(op: Any) -> bool:
    """Tell whether a map surely has an item."""
    items = op.operands[1].owner.operation.operands[0].owner
    if isinstance(items, mlir.Block) or items.operation.name != "agent.constant":
        return False
    return len(items.operation.attributes["value"]) > 0


def _hoist(op: Any) -> None:
    inside = list(walk(op))
    writes = any(_effects(found) != "read" for found in inside if not is_removable(found))
    # A moved operation is no longer inside, so those that need only it can follow.
    for found in list(op.regions[0].blocks[0].operations):
        inner = found.operation
        movable = is_removable(inner) or (
            inner.name == "agent.tool" and _effects(inner) == "read" and not writes
        )
        if movable and not any(_is_within(value, op) for value in inner.operands):
            inner.move_before(op)


def _effects(op: Any) -> str:
    """Give the effects of a tool; what calls or generates counts as `read` or worse."""
    if op.name == "agent.tool":
        return str(op.attributes["effects"].value)
    return "write" if op.name in ("agent.call", "agent.expand") else "read"


def _is_within(value: Any, op: Any) -> bool:
    owner = value.owner
    home = owner.owner if isinstance(owner, mlir.Block) else owner.operation.parent
    while home is not None:
        if home.operation == op:
            return True
        home = home.operation.parent
    return False


DEFAULT_PASSES: tuple[Pass, ...] = (HoistFromMaps(), CommonStages(), DeadStages())
"""What every workflow goes through before it is lowered."""
