"""A module: MLIR held by `iree.compiler.ir`, with text and bytecode round trips.

One context serves the process: types and attributes are then shared and compared by identity.
It allows unregistered dialects, because the bindings offer no way to register our own; the op
table gives their rules and `verifier` holds them.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import iree.compiler.ir as mlir

from gangline.ir.errors import VerifyError

from .ops import DIALECTS, OPS, OpSpec

__all__ = ["VERSION", "Module", "blocks", "context", "location_text", "mlir", "walk", "where"]

UNKNOWN_FILE = "<text>"
VERSION = "agent.version"
"""Attribute of a module: the version of the op table it was written for."""

MAX_BRACKETS = 500
"""How deep brackets of a text may nest. The parser is recursive, in C++: 1,000 scf operations
inside each other are read, and 10,000 end the process (8 MB of stack)."""

_BRACKET = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|->|[\[\](){}<>]')
_PREFIX = "gangline_dialects"
_FILE_LOCATION = re.compile(r'loc\("((?:[^"\\]|\\.)*)":(\d+):(\d+)')
_ESCAPE = re.compile(rb"\\([0-9A-Fa-f]{2}|\\)")


@cache
def context() -> Any:
    """Give the context all modules of this process live in."""
    made = mlir.Context()
    made.allow_unregistered_dialects = True
    # The passes of a module are far too small to be worth a thread pool.
    made.enable_multithreading(False)
    _register_op_views()
    return made


def _register_op_views() -> None:
    """Make an OpView class of every row of the op table."""
    from iree.compiler.dialects._ods_common import _cext

    # The bindings look for a Python module of a dialect on every access to an operation until
    # they find one, which costs a failed import each time.
    _cext.globals.append_dialect_search_prefix(_PREFIX)
    sys.modules[_PREFIX] = ModuleType(_PREFIX)
    for name in DIALECTS:
        sys.modules[f"{_PREFIX}.{name}"] = ModuleType(f"{_PREFIX}.{name}")
        dialect = type(name.title() + "Dialect", (mlir.Dialect,), {"DIALECT_NAMESPACE": name})
        _cext.register_dialect(dialect)
        for spec in OPS.values():
            if spec.dialect == name:
                _cext.register_operation(dialect)(_op_view(spec))


def _op_view(spec: OpSpec) -> type:
    members: dict[str, Any] = {"OPERATION_NAME": spec.name, "_ODS_REGIONS": (0, True)}
    for attribute in spec.attributes:
        # `name` is a property of every OpView already (the operation's name).
        if attribute.name != "name":
            members[attribute.name] = _attribute_property(attribute.name)
    members["step"] = _attribute_property("name")
    for index, name in enumerate(spec.operand_names):
        members.setdefault(name, _operand_property(index))
    leading = len(spec.operands)
    if "names" in spec.by_name:
        members["fields"] = property(
            lambda op: dict(zip(op.names, list(op.operation.operands)[leading:], strict=False))
        )
    return type(spec.mnemonic.title(), (mlir.OpView,), members)


def _operand_property(index: int) -> property:
    return property(lambda op: op.operation.operands[index])


def _attribute_property(name: str) -> property:
    """Make a property of an attribute's value; None where an operation lacks it."""

    def value(op: Any) -> Any:
        from .attributes import decode

        attributes = op.operation.attributes
        return decode(attributes[name]) if name in attributes else None

    return property(value)


class Module:
    """An MLIR module at the agent or the stage level."""

    __slots__ = ("mlir",)

    def __init__(self, module: Any) -> None:
        self.mlir = module

    @classmethod
    def parse(cls, text: str, *, filename: str = UNKNOWN_FILE) -> Module:
        """Read a module from text; raises VerifyError with the line MLIR stopped at.

        `filename` is what locations of the text call it, in later errors too.
        """
        _require_shallow(text, filename)
        try:
            with context():
                made = cls(mlir.Module.parse(text))
        except mlir.MLIRError as error:
            raise _parse_error(error, filename) from None
        if filename != UNKNOWN_FILE:
            _name_file(made, filename)
        return made

    @classmethod
    def from_bytecode(cls, data: bytes) -> Module:
        """Read a module from MLIR bytecode; raises VerifyError when it is damaged."""
        try:
            with context():
                return cls(mlir.Module.parse(data))
        except mlir.MLIRError as error:
            raise _parse_error(error, "<bytecode>") from None

    @property
    def text(self) -> str:
        """The canonical text, without locations: what a program is hashed by."""
        return str(self.mlir)

    @property
    def text_with_locations(self) -> str:
        """The text with `loc(...)`: the file and line each operation comes from."""
        return str(self.mlir.operation.get_asm(enable_debug_info=True))

    @property
    def bytecode(self) -> bytes:
        """The module as MLIR bytecode, which `from_bytecode` reads."""
        sink = io.BytesIO()
        self.mlir.operation.write_bytecode(sink)
        return sink.getvalue()

    def copy(self) -> Module:
        """Give an independent copy."""
        with context():
            return Module.from_bytecode(self.bytecode)

    def functions(self) -> Iterator[Any]:
        """Yield the functions in order; the first public one is the workflow."""
        for op in self.mlir.body.operations:
            if op.operation.name == "func.func":
                yield op.operation

    def __str__(self) -> str:
        return self.text


def blocks(op: Any) -> Iterator[Any]:
    """Yield the blocks directly inside an operation."""
    for region in op.regions:
        yield from region.blocks


def walk(op: Any) -> Iterator[Any]:
    """Yield every operation inside `op`, in program order, outer before inner."""
    # A stack of its own, not calls: a module read from outside may nest deeply.
    pending = [_inner(op)]
    while pending:
        for inner in pending[-1]:
            yield inner
            if len(inner.regions):
                pending.append(_inner(inner))
                break
        else:
            pending.pop()


def _inner(op: Any) -> Iterator[Any]:
    for block in blocks(op):
        for inner in block.operations:
            yield inner.operation


def _name_file(module: Module, filename: str) -> None:
    """Give the operations read from a text the name of its file, where they have no other."""
    with context():
        for op in (module.mlir.operation, *walk(module.mlir.operation)):
            found = _FILE_LOCATION.match(str(op.location))
            if found is not None and found[1] == "-":
                op.location = mlir.Location.file(filename, int(found[2]), int(found[3]))


def _require_shallow(text: str, filename: str) -> None:
    """Refuse a text whose brackets nest so deeply that MLIR's parser would end the process."""
    depth = 0
    for found in _BRACKET.finditer(text):
        mark = found[0]
        if mark in "([{<":
            depth += 1
            if depth > MAX_BRACKETS:
                line = text.count("\n", 0, found.start()) + 1
                raise VerifyError(
                    f"brackets nest deeper than {MAX_BRACKETS}",
                    where=f"{filename}:{line}",
                    next_step="Put what is inside into functions of its own, and call them.",
                )
        elif mark in ")]}>":
            depth -= depth > 0


def where(op: Any) -> str:
    """Give `file:line` of an operation, or an empty string when it is not known."""
    return location_text(op.location)


def location_text(location: Any) -> str:
    """Give `file:line` of a location; a location without a file gives an empty string."""
    # Locations of diagnostics come back without their class, so read what they print.
    found = _FILE_LOCATION.match(str(location))
    if found is None:
        return ""
    name = _unescape(found[1])
    return f"{UNKNOWN_FILE if name == '-' else name}:{found[2]}"


def _unescape(text: str) -> str:
    """Undo MLIR's string escapes (`\\22`, `\\\\`)."""
    if "\\" not in text:
        return text
    raw = _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]) if m[1] != b"\\" else b"\\", text.encode())
    return raw.decode(errors="replace")


def _parse_error(error: Any, filename: str) -> VerifyError:
    first = error.error_diagnostics[0] if error.error_diagnostics else None
    if first is None:
        return VerifyError("MLIR could not read the module", where=filename)
    at = location_text(first.location).replace(UNKNOWN_FILE, filename) or filename
    return VerifyError(
        f"MLIR could not read the module: {first.message}",
        where=at,
        next_step="Print a module with `gangline explain` to see the form it has.",
    )
