"""Put the operations of nested agents where the agents are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gangline.ir.attributes import decode
from gangline.ir.module import Module, blocks, mlir, walk
from gangline.ir.ops import OPS

from .base import Pass
from .dead_stages import callees
from .effect_order import Scope, order_effects
from .effects import Effects
from .rewrite import replace, text, texts

_WITHIN = "agent.within"
_CONTROL = frozenset({"scf.if", "scf.for", "scf.while"})
_NAMES = ("name", "agent.name")


@dataclass(frozen=True, slots=True)
class InlineAgents(Pass):
    """Put the operations of nested agents where the agents are called.

    A step then begins when what it reads is there, not when all that its agent was given is. Steps
    with effects keep their order: those of the agent wait for what the call waited for, and what
    waited for the call waits for them. A step `s` of the agent called `a` becomes `a/s`, which is
    what its steps were called all along.

    Attributes:
        max_ops: operations that may be copied into a module; beyond them calls stay calls.
    """

    max_ops: int = 20_000

    name: ClassVar[str] = "inline-agents"

    def apply(self, module: Module) -> None:
        inliner = _Inliner(module, self.max_ops)
        done: set[str] = set()
        pending = [n for n, f in inliner.functions.items() if "sym_visibility" not in f.attributes]
        # Invariant: functions in `done` hold no call that could have been inlined.
        while pending:
            name = pending.pop()
            if name not in done:
                done.add(name)
                function = inliner.functions[name]
                inliner.function(function)
                pending += sorted(set().union(*map(callees, walk(function))))


@dataclass(frozen=True, slots=True)
class _Visit:
    """What becomes of one call: its number among calls of this name, and of the calls inside."""

    is_inlined: bool
    suffix: str
    inner: tuple[_Visit, ...]


class _Inliner:
    def __init__(self, module: Module, max_ops: int) -> None:
        self.module = module
        self.effects = Effects(module)
        self.functions = self.effects.functions
        self.left = max_ops
        self.calls: dict[str, tuple[int, list[tuple[str, str]]]] = {}

    def function(self, function: Any) -> None:
        """Inline the calls of a function, and the calls those bring."""
        self.calls.clear()
        visits = self.visits(function.attributes["sym_name"].value, Counter())
        is_changed = False
        pending = list(zip(_calls([function]), visits, strict=True))
        while pending:
            call, visit = pending.pop()
            if visit.is_inlined:
                is_changed = True
                ops = self.inline(call, visit.suffix)
                pending += zip(_calls(ops), visit.inner, strict=True)
        if is_changed:
            order_effects(function.regions[0].blocks[0], self.effects, Scope())

    def visits(self, name: str, numbers: Counter[str]) -> tuple[_Visit, ...]:
        """Decide on the calls of a function in program order, which is that of `decoding`."""
        return tuple(self.visit(*call, numbers) for call in self.inside(name)[1])

    def visit(self, name: str, callee: str, numbers: Counter[str]) -> _Visit:
        numbers[name] += 1
        suffix = "" if numbers[name] == 1 else f"#{numbers[name]}"
        size = self.inside(callee)[0]
        if size > self.left:
            return _Visit(False, suffix, ())
        self.left -= size
        return _Visit(True, suffix, self.visits(callee, numbers))

    def inside(self, name: str) -> tuple[int, list[tuple[str, str]]]:
        """Give the number of a function's operations, and name and callee of its calls."""
        if name not in self.calls:
            ops = list(walk(self.functions[name]))
            calls = [op.attributes for op in ops if op.name == "agent.call"]
            rows = [(_own(given["name"].value), given["callee"].value) for given in calls]
            self.calls[name] = len(ops), rows
        return self.calls[name]

    def inline(self, call: Any, suffix: str) -> list[Any]:
        """Replace a call by its body; give the operations that came."""
        callee = self.functions[call.attributes["callee"].value]
        name = call.attributes["name"].value + suffix
        clone = callee.clone(mlir.InsertionPoint(self.module.mlir.body)).operation
        body = clone.regions[0].blocks[0]
        # Operands beyond the arguments order effects, which is done once all calls are gone.
        for argument, value in zip(body.arguments, call.operands, strict=False):
            argument.replace_all_uses_with(value)
        *ops, end = [found.operation for found in body.operations]
        within = [*_within(call), _own(name)]
        for op in ops:
            op.move_before(call)
            _rename(op, name)
            _note(op, within)
        replace(call, list(end.operands))
        clone.erase()
        return ops


def _calls(ops: Iterable[Any]) -> list[Any]:
    """Give the calls among operations and inside them, in program order."""
    every = (found for op in ops for found in (op, *walk(op)))
    return [op for op in every if op.name == "agent.call"]


def _own(name: str) -> str:
    return name.rpartition("/")[2]


def _rename(op: Any, agent: str) -> None:
    """Put the agent in front of a step's name.

    Steps inside a branch or loop have the name of that in their ids; only the arms of a switch
    have not (`runtime/dispatch/interpreter.py`), so what is inside one is renamed too.
    """
    for key in _NAMES:
        if key in op.attributes:
            op.attributes[key] = text(f"{agent}/{op.attributes[key].value}")
    if "agent.case" in op.attributes:
        for block in blocks(op):
            for inner in block.operations:
                _rename(inner.operation, agent)


def _note(op: Any, within: Sequence[str]) -> None:
    """Write down, of an operation and those inside it, which agents they come from."""
    for found in (op, *walk(op)):
        spec = OPS.get(found.name)
        if (spec and not spec.glue) or found.name in _CONTROL:
            found.attributes[_WITHIN] = texts([*within, *_within(found)])


def _within(op: Any) -> Iterable[str]:
    return decode(op.attributes[_WITHIN]) if _WITHIN in op.attributes else ()
