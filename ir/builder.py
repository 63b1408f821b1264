"""From a recorded graph to a module: one `func.func` per function, `scf` for control flow.

branch   scf.if
map      scf.for {agent.parallel} over agent.length, one agent.element, one agent.append
loop     scf.while {agent.max_trips}, whose condition goes through agent.until
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from . import attributes
from .graph import Block, Function, Node, Value
from .module import VERSION, Module, context, mlir
from .ops import OP_TABLE_VERSION, OPS, TYPES


def build(functions: Iterable[Function]) -> Module:
    """Make a module of the functions; the first is the workflow, the others are private.

    The result is not verified. Raises LoweringError where an attribute is no JSON value.
    """
    with context(), mlir.Location.unknown():
        module = mlir.Module.create()
        module.operation.attributes[VERSION] = attributes.encode(OP_TABLE_VERSION)
        with mlir.InsertionPoint(module.body):
            for index, function in enumerate(functions):
                _Emitter().function(function, public=index == 0)
        return Module(module)


@cache
def mlir_type(name: str) -> Any:
    """Give the MLIR type of a type name such as `text`."""
    with context():
        return mlir.Type.parse(TYPES[name])


def location(where: str) -> Any:
    """Give the MLIR location of `file:line`."""
    name, _, line = where.rpartition(":")
    if not name or not line.isdigit():
        return mlir.Location.unknown()
    return mlir.Location.file(name, int(line), 1)


def create(
    name: str,
    operands: Iterable[Any],
    attrs: Mapping[str, Any],
    results: Iterable[Any],
    *,
    regions: int = 0,
    loc: Any = None,
) -> Any:
    """Create an operation at the insertion point; `attrs` are JSON, kinds from the op table."""
    spec = OPS.get(name)
    encoded = {}
    for key, value in attrs.items():
        known = spec.attribute(key) if spec else None
        encoded[key] = attributes.encode(value, known.kind if known else "json")
    return mlir.Operation.create(
        name,
        operands=list(operands),
        attributes=encoded,
        results=list(results),
        regions=regions,
        loc=loc,
    )


class _Emitter:
    """Emit one function; `values` maps recorded values to MLIR values."""

    def __init__(self) -> None:
        self.values: dict[Value, Any] = {}

    def function(self, function: Function, *, public: bool) -> None:
        types = [mlir_type(given.type) for given in function.inputs]
        results = [mlir_type(value.type) for value in function.body.yields]
        attrs: dict[str, Any] = {}
        if function.deadline_s is not None:
            attrs["agent.deadline_s"] = float(function.deadline_s)
        if function.budget_usd is not None:
            attrs["agent.budget_usd"] = float(function.budget_usd)
        if function.pattern is not None:
            attrs["agent.pattern"] = function.pattern
        if function.role:
            attrs["agent.role"] = function.role
        with location(function.where):
            op = create("func.func", (), attrs, (), regions=1)
            op.attributes["sym_name"] = mlir.StringAttr.get(function.name)
            kind = mlir.FunctionType.get(types, results)
            op.attributes["function_type"] = mlir.TypeAttr.get(kind)
            op.attributes["arg_attrs"] = mlir.ArrayAttr.get(
                [_argument_attributes(given) for given in function.inputs]
            )
            if not public:
                op.attributes["sym_visibility"] = mlir.StringAttr.get("private")
        self.block(op.regions[0], function.body, "func.return", op.location)

    def block(self, region: Any, block: Block, end: str, loc: Any) -> None:
        types = [mlir_type(value.type) for value in block.arguments]
        made = region.blocks.append(*types, arg_locs=[loc] * len(types))
        self.values.update(zip(block.arguments, made.arguments, strict=True))
        self.fill(made, block, end, loc)

    def fill(self, made: Any, block: Block, end: str, loc: Any) -> None:
        with mlir.InsertionPoint(made):
            for node in block.nodes:
                self.node(node)
            create(end, self.of(block.yields), {}, (), loc=loc)

    def of(self, values: Iterable[Value]) -> list[Any]:
        return [self.values[value] for value in values]

    def node(self, node: Node) -> None:
        with location(node.where):
            match node.op:
                case "branch":
                    result = self.branch(node)
                case "map":
                    result = self.map(node)
                case "loop":
                    result = self.loop(node)
                case _:
                    result = self.plain(node)
        if node.result is not None:
            self.values[node.result] = result

    def plain(self, node: Node) -> Any:
        results = [] if node.result is None else [mlir_type(node.result.type)]
        op = create(node.op, self.of(node.operands), node.attributes, results)
        return op.results[0] if results else None

    def branch(self, node: Node) -> Any:
        op = self.control("scf.if", node, self.of(node.operands), {}, 2)
        for region, block in zip(op.regions, node.blocks, strict=True):
            self.block(region, block, "scf.yield", op.location)
        return op.results[0]

    def control(
        self, name: str, node: Node, operands: list[Any], attrs: dict[str, Any], regions: int
    ) -> Any:
        assert node.result is not None
        labels = {f"agent.{key}": value for key, value in node.attributes.items()}
        types = [mlir_type(node.result.type)]
        return create(name, operands, {**labels, **attrs}, types, regions=regions)

    def map(self, node: Node) -> Any:
        (items,) = self.of(node.operands)
        (body,) = node.blocks
        integer, listing = mlir_type("int"), mlir_type("list")
        bounds = [
            create("arith.constant", (), {"value": bound}, [integer]).results[0] for bound in (0, 1)
        ]
        length = create("agent.length", [items], {}, [integer]).results[0]
        empty = create("agent.empty", (), {}, [listing]).results[0]
        op = self.control("scf.for", node, [bounds[0], length, bounds[1], empty], {}, 1)
        op.attributes["agent.parallel"] = mlir.UnitAttr.get()
        made = op.regions[0].blocks.append(integer, listing, arg_locs=[op.location] * 2)
        index, collected = made.arguments
        with mlir.InsertionPoint(made):
            (item,) = body.arguments
            element = create("agent.element", [items, index], {}, [mlir_type(item.type)])
            self.values[item] = element.results[0]
            for inner in body.nodes:
                self.node(inner)
            grown = create("agent.append", [collected, *self.of(body.yields)], {}, [listing])
            create("scf.yield", grown.results, {}, ())
        return op.results[0]

    def loop(self, node: Node) -> Any:
        until, body = node.blocks
        op = self.control("scf.while", node, self.of(node.operands), {}, 2)
        types = [value.type for value in op.operands]
        made = op.regions[0].blocks.append(*types, arg_locs=[op.location])
        self.values.update(zip(until.arguments, made.arguments, strict=True))
        with mlir.InsertionPoint(made):
            for inner in until.nodes:
                self.node(inner)
            again = create("agent.until", self.of(until.yields), {}, [mlir_type("bool")])
            create("scf.condition", [again.results[0], *made.arguments], {}, ())
        self.block(op.regions[1], body, "scf.yield", op.location)
        return op.results[0]


def _argument_attributes(given: Any) -> Any:
    attrs: dict[str, Any] = {"agent.name": given.name}
    if given.schema:
        attrs["agent.schema"] = given.schema
    if not given.required:
        attrs["agent.default"] = given.default
    if given.secret:
        attrs["agent.secret"] = True
    return mlir.DictAttr.get({key: attributes.encode(value) for key, value in attrs.items()})
