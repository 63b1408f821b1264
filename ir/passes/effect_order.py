"""Write the order of effects into a function, where the frames of nested agents no longer keep it.

The rule is that of the front end (`workflows/tracing.py`): what writes waits for the last write and
for all reads since, what reads for the last write, in the order of the operations. Operands after
the named ones say so. Inside a branch, map or loop the frame keeps the order to what is around it
as far as that waits for the frame: what is inside may not run, and then has not waited.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.module import blocks, mlir
from gangline.ir.ops import OPS

from .effects import CONTROL, Effects, names_of
from .rewrite import replace


@dataclass(slots=True)
class Scope:
    """What has happened so far: who waits for `writes` waits for every write, and so on."""

    writes: list[Any] = field(default_factory=list)
    reads: list[Any] = field(default_factory=list)

    def before(self, effect: str) -> list[Any]:
        """Give what an operation with an effect waits for."""
        return [*self.writes, *self.reads] if effect == "write" else self.writes

    def happened(self, effect: str, value: Any) -> None:
        """Note an operation with an effect that has waited for all that it must."""
        if effect == "write":
            self.writes, self.reads = [value], []
        else:
            self.reads = [*self.reads, value]

    def happened_inside(self, inner: Iterable[Scope], value: Any) -> None:
        """Note a branch, map or loop, in whose blocks `inner` has happened, or nothing."""
        ends = list(inner)
        if any(end.writes != self.writes for end in ends):
            self.writes = [*self.writes, value]
        elif any(end.reads != self.reads for end in ends):
            self.reads = [*self.reads, value]


def order_effects(block: Any, effects: Effects, scope: Scope) -> Scope:
    """Let every operation with effects wait for those before it; give what has happened."""
    # Invariant: `scope` holds what has happened before `op`, each value visible where `op` is.
    for found in list(block.operations):
        op = found.operation
        if op.name in CONTROL:
            starts = [(inner, Scope(scope.writes, scope.reads)) for inner in blocks(op)]
            ends = [order_effects(inner, effects, start) for inner, start in starts]
            scope.happened_inside(ends, op.results[0])
        elif op.name in OPS and (effect := effects.of(op)) != "none":
            scope.happened(effect, _waiting(op, scope.before(effect), effects).results[0])
    return scope


def _waiting(op: Any, before: Iterable[Any], effects: Effects) -> Any:
    """Give an operation like this one that waits for values; this one where it does already."""
    given = list(op.operands)
    data = given[: _num_data(op, effects)]
    # What a call is given it waits for as well, but its steps need not once they are inlined.
    known = data if op.name != "agent.call" else []
    operands = [*data, *(value for value in before if value not in known)]
    if operands == given:
        return op
    with mlir.InsertionPoint(op), op.location:
        made = mlir.Operation.create(
            op.name,
            operands=operands,
            attributes=dict(op.attributes.items()),
            results=[result.type for result in op.results],
        )
    replace(op, list(made.results))
    return made


def _num_data(op: Any, effects: Effects) -> int:
    if op.name == "agent.call":
        callee = effects.functions[op.attributes["callee"].value]
        return len(callee.regions[0].blocks[0].arguments)
    return len(OPS[op.name].operands) + len(names_of(op))
