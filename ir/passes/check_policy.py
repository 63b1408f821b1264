"""Refuse a module that would do what a policy does not allow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from gangline.ir.module import Module
from gangline.ir.policy import findings
from gangline.ir.specs.finding import refused
from gangline.ir.specs.policy import Policy

from .base import Pass


@dataclass(frozen=True, slots=True)
class CheckPolicy(Pass):
    """Refuse a module that would do what a policy does not allow.

    Nobody can be asked while a module is compiled, so `on_violation` makes no difference here.

    Attributes:
        policy: what is allowed.

    Raises:
        PolicyError: from `apply`; it names the path of each finding, and holds them all.
    """

    policy: Policy = field(default_factory=Policy)

    name: ClassVar[str] = "check-policy"
    changes: ClassVar[bool] = False

    @classmethod
    def example(cls) -> CheckPolicy:
        data = {"authored": False, "grants": ["mail:2"], "flows": ["input:name -> mail"]}
        return cls(Policy.from_json(data))

    def apply(self, module: Module) -> None:
        # Both import the passes of this folder.
        from gangline.ir.compiler import compile_module

        program = compile_module(module, ())
        found = [row.to_json() for row in findings(program, self.policy)]
        if found:
            raise refused(found, f"workflow {program.name}")
