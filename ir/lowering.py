"""Lowering: from what an author wrote (agent level) to what devices run (stage level).

    agent.llm  ->  stage.tokenize, stage.prefill, stage.decode, stage.detokenize
    agent.cache  ->  stage.tokenize, stage.prefill
    agent.recall  ->  stage.embed (by vector), stage.lookup
    agent.remember  ->  stage.embed (with a model), stage.store
    agent.tool, agent.ask, agent.expand, agent.constant, agent.compute  ->  the stage of that name

Calls, glue and scf stay as they are. An operation that becomes several stages has its function
in `LOWERINGS`; every other one keeps its name and changes dialect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .module import Module, mlir, walk
from .ops import OPS
from .passes import Pass
from .passes.memory_stages import lookup, store
from .passes.rewrite import replace
from .passes.split_llm import fill, split

Lowering = Callable[[Any], Sequence[Any]]
"""Make the stages of an operation in front of it; give what replaces its results."""

LOWERINGS: Mapping[str, Lowering] = {
    "agent.cache": fill,
    "agent.llm": split,
    "agent.recall": lookup,
    "agent.remember": store,
}
"""Operations that become several stages, or one of another name."""

_RENAMED = {
    name: renamed
    for name in OPS
    if (renamed := name.replace("agent.", "stage.", 1)) != name and renamed in OPS
}


@dataclass(frozen=True, slots=True)
class LowerToStages(Pass):
    """Replace every agent-level operation by its stages."""

    name: ClassVar[str] = "lower-to-stages"

    def apply(self, module: Module) -> None:
        for function in module.functions():
            for op in list(walk(function)):
                lowering = LOWERINGS.get(op.name) or (_rename if op.name in _RENAMED else None)
                if lowering is not None:
                    replace(op, lowering(op))


def _rename(op: Any) -> Sequence[Any]:
    with mlir.InsertionPoint(op), op.location:
        made = mlir.Operation.create(
            _RENAMED[op.name],
            operands=list(op.operands),
            attributes=dict(op.attributes.items()),
            results=[result.type for result in op.results],
        )
    return list(made.results)
