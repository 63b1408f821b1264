"""Take stages of a mixture of experts apart into a gate, experts and a merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from gangline.ir.module import Module, mlir

from .base import Pass
from .parts import Parts, composites
from .rewrite import replace


@dataclass(frozen=True, slots=True)
class Experts:
    """How many expert groups a model has, and to how many a token goes."""

    experts: int
    top_k: int


@dataclass(frozen=True, slots=True)
class DecomposeExperts(Pass):
    """Take a prefill or decode of a model with experts apart into a gate, experts and a merge.

    Args:
        models: those with experts, by name.
        degrees: tensor-parallel degree by stage name: each expert is split so often, each shard
            is merged, and the merges are summed.
        reduced: bytes of partial states that one token adds up in a pass, by model.

    A view for explaining and pricing: an engine runs the whole as one step.
    """

    name: ClassVar[str] = "decompose-experts"
    models: Mapping[str, Experts] = field(default_factory=dict)
    degrees: Mapping[str, int] = field(default_factory=dict)
    reduced: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def example(cls) -> Self:
        """Two experts on two devices each, in the prefill; in the decode on one."""
        return cls({"mixture": Experts(2, 1)}, {"draft.prefill": 2}, {"mixture": 1e3})

    def apply(self, module: Module) -> None:
        for name, op in list(composites(module)):
            found = self.models.get(op.attributes["model"].value)
            if found is not None:
                with mlir.InsertionPoint(op), op.location:
                    replace(op, [self._taken_apart(op, found, self.degrees.get(name, 1))])

    def _taken_apart(self, op: Any, found: Experts, degree: int) -> Any:
        parts, (given, *others) = Parts(op, found.experts * degree), op.operands
        prefill = op.name == "stage.prefill"
        sizes = {"experts": found.experts, "top_k": found.top_k}
        (routing,) = parts.rest("gate", "gate", [given], "routing", **sizes)
        caches, merged = [], []
        for rank in range(degree):
            shard = {"rank": rank, "degree": degree} if degree > 1 else {}
            suffix = f".{rank}" if degree > 1 else ""
            states = []
            for expert in range(found.experts):
                own = {"expert": expert, "experts": found.experts, **shard}
                name = f"{expert}{suffix}"
                if prefill:
                    read = [given, routing, *others]
                    kv, state = parts.part("expert_prefill", name, read, "kv", "hidden", **own)
                    caches.append(kv)
                else:
                    (state,) = parts.part("expert_decode", name, [given, routing], "hidden", **own)
                states.append(state)
            sizes = {"experts": found.experts, **shard}
            merged += parts.rest("merge", f"merge{suffix}", [routing, *states], "hidden", **sizes)
        hidden = parts.reduce(merged, self.reduced) if degree > 1 else merged[0]
        if prefill:
            return parts.rest("join_kv", "join", [hidden, *caches], "kv")[0]
        return parts.rest("sample", "sample", [hidden, *others], "tokens")[0]
