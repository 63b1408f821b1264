"""From a stage-level module to the frozen `Program` (see ir/program.py for its meaning).

Values are numbered in program order. Glue and casts are no stages: a cast's result is its
operand. A nested call holds a copy of the called function's body, so a program is one tree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gangline.ir.errors import LoweringError
from gangline.ir.program import Parameter, Program, Region, Stage

from .attributes import decode, decode_all
from .module import Module, blocks, walk, where
from .ops import ANNOTATIONS, TYPE_NAMES

MAX_STAGES = 200_000
"""Calls are copied, so a few calls of calls can grow beyond any use."""

SCHEMAS: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "database": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "list": {"type": "array"},
    "json": {},
}
"""JSON Schema of an input that brings none of its own."""

_SKIPPED = frozenset({"agent.length", "agent.empty", "arith.constant"})


def decode_program(module: Module) -> Program:
    """Decode a verified stage-level module; LoweringError where it holds agent-level work."""
    functions = {f.attributes["sym_name"].value: f for f in module.functions()}
    root = next(f for f in functions.values() if "sym_visibility" not in f.attributes)
    decoder = _Decoder(functions)
    decoder.region(root.regions[0].blocks[0])
    return Program(
        name=root.attributes["sym_name"].value,
        inputs=_inputs(root),
        regions=tuple(region for region in decoder.regions if region is not None),
        stages=tuple(stage for stage in decoder.stages if stage is not None),
        deadline_s=_number(root, "agent.deadline_s"),
        budget_usd=_number(root, "agent.budget_usd"),
        text=_plain_text(module),
    )


def _plain_text(module: Module) -> str:
    """Give the text of a module without annotations: programs that differ in them are equal."""
    text = module.text
    keys = [key for key in ANNOTATIONS if f"{key} = " in text]
    if not keys:
        return text
    noted = []
    for function in module.functions():
        for op in walk(function):
            given = op.attributes
            noted += [(given, key, given[key]) for key in keys if key in given]
    for given, key, _ in noted:
        del given[key]
    text = module.text
    for given, key, value in noted:
        given[key] = value
    return text


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The shape of a module: a program whose stages have neither attributes nor places.

    Attributes:
        ops: the operation of each stage, by stage number.
        first: number of the first stage with the same operation; another one only in functions
            that are called several times.
    """

    program: Program
    ops: tuple[Any, ...]
    first: tuple[int, ...]


def skeleton(module: Module) -> Skeleton:
    """Decode the shape of a stage-level module alone: three times as fast as all of it.

    Operations are no keys of dictionaries here: the bindings hash them by what they hold.
    """
    functions = {f.attributes["sym_name"].value: f for f in module.functions()}
    root = next(f for f in functions.values() if "sym_visibility" not in f.attributes)
    decoder = _Skeleton(functions)
    decoder.region(root.regions[0].blocks[0])
    program = Program(
        name=root.attributes["sym_name"].value,
        inputs=(),
        regions=tuple(region for region in decoder.regions if region is not None),
        stages=tuple(stage for stage in decoder.stages if stage is not None),
        deadline_s=_number(root, "agent.deadline_s"),
        budget_usd=_number(root, "agent.budget_usd"),
    )
    return Skeleton(program, tuple(decoder.ops), tuple(decoder.first))


def _number(function: Any, name: str) -> float | None:
    return float(decode(function.attributes[name])) if name in function.attributes else None


def _inputs(function: Any) -> tuple[Parameter, ...]:
    arguments = function.regions[0].blocks[0].arguments
    rows = function.attributes["arg_attrs"] if len(arguments) else ()
    return tuple(
        _input(argument, decode(row)) for argument, row in zip(arguments, rows, strict=True)
    )


def _input(argument: Any, row: dict[str, Any]) -> Parameter:
    kind = TYPE_NAMES[str(argument.type)]
    return Parameter(
        name=row["agent.name"],
        type=kind,
        schema=row.get("agent.schema") or SCHEMAS[kind],
        required="agent.default" not in row,
        default=row.get("agent.default"),
        secret=row.get("agent.secret", False),
    )


class _Decoder:
    """Numbers values, stages and regions while it walks the tree."""

    def __init__(self, functions: dict[str, Any]) -> None:
        self.functions = functions
        self.stages: list[Stage | None] = []
        self.regions: list[Region | None] = []
        self.numbers: dict[Any, int] = {}
        self.names: Counter[str] = Counter()
        self.taken: set[str] = set()
        self.ops: list[Any] = []
        self.first: list[int] = []
        self.bodies: dict[str, int] = {}
        self.decoded: dict[Any, Any] = {}
        self.num_values = 0

    def define(self, value: Any) -> int:
        number = self.numbers[value] = self.num_values
        self.num_values += 1
        return number

    def of(self, values: Sequence[Any]) -> tuple[int, ...]:
        return tuple(self.numbers[value] for value in values)

    def unique(self, base: str) -> str:
        """Give `base`, or `base#2`, `base#3` ... where it is taken.

        Of `agent/step`, which was inlined, `step` counts: so it is called what it is in a call.
        """
        own = base.rpartition("/")[2]
        # Invariant: every name given so far is in `taken`, so the loop ends at a new one.
        while True:
            self.names[own] += 1
            count = self.names[own]
            name = base if count == 1 else f"{base}#{count}"
            if name not in self.taken:
                self.taken.add(name)
                return name

    def region(self, block: Any, arguments: Sequence[Any] | None = None) -> int:
        """Decode a block; `arguments` are the values that are its parameters."""
        index = len(self.regions)
        self.regions.append(None)
        given = [
            self.define(value) for value in (block.arguments if arguments is None else arguments)
        ]
        stages: list[int] = []
        operations = [found.operation for found in block.operations]
        for op in operations[:-1]:
            stage = self.operation(op)
            if stage is not None:
                stages.append(stage)
        yields = self.of(self.yielded(operations))
        self.regions[index] = Region(tuple(given), tuple(stages), yields)
        return index

    @staticmethod
    def yielded(operations: list[Any]) -> Sequence[Any]:
        end = operations[-1]
        if end.name == "scf.condition":
            until = end.operands[0].owner.operation
            return [until.operands[0]]
        if len(operations) > 1 and operations[-2].name == "agent.append":
            return [operations[-2].operands[1]]
        return list(end.operands)

    def operation(self, op: Any) -> int | None:
        """Decode one operation and give its stage, or None where it is none."""
        match op.name:
            case "agent.cast":
                self.numbers[op.results[0]] = self.numbers[op.operands[0]]
            case "agent.append" | "agent.until" | "agent.element":
                return None
            case "scf.if":
                return self.control(op, "branch", op.operands)
            case "scf.while":
                return self.control(op, "loop", op.operands)
            case "scf.for":
                return self.control(op, "map", [op.operands[1].owner.operation.operands[0]])
            case "agent.call":
                return self.call(op)
            case name if name.startswith("stage."):
                return self.leaf(op)
            case name if name not in _SKIPPED:
                raise LoweringError(
                    f"{name} is no stage", where=where(op), next_step="Lower the module first."
                )
        return None

    def attributes(self, op: Any) -> dict[str, Any]:
        # Attributes are unique in a context, and most are the same for many stages.
        known = self.decoded
        made = {}
        for name, found in op.attributes.items():
            value = known.get(found, known)
            if value is known:
                value = known[found] = decode(found)
            made[name] = value
        return made

    def place(self, op: Any) -> str:
        return where(op)

    def new(self, name: str, op: Any) -> tuple[int, str]:
        """Reserve a stage, so that outer stages come before those inside them."""
        if len(self.stages) >= MAX_STAGES:
            raise LoweringError(
                f"the program has more than {MAX_STAGES} stages",
                where=where(op),
                next_step="Call fewer workflows inside workflows, or use gl.map and gl.loop.",
            )
        self.stages.append(None)
        self.first.append(len(self.ops))
        self.ops.append(op)
        return len(self.stages) - 1, self.unique(name)

    def leaf(self, op: Any) -> int:
        attributes = self.attributes(op)
        mnemonic = op.name.partition(".")[2]
        name = attributes.pop("name", attributes.get("fn", mnemonic))
        at = self.place(op)
        index, unique = self.new(name, op)
        operands = self.of(op.operands)
        regions = self.planned_agents(attributes) if mnemonic == "expand" else ()
        results = tuple(self.define(value) for value in op.results)
        self.stages[index] = Stage(
            index, mnemonic, unique, operands, results, attributes, regions, where=at
        )
        return index

    def planned_agents(self, attributes: dict[str, Any]) -> tuple[int, ...]:
        """Decode the agents a plan may call, each once: every step of the plan runs that region."""
        rows = [row for row in attributes["tools"] if "agent" in row]
        if not rows:
            return ()
        callees = [self.functions[row["agent"]] for row in rows]
        regions = tuple(self.body(row["agent"]) for row in rows)
        attributes["agents"] = {row["name"]: index for index, row in enumerate(rows)}
        attributes["inputs"] = {
            row["name"]: [given.name for given in _inputs(callee)]
            for row, callee in zip(rows, callees, strict=True)
        }
        return regions

    def body(self, name: str) -> int:
        """Decode the body of a function anew: its values get new numbers for each call."""
        start = len(self.stages)
        region = self.region(self.functions[name].regions[0].blocks[0])
        known, size = self.bodies.setdefault(name, start), len(self.stages) - start
        self.first[start:] = self.first[known : known + size]
        return region

    def control(self, op: Any, kind: str, operands: Sequence[Any]) -> int:
        attributes = _labels(op)
        at = self.place(op)
        index, unique = self.new(attributes.pop("name"), op)
        given = self.of(operands)
        regions = tuple(self.region(block, self.parameters(op, block)) for block in blocks(op))
        results = tuple(self.define(value) for value in op.results)
        self.stages[index] = Stage(
            index, kind, unique, given, results, attributes, regions, where=at
        )
        return index

    @staticmethod
    def parameters(op: Any, block: Any) -> Sequence[Any]:
        """Give the values an inner region gets: a map's item, a loop's state, nothing."""
        if op.name == "scf.for":
            return list(block.operations[0].operation.results)
        return list(block.arguments)

    def call(self, op: Any) -> int:
        callee = op.attributes["callee"].value
        at = self.place(op)
        index, unique = self.new(op.attributes["name"].value, op)
        given = self.of(op.operands)
        body = self.body(callee)
        results = tuple(self.define(value) for value in op.results)
        attributes = {"callee": callee}
        if "pattern" in op.attributes:
            attributes["pattern"] = op.attributes["pattern"].value
        self.stages[index] = Stage(
            index, "call", unique, given, results, attributes, (body,), where=at
        )
        return index


class _Skeleton(_Decoder):
    """Decodes of a leaf only what its name comes from, and the agents it may call."""

    def attributes(self, op: Any) -> dict[str, Any]:
        if op.name == "stage.expand":
            return decode_all(op)
        given = op.attributes
        key = "name" if "name" in given else "fn"
        return {key: given[key].value} if key in given else {}

    def place(self, op: Any) -> str:
        return ""


def _labels(op: Any) -> dict[str, Any]:
    return {
        name if name in ANNOTATIONS else name.removeprefix("agent."): decode(found)
        for name, found in op.attributes.items()
        if name.startswith("agent.") and name != "agent.parallel"
    }
