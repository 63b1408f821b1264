"""Where each value of a stage-level module is, and who reads it elsewhere.

A value is where the stage that made it runs. Inputs, constants and what the dispatcher computes
of values of several devices have no home: the dispatcher sends them along. Where two values meet
(a branch, a loop, a function called twice), the joint value has one home, and what comes from
another device moves there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gangline.ir.attributes import decode
from gangline.ir.module import Module, blocks, mlir
from gangline.ir.ops import OPS, TYPE_NAMES, VALUE

Moves = dict[tuple[Any, str, str], list[tuple[Any, int]]]
"""(value, its device, target device) -> the operands that are to read it there: (operation, index)."""

MOVED = VALUE | {"tokens", "vector", "kv"}
"""Types that a transfer moves; partial states of a layer go by collectives."""

_KEEPS = frozenset({"agent.cast", "agent.element", "agent.length", "agent.until"})
_COMPUTES = frozenset({"stage.compute", "agent.append"})


MAX_WALKS = 5
"""Walks of a module at most: each settles the values that feed a loop or function once more."""


class Homes:
    """One walk over a module from its workflow on, callees at their first call."""

    def __init__(
        self, module: Module, devices: Mapping[Any, str], hosts: Mapping[str, str]
    ) -> None:
        self._devices = devices
        self._hosts = hosts
        self._functions = {f.attributes["sym_name"].value: f for f in module.functions()}
        self._joint: dict[Any, set[str]] = {}
        self._start()

    def _start(self) -> None:
        self._home: dict[Any, str] = {}
        self._results: dict[str, str] = {}
        self._moves: Moves = {}

    def moves(self) -> Moves:
        """Walk, and give what has to move."""
        root = next(f for f in self._functions.values() if "sym_visibility" not in f.attributes)
        # What a loop's body gives, and what later calls give a function, is known after a walk:
        # then the walk is done again, a few times where one such value feeds another.
        for _ in range(MAX_WALKS):
            known = {key: set(homes) for key, homes in self._joint.items()}
            self._start()
            self._block(root.regions[0].blocks[0])
            if known == self._joint:
                break
        return self._moves

    def _block(self, block: Any) -> Any:
        """Walk one block; give its terminator."""
        op = None
        # Invariant: every value that an operation of this block reads has been given its home.
        for found in block.operations:
            op = found.operation
            self._operation(op)
        return op

    def _operation(self, op: Any) -> None:
        name = op.name
        device = self._device(op)
        if name == "stage.expand":
            self._planned_agents(op)
        if device:
            for index in range(_data_operands(op)):
                self._need(op, index, device)
            self._give(op, device)
        elif name in ("stage.transfer", "stage.kv_transfer"):
            self._give(op, op.attributes["target"].value)
        elif name in _KEEPS:
            self._give(op, self._of(op.operands[0]))
        elif name in _COMPUTES:
            homes = {self._of(value) for value in op.operands} - {""}
            self._give(op, homes.pop() if len(homes) == 1 else "")
        elif name == "scf.if":
            self._branch(op)
        elif name == "scf.for":
            self._map(op)
        elif name == "scf.while":
            self._loop(op)
        elif name == "agent.call":
            self._call(op)

    def _branch(self, op: Any) -> None:
        ends = [self._block(block) for block in blocks(op)]
        for index, result in enumerate(op.results):
            home = self._meet(result, [end.operands[index] for end in ends])
            for end in ends:
                self._need(end, index, home)
            self._home[result] = home

    def _map(self, op: Any) -> None:
        end = self._block(op.regions[0].blocks[0])
        self._give(op, self._of(end.operands[0]))

    def _loop(self, op: Any) -> None:
        test, body = op.regions[0].blocks[0], op.regions[1].blocks[0]
        carried = [*test.arguments, *body.arguments, *op.results]
        home = self._shared(body.arguments[0], carried, [op.operands[0]])
        self._home.update(dict.fromkeys(carried, home))
        self._need(op, 0, home)
        self._block(test)
        end = self._block(body)
        self._shared(body.arguments[0], carried, [end.operands[0]])
        self._need(end, 0, home)

    def _call(self, op: Any) -> None:
        name = op.attributes["callee"].value
        body = self._functions[name].regions[0].blocks[0]
        if name not in self._results:
            for argument, value in zip(body.arguments, op.operands, strict=False):
                self._home[argument] = self._shared(argument, [argument], [value])
            end = self._block(body)
            self._results[name] = self._of(end.operands[0])
        for index, argument in enumerate(body.arguments):
            self._shared(argument, [argument], [op.operands[index]])
            if home := self._home.get(argument, ""):
                self._need(op, index, home)
        self._give(op, self._results[name])

    def _planned_agents(self, op: Any) -> None:
        """Walk the agents that a plan may call; the dispatcher brings what they are given."""
        for row in decode(op.attributes["tools"]):
            name = row.get("agent")
            if name is not None and name not in self._results:
                end = self._block(self._functions[name].regions[0].blocks[0])
                self._results[name] = self._of(end.operands[0])

    def _shared(self, key: Any, joint: Sequence[Any], values: Sequence[Any]) -> str:
        """Add to what is known of a value that later operations also give, and choose its home."""
        homes = self._joint.setdefault(key, set())
        homes.update(home for value in values if (home := self._of(value)))
        wanted = self._wanted(joint)
        return wanted if wanted in homes else min(homes, default="")

    def _meet(self, joint: Any, values: Sequence[Any]) -> str:
        """Choose the home of a value that is one of several: its reader's, or the first one's."""
        homes = [home for value in values if (home := self._of(value))]
        wanted = self._wanted([joint])
        return wanted if wanted in homes else (homes[0] if homes else "")

    def _wanted(self, values: Sequence[Any]) -> str:
        for value in values:
            for use in value.uses:
                device = self._device(use.owner.operation)
                if device:
                    return device
        return ""

    def _device(self, op: Any) -> str:
        # Only leaves: hashing an operation that holds regions reads all that is in them.
        return self._devices.get(op, "") if op.name.startswith("stage.") else ""

    def _need(self, op: Any, index: int, device: str) -> None:
        value = op.operands[index]
        home, kind = self._of(value), TYPE_NAMES.get(str(value.type), "")
        if not home or not device or home == device or kind not in MOVED:
            return
        if kind in VALUE and self._hosts.get(home, home) == self._hosts.get(device, device):
            return
        self._moves.setdefault((value, home, device), []).append((op, index))

    def _of(self, value: Any) -> str:
        return self._home.get(value, "")

    def _give(self, op: Any, home: str) -> None:
        for result in op.results:
            self._home[result] = home


def _data_operands(op: Any) -> int:
    """Count the operands that carry data; later ones only say what happens first."""
    spec = OPS[op.name]
    if spec.variadic is None or spec.attribute("names") is None:
        return len(op.operands)
    return min(len(spec.operands) + len(op.attributes["names"]), len(op.operands))


def is_block_argument(value: Any) -> bool:
    """Tell whether a value is an input of a block and no operation's result."""
    return isinstance(value.owner, mlir.Block)
