"""Modules of other versions of the op table: older ones are upgraded, newer ones refused.

A module says in `agent.version` which version it was written for; without it, it is version 1.
`read_module` is the door for every module that comes from outside this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gangline.ir.errors import GanglineError, VersionError

from .attributes import decode, encode
from .builder import mlir_type
from .module import UNKNOWN_FILE, VERSION, Module, blocks, context, mlir, walk, where
from .ops import OP_TABLE_VERSION, granted_by_version_1
from .verifier import verify

_OLD_KV = "!stage.kv"


def read_module(
    data: str | bytes, *, filename: str = UNKNOWN_FILE, level: str | None = None
) -> Module:
    """Read, upgrade and verify a module, given as text or as MLIR bytecode.

    Raises VerifyError with the line that is wrong; VersionError where it is too new.
    """
    if isinstance(data, str):
        module = Module.parse(data, filename=filename)
    else:
        module = Module.from_bytecode(data)
    module = upgraded(module)
    verify(module, level=level)
    return module


def upgraded(module: Module) -> Module:
    """Give the module as this version writes it; one of this version is given back as it is.

    Raises VersionError where it was written for a newer version, or its version is no number.
    """
    version = version_of(module)
    if version == OP_TABLE_VERSION:
        return module
    made = module.copy()
    with context(), mlir.Location.unknown():
        # Invariant: before the step from n, `made` is a module of version n.
        for number in range(version, OP_TABLE_VERSION):
            _STEPS[number](made)
        made.mlir.operation.attributes[VERSION] = encode(OP_TABLE_VERSION)
    return made


def version_of(module: Module) -> int:
    """Give the version of the op table that a module was written for, from 1 to this one's."""
    attributes = module.mlir.operation.attributes
    if VERSION not in attributes:
        return 1
    at = where(module.mlir.operation)
    found = attributes[VERSION]
    try:
        version = decode(found)
    except GanglineError:
        version = None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise VersionError(
            f"{VERSION} is {found}, which is no version of the op table",
            where=at,
            next_step=f"The versions are 1 to {OP_TABLE_VERSION}.",
        )
    if version > OP_TABLE_VERSION:
        raise VersionError(
            f"the module is written for version {version} of the op table, and this gangline "
            f"knows versions 1 to {OP_TABLE_VERSION}",
            where=at,
            next_step="Use a newer gangline, or compile the workflow again with this one.",
        )
    return version


def _to_version_2(module: Module) -> None:
    """Caches have the type `!agent.kv`; an expand says what it grants: all that version 1 did."""
    kv = mlir_type("kv")
    for function in module.functions():
        for op in walk(function):
            arguments = (value for block in blocks(op) for value in block.arguments)
            for value in (*op.results, *arguments):
                if str(value.type) == _OLD_KV:
                    value.set_type(kv)
            if op.name in ("agent.expand", "stage.expand") and "granted" not in op.attributes:
                op.attributes["granted"] = encode(granted_by_version_1(_rows(op)))


def _rows(op: Any) -> Any:
    try:
        return decode(op.attributes["tools"])
    except (GanglineError, KeyError):
        return None


_STEPS: Mapping[int, Callable[[Module], None]] = {1: _to_version_2}
