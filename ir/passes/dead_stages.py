"""Remove what nobody uses and nobody would miss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gangline.ir.attributes import decode
from gangline.ir.module import Module, walk
from gangline.ir.ops import OPS

from .base import Pass
from .effects import Effects, is_used

_PLANNERS = frozenset({"agent.expand", "stage.expand"})


@dataclass(frozen=True, slots=True)
class DeadStages(Pass):
    """Remove operations without effects whose results nobody uses, and functions nobody calls.

    A branch, map, loop or call goes as a whole where nothing inside it has an effect.
    """

    name: ClassVar[str] = "dead-stages"

    def apply(self, module: Module) -> None:
        _remove_functions(module)
        effects = Effects(module)
        for function in module.functions():
            # Uses come after definitions, so one walk backwards sees every user removed first.
            for op in reversed(list(walk(function))):
                if _is_dead(op, effects):
                    op.erase()
        _remove_functions(module)


def _is_dead(op: Any, effects: Effects) -> bool:
    if not len(op.results) or is_used(op):
        return False
    spec = OPS.get(op.name)
    # What gives a map or a loop its shape stays with it.
    return not (spec and spec.glue and not spec.pure) and effects.of(op) == "none"


def _remove_functions(module: Module) -> None:
    """Remove functions that neither a call nor a plan can reach."""
    functions = {f.attributes["sym_name"].value: f for f in module.functions()}
    pending = [name for name, f in functions.items() if "sym_visibility" not in f.attributes]
    reached = set(pending)
    # Invariant: `reached` holds the functions found so far; those in `pending` are not walked yet.
    while pending:
        for op in walk(functions[pending.pop()]):
            found = callees(op) - reached
            reached |= found
            pending += sorted(found)
    for name, function in functions.items():
        if name not in reached:
            function.erase()


def callees(op: Any) -> set[str]:
    """Give the functions that an operation may run."""
    if op.name == "agent.call":
        return {op.attributes["callee"].value}
    if op.name in _PLANNERS:
        return {str(row["agent"]) for row in decode(op.attributes["tools"]) if "agent" in row}
    return set()
