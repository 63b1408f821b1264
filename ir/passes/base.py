"""What a pass is, and what several of them ask of an operation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from gangline.ir.module import Module, context, mlir
from gangline.ir.ops import OPS


@dataclass(frozen=True, slots=True)
class Pass:
    """Base of every pass: `apply` changes a valid module in place and leaves it valid.

    The first line of a pass's docstring says what it does; its section of docs/passes.md begins
    with the same words. `idempotent` says that applying it twice changes no more than once, and
    `changes` that it is there to change something; one that is not raises where it finds fault.
    """

    name: ClassVar[str] = ""
    idempotent: ClassVar[bool] = True
    changes: ClassVar[bool] = True

    @classmethod
    def example(cls) -> Self:
        """Give the instance that its golden files show; a pass with arguments says which."""
        return cls()

    def apply(self, module: Module) -> None:
        """Change the module in place."""
        raise NotImplementedError


def run(module: Module, passes: Iterable[Pass]) -> Module:
    """Apply passes in order, in place, and give the module back."""
    with context(), mlir.Location.unknown():
        for found in passes:
            found.apply(module)
    return module


def is_removable(op: Any) -> bool:
    """Tell whether nobody would notice if an operation with unused results were gone."""
    spec = OPS.get(op.name)
    if spec is None:
        return bool(op.name == "arith.constant")
    if op.name in ("agent.tool", "stage.tool"):
        # A tool that reads may still fail a job on purpose (a check), so only pure ones go.
        return bool(op.attributes["effects"].value == "none")
    return spec.pure
