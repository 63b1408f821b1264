"""Move work that all items of a map share in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gangline.ir.module import Module, mlir, walk

from .base import Pass, is_removable


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
