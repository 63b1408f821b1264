"""What every value of a module changes with: nothing, a job's database, or every job.

A value that a tool makes of a database alone is the same for all jobs on that database. One that
a person gave, that a write returned, or that a model drew at random belongs to its job. How often
a block runs is guessed where no annotation says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gangline.ir.attributes import decode
from gangline.ir.module import Module, blocks, mlir, walk

from .prompt_reuse import CONSTANT, DATABASE, JOB

MAP_ITEMS = 3.0
"""Items of a map over a list that is only known when the job runs."""
SIDE = 0.5
"""How often a side of a branch runs."""

_PLAIN = frozenset({"agent.compute", "agent.cast", "agent.length", "agent.empty", "agent.append"})


@dataclass(frozen=True, slots=True)
class Scope:
    """`level` is one of prompt_reuse.SCOPES by number; `spread` the values within one job."""

    level: int
    spread: float = 1.0


_NONE = Scope(CONSTANT)


class Scopes:
    """Scopes of all values, and how often a job runs each operation."""

    def __init__(self, module: Module) -> None:
        self._scopes: dict[Any, Scope] = {}
        self._same: dict[Any, Any] = {}
        self._visits: dict[Any, float] = {}
        self.visits: dict[Any, float] = {}
        """Expected visits in one job of the llm or cache that makes a value."""
        functions = {f.attributes["sym_name"].value: f for f in module.functions()}
        self._calls = _calls(functions)
        for name in _callers_first(functions, self._calls):
            self._function(functions[name], name)

    def of(self, value: Any) -> Scope:
        """Give the scope of a value."""
        return self._scopes.get(value, Scope(JOB))

    def source(self, value: Any) -> Any:
        """Give the value that this one is under another type, or in another function."""
        while value in self._same:
            value = self._same[value]
        return value

    def _function(self, function: Any, name: str) -> None:
        calls = self._calls[name]
        visits = sum(self._visits.get(op.results[0], 0.0) for op in calls) if calls else 1.0
        block = next(blocks(function))
        for at, argument in enumerate(block.arguments):
            given = [op.operands[at] for op in calls]
            if len(given) == 1:
                self._same[argument] = given[0]
            is_database = str(argument.type) == "!agent.database"
            outside = Scope(DATABASE if is_database else JOB)
            self._scopes[argument] = self._join(given) if given else outside
        self._block(block, visits)

    def _join(self, values: Iterable[Any]) -> Scope:
        level, spread = CONSTANT, 1.0
        for value in values:
            found = self.of(value)
            level, spread = max(level, found.level), max(spread, found.spread)
        return Scope(level, spread)

    def _block(self, block: Any, visits: float) -> None:
        for found in block.operations:
            op = found.operation
            name = op.name
            if name.startswith("scf."):
                self._control(op, visits)
                continue
            if not len(op.results):
                continue
            if name in ("agent.llm", "agent.cache"):
                self.visits[op.results[0]] = _number(op, "agent.visits", visits)
            elif name == "agent.call":
                self._visits[op.results[0]] = visits
            elif name == "agent.cast":
                self._same[op.results[0]] = op.operands[0]
            self._scopes[op.results[0]] = self._made(op, visits)

    def _made(self, op: Any, visits: float) -> Scope:
        if op.name in ("agent.constant", "arith.constant"):
            return _NONE
        if op.name in _PLAIN or _repeats(op):
            return self._join(op.operands)
        if op.name == "agent.element":
            return self._scopes.get(op.results[0], Scope(JOB, visits))
        return Scope(JOB, max(visits, 1.0))

    def _control(self, op: Any, visits: float) -> None:
        if op.name == "scf.for":
            self._map(op, visits)
        elif op.name == "scf.if":
            for block in blocks(op):
                self._block(block, visits * SIDE)
        elif op.name == "scf.while":
            trips = _number(op, "agent.trips", _trips(op))
            for block in blocks(op):
                for argument in block.arguments:
                    self._scopes[argument] = Scope(JOB, max(visits * trips, 1.0))
                self._block(block, visits * trips)
        for result in op.results:
            yields = [list(block.operations)[-1].operation.operands for block in blocks(op)]
            found = self._join([*op.operands, *(value for given in yields for value in given)])
            level = JOB if op.name == "scf.while" else found.level
            self._scopes[result] = Scope(level, max(visits, 1.0))

    def _map(self, op: Any, visits: float) -> None:
        block = next(blocks(op))
        items = op.operands[1].owner.operation.operands[0]
        count = _number(op, "agent.trips", _length(items))
        element = block.operations[0].operation.results[0]
        found = self.of(items)
        self._scopes[element] = Scope(found.level, max(found.spread * count, 1.0))
        for argument in block.arguments:
            self._scopes[argument] = _NONE
        self._block(block, visits * count)


def _calls(functions: dict[str, Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in functions}
    for function in functions.values():
        for op in walk(function):
            if op.name == "agent.call":
                found[op.attributes["callee"].value].append(op)
    return found


def _callers_first(functions: dict[str, Any], calls: dict[str, list[Any]]) -> list[str]:
    """Order the functions so that each comes after all that call it."""
    callers = {name: {_home(op) for op in found} for name, found in calls.items()}
    placed: list[str] = []
    # Invariant: all callers of what is in `placed` come before it. No function reaches itself.
    while len(placed) < len(functions):
        known = set(placed)
        ready = [n for n in functions if n not in known and callers[n] <= known]
        if not ready:
            break
        placed += ready
    return placed


def _home(op: Any) -> str:
    while op.name != "func.func":
        op = op.parent.operation
    return str(op.attributes["sym_name"].value)


def _repeats(op: Any) -> bool:
    """Say whether an operation gives the same for the same operands, as far as prompts go.

    What a tool reads of a database stays as it is for most jobs; without an operand it reads the
    world, which does not.
    """
    if op.name == "agent.tool":
        effects = op.attributes["effects"].value
        return effects == "none" or (effects == "read" and len(op.operands) > 0)
    if op.name == "agent.llm":
        names = decode(op.attributes["names"])
        return "seed" not in names and "temperature" not in names and not _heat(op)
    return False


def _heat(op: Any) -> float:
    return _number(op, "temperature", 0.0)


def _number(op: Any, name: str, otherwise: float) -> float:
    return float(decode(op.attributes[name])) if name in op.attributes else otherwise


def _trips(op: Any) -> float:
    return 0.5 * (_number(op, "agent.max_trips", 1.0) + 1.0)


def _length(items: Any) -> float:
    owner = items.owner
    if not isinstance(owner, mlir.Block) and owner.operation.name == "agent.constant":
        value = decode(owner.operation.attributes["value"])
        return float(len(value)) if isinstance(value, list) else MAP_ITEMS
    return MAP_ITEMS
