"""The verifier: holds a module to the op table and to the shapes control flow may have.

MLIR's own verifier runs first (types of scf and func, dominance). Then the module is read once,
and every rule of `rules` looks at what was read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gangline.ir.errors import VerifyError

from .module import Module, location_text, mlir
from .rules import RULES, Facts


def verify(module: Module, *, level: str | None = None) -> None:
    """Raise VerifyError for the first rule the module breaks; `level` is agent or stage.

    Without a level both are accepted, but not in one module.
    """
    for error in violations(module, level=level):
        raise error


def violations(module: Module, *, level: str | None = None) -> Iterator[VerifyError]:
    """Yield every rule the module breaks, each with the place of its operation.

    What MLIR itself refuses comes alone: the later checks rely on it.
    """
    try:
        module.mlir.operation.verify()
    except mlir.MLIRError as error:
        yield _from_mlir(error)
        return
    facts = Facts(module)
    if level is not None:
        yield from _other_levels(facts, level)
    for rule in RULES:
        yield from rule(facts)


def _from_mlir(error: Any) -> VerifyError:
    found = error.error_diagnostics[0]
    return VerifyError(
        found.message,
        where=location_text(found.location),
        next_step="Change this operation; MLIR's own verifier refuses it.",
    )


def _other_levels(facts: Facts, level: str) -> Iterator[VerifyError]:
    for found in facts.ops:
        if found.spec is not None and level not in found.spec.levels:
            yield found.error(f"{found.name} does not belong to the {level} level")
