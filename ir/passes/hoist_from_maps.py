"""Move work that all items of a map share in front of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gangline.ir.attributes import decode
from gangline.ir.module import Module, mlir, walk

from .base import Pass
from .effects import Effects, cast_from


@dataclass(frozen=True, slots=True)
class HoistFromMaps(Pass):
    """Move work that is the same for every item of a map in front of it.

    Only out of maps that surely have an item, so nothing runs that would not have run. What is
    deterministic moves. What reads moves too, unless the map writes, or could end without it.
    """

    name: ClassVar[str] = "hoist-from-maps"

    def apply(self, module: Module) -> None:
        effects = Effects(module)
        for function in module.functions():
            # Inner maps first, so that work can move out of several.
            for op in reversed(list(walk(function))):
                if op.name == "scf.for" and _runs(op):
                    _hoist(op, effects)


def _runs(op: Any) -> bool:
    """Tell whether a map surely has an item."""
    owner = cast_from(op.operands[1].owner.operation.operands[0]).owner
    if isinstance(owner, mlir.Block):
        return False
    made = owner.operation
    if made.name in ("agent.constant", "stage.constant"):
        value = decode(made.attributes["value"])
        return isinstance(value, list) and len(value) > 0
    if made.name not in ("agent.compute", "stage.compute"):
        return False
    fn = made.attributes["fn"].value
    return bool(fn == "list" and len(made.operands)) or (fn == "range" and _is_positive(made))


def _is_positive(made: Any) -> bool:
    owner = made.operands[0].owner
    if isinstance(owner, mlir.Block) or not owner.operation.name.endswith(".constant"):
        return False
    count = decode(owner.operation.attributes["value"])
    return isinstance(count, int) and count > 0


def _hoist(op: Any, effects: Effects) -> None:
    writes: bool | None = None
    body = op.regions[0].blocks[0]
    # A moved operation is no longer inside, so those that need only it can follow.
    for found in list(body.operations):
        inner = found.operation
        if inner.regions or any(_is_within(value, op) for value in inner.operands):
            continue
        if effects.is_deterministic(inner):
            inner.move_before(op)
        elif inner.name in ("agent.tool", "stage.tool") and effects.of(inner) == "read":
            writes = effects.of(op) == "write" if writes is None else writes
            if not writes and _is_awaited(inner, body, effects):
                inner.move_before(op)


def _is_awaited(op: Any, body: Any, effects: Effects) -> bool:
    """Tell whether every trip waits for an operation, so that what waits for the map does too.

    Uses inside a branch do not count: the other side may be taken.
    """
    pending, seen = [op], {op}
    # Invariant: `pending` are operations of the body that every trip would wait for, if anything.
    while pending:
        for result in pending.pop().results:
            for use in result.uses:
                user = use.owner.operation
                if user.block != body or user in seen:
                    continue
                if user.name == "agent.append" or effects.of(user) != "none":
                    return True
                seen.add(user)
                pending.append(user)
    return False


def _is_within(value: Any, op: Any) -> bool:
    owner = value.owner
    home = owner.owner if isinstance(owner, mlir.Block) else owner.operation.parent
    while home is not None:
        if home.operation == op:
            return True
        home = home.operation.parent
    return False
