"""What operations do to the world, and which of them give the same whenever they are asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gangline.ir.attributes import decode
from gangline.ir.module import Module, mlir, walk
from gangline.ir.ops import EFFECTS, OPS

_EFFECTS = {name: spec.effects for name, spec in OPS.items()}
_PURE = frozenset(name for name, spec in OPS.items() if spec.pure) | {"arith.constant"}
_SAMPLING = frozenset({"agent.llm", "stage.decode"})
_STEERED = frozenset({"seed", "temperature"})
CONTROL = frozenset({"scf.if", "scf.for", "scf.while"})


class Effects:
    """The effects of a module's operations; functions are looked into once."""

    def __init__(self, module: Module) -> None:
        self.functions = {f.attributes["sym_name"].value: f for f in module.functions()}
        self._effects: dict[str, str] = {}
        self._fixed: dict[str, bool] = {}

    def of(self, op: Any) -> str:
        """Give the strongest effect of an operation with all that is inside it or called by it."""
        name = op.name
        found = _EFFECTS.get(name)
        if found is None:
            return strongest(map(self.of, walk(op))) if name in CONTROL else "none"
        if found != "attribute":
            return found
        if name == "agent.call":
            return self.of_function(op.attributes["callee"].value)
        if "effects" in op.attributes:
            return str(op.attributes["effects"].value)
        return strongest(str(row["effects"]) for row in decode(op.attributes["tools"]))

    def of_function(self, name: str) -> str:
        """Give the strongest effect of a function."""
        if name not in self._effects:
            self._effects[name] = strongest(map(self.of, walk(self.functions[name])))
        return self._effects[name]

    def is_deterministic(self, op: Any) -> bool:
        """Tell whether equal operands and attributes give an equal result, and nothing else.

        A model's answer is so where its temperature is 0 and no operand steers it.
        """
        name = op.name
        if name in _PURE:
            return True
        if name in ("agent.tool", "stage.tool"):
            return bool(op.attributes["effects"].value == "none")
        if name in _SAMPLING:
            return _is_greedy(op)
        return bool(name == "agent.call" and self._is_fixed(op.attributes["callee"].value))

    def _is_fixed(self, name: str) -> bool:
        if name not in self._fixed:
            inside = (op for op in walk(self.functions[name]) if op.name in OPS)
            self._fixed[name] = all(OPS[op.name].glue or self.is_deterministic(op) for op in inside)
        return self._fixed[name]


def strongest(effects: Iterable[str]) -> str:
    """Give the strongest of several effects; none where there are none."""
    return max(effects, key=EFFECTS.index, default="none")


def names_of(op: Any) -> list[str]:
    """Give the names of an operation's operands; operands beyond them only order effects."""
    return list(decode(op.attributes["names"])) if "names" in op.attributes else []


def cast_from(value: Any) -> Any:
    """Give the value that a chain of casts starts with."""
    while True:
        owner = value.owner
        if isinstance(owner, mlir.Block) or owner.operation.name != "agent.cast":
            return value
        value = owner.operation.operands[0]


def is_used(op: Any) -> bool:
    """Tell whether anything reads a result of an operation."""
    return any(next(iter(result.uses), None) is not None for result in op.results)


def _is_greedy(op: Any) -> bool:
    if _STEERED.intersection(names_of(op)):
        return False
    # A temperature that is not written is 0 (ir/specs/request.py: SamplingParams).
    return "temperature" not in op.attributes or op.attributes["temperature"].value == 0.0
