"""Take stages that several devices share apart into shards and the sum of their states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from gangline.ir.module import Module, mlir

from .base import Pass
from .parts import Parts, composites
from .rewrite import replace


@dataclass(frozen=True, slots=True)
class DecomposeTensorParallel(Pass):
    """Take a prefill or decode of tensor-parallel degree n apart into n shards and their sum.

    Args:
        degrees: by stage name; what is not listed, or 1, stays whole.
        reduced: bytes of partial states that one token adds up in a pass, by model.

    A view for explaining and pricing: an engine runs the whole as one step.
    """

    name: ClassVar[str] = "decompose-tensor-parallel"
    degrees: Mapping[str, int] = field(default_factory=dict)
    reduced: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def example(cls) -> Self:
        """Both halves of a call on two devices, a state of 1 kB per token."""
        return cls({"draft.prefill": 2, "draft.decode": 2}, {"m8b": 1e3})

    def apply(self, module: Module) -> None:
        for name, op in list(composites(module)):
            degree = self.degrees.get(name, 1)
            if degree > 1:
                with mlir.InsertionPoint(op), op.location:
                    replace(
                        op,
                        [
                            self._prefill(op, degree)
                            if op.name == "stage.prefill"
                            else self._decode(op, degree)
                        ],
                    )

    def _prefill(self, op: Any, degree: int) -> Any:
        parts, given = Parts(op, degree), list(op.operands)
        shards = [
            parts.part("prefill_shard", f"{rank}", given, "kv", "hidden", rank=rank, degree=degree)
            for rank in range(degree)
        ]
        hidden = parts.reduce([state for _, state in shards], self.reduced)
        return parts.rest("join_kv", "join", [hidden, *(kv for kv, _ in shards)], "kv")[0]

    def _decode(self, op: Any, degree: int) -> Any:
        parts, (kv, *options) = Parts(op, degree), op.operands
        states = [
            parts.part("decode_shard", f"{rank}", [kv], "hidden", rank=rank, degree=degree)[0]
            for rank in range(degree)
        ]
        hidden = parts.reduce(states, self.reduced)
        return parts.rest("sample", "sample", [hidden, *options], "tokens")[0]
