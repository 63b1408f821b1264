"""What rules look at: every operation of a module, read once.

Reading an operation through the bindings costs more than checking it, so one walk collects
names, operands and decoded attributes, and every rule picks from that by name.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from gangline.ir.attributes import decode
from gangline.ir.errors import GanglineError, VerifyError
from gangline.ir.module import Module, where
from gangline.ir.ops import OPS, TYPE_NAMES, OpSpec

_NO_JSON = object()


class OpFacts:
    """One operation as rules see it.

    Attributes:
        op: the operation itself.
        name: `dialect.op`.
        spec: its row of the op table; None for control operations and what is not known.
        given: its attributes by name, as the bindings give them.
        attrs: those of them that are JSON values, decoded; callers share and must not change
            them.
        operands, results: its values.
        parent: the control operation or function around it; None for a function.
        region: which region of its parent it is in.
    """

    __slots__ = (
        "attrs",
        "given",
        "name",
        "op",
        "operands",
        "parent",
        "region",
        "results",
        "spec",
        "types",
    )

    def __init__(self, op: Any, parent: OpFacts | None, region: int, facts: Facts) -> None:
        self.op = op
        self.name: str = op.name
        self.spec: OpSpec | None = OPS.get(self.name)
        self.given: dict[str, Any] = dict(op.attributes.items())
        self.attrs = facts.decoded(self.given)
        self.operands: list[Any] = list(op.operands)
        self.results: list[Any] = list(op.results)
        self.types = (
            tuple([value.type for value in self.operands]),
            tuple([value.type for value in self.results]),
        )
        self.parent = parent
        self.region = region

    def error(self, detail: str) -> VerifyError:
        """Make the error of a rule that this operation breaks."""
        page = "; docs/ops.md says what it may hold" if self.spec else ""
        return VerifyError(
            detail, where=where(self.op), next_step=f"Change this {self.name}{page}."
        )

    @property
    def names(self) -> list[str]:
        """The names of the operands after the leading ones; empty where they are no texts."""
        found = self.attrs.get("names")
        fits = isinstance(found, list) and all(isinstance(name, str) for name in found)
        return list(found) if fits and found is not None else []

    def named(self, name: str) -> Any | None:
        """Give the operand of that name, or None."""
        names = self.names
        if self.spec is None or name not in names:
            return None
        index = len(self.spec.operands) + names.index(name)
        return self.operands[index] if index < len(self.operands) else None

    def ordering(self) -> list[Any]:
        """Give the operands after the named ones, which only order effects."""
        leading = len(self.spec.operands) if self.spec else 0
        return self.operands[leading + len(self.names) :]

    def around(self) -> Iterator[OpFacts]:
        """Yield what is around this operation, innermost first."""
        found = self.parent
        while found is not None:
            yield found
            found = found.parent


class Facts:
    """A module, read once.

    Attributes:
        module: the module.
        functions: its functions by name.
        ops: every operation inside them, in program order, outer before inner.
        producers: the operation that makes a value; arguments of blocks are absent.
    """

    def __init__(self, module: Module) -> None:
        self.module = module
        self.functions: dict[str, OpFacts] = {}
        self.ops: list[OpFacts] = []
        self.producers: dict[Any, OpFacts] = {}
        self.inside: dict[OpFacts, list[OpFacts]] = defaultdict(list)
        self._by_name: dict[str, list[OpFacts]] = defaultdict(list)
        self._decoded: dict[Any, Any] = {}
        self._types: dict[Any, str] = {}
        # What is read all stays alive, so looking for garbage meanwhile only costs: a third.
        collects = gc.isenabled()
        gc.disable()
        try:
            for function in module.functions():
                found = OpFacts(function, None, 0, self)
                self.functions[str(found.attrs.get("sym_name"))] = found
                self._read(found)
        finally:
            if collects:
                gc.enable()

    def _read(self, outer: OpFacts) -> None:
        # A stack of its own, not calls: a module read from outside may nest deeply.
        pending = [self._children(outer)]
        while pending:
            for found in pending[-1]:
                if len(found.op.regions):
                    pending.append(self._children(found))
                    break
            else:
                pending.pop()

    def _children(self, outer: OpFacts) -> Iterator[OpFacts]:
        """Yield what is directly inside an operation, each when what is inside the last is read."""
        children = self.inside[outer]
        for number, region in enumerate(outer.op.regions):
            for block in region.blocks:
                for view in block.operations:
                    found = OpFacts(view.operation, outer, number, self)
                    self.ops.append(found)
                    children.append(found)
                    self._by_name[found.name].append(found)
                    for value in found.results:
                        self.producers[value] = found
                    yield found

    def decoded(self, given: dict[str, Any]) -> dict[str, Any]:
        """Decode attributes, each different one once; what is no JSON is left out."""
        made = {}
        known = self._decoded
        for name, attribute in given.items():
            value = known.get(attribute, known)
            if value is known:
                value = known[attribute] = _decoded(attribute)
            if value is not _NO_JSON:
                made[name] = value
        return made

    def type_name(self, type_: Any) -> str | None:
        """Give the table's name of a type, or None where the table has none."""
        name = self._types.get(type_)
        if name is None:
            name = self._types[type_] = TYPE_NAMES.get(str(type_), "")
        return name or None

    def kind(self, value: Any) -> str | None:
        """Give the table's name of a value's type."""
        return self.type_name(value.type)

    def of(self, *names: str) -> Iterator[OpFacts]:
        """Yield the operations of these names."""
        for name in names:
            yield from self._by_name.get(name, ())

    def producer(self, value: Any) -> OpFacts | None:
        """Give the operation that makes a value; None for arguments of blocks."""
        return self.producers.get(value)

    def producer_name(self, value: Any) -> str:
        """Give the name of the operation that makes a value, or an empty text."""
        found = self.producers.get(value)
        return found.name if found else ""


Rule = Callable[[Facts], Iterator[VerifyError]]


def _decoded(attribute: Any) -> Any:
    try:
        return decode(attribute)
    except GanglineError:
        return _NO_JSON
