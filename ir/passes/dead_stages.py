"""Remove what nobody uses and nobody would miss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gangline.ir.module import Module, walk

from .base import Pass, is_removable


@dataclass(frozen=True, slots=True)
class DeadStages(Pass):
    """Remove pure operations whose results nobody uses."""

    name: ClassVar[str] = "dead-stages"

    def apply(self, module: Module) -> None:
        for function in module.functions():
            # Uses come after definitions, so one walk backwards sees every user removed first.
            for op in reversed(list(walk(function))):
                if is_removable(op) and not any(len(list(r.uses)) for r in op.results):
                    op.erase()
