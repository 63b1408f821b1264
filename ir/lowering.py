"""Lowering: from what an author wrote (agent level) to what devices run (stage level).

    agent.llm  ->  stage.tokenize, stage.prefill, stage.decode, stage.detokenize
    agent.tool, agent.ask, agent.expand, agent.constant, agent.compute  ->  the stage of that name

Calls, glue and scf stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .attributes import decode_all
from .builder import create, mlir_type
from .module import Module, mlir, walk
from .ops import OPS, SAMPLING_OPERANDS
from .passes import Pass

_RENAMED = {name: name.replace("agent.", "stage.", 1) for name in OPS if name.startswith("agent.")}


@dataclass(frozen=True, slots=True)
class LowerToStages(Pass):
    """Replace every agent-level operation by its stages."""

    name: ClassVar[str] = "lower-to-stages"

    def apply(self, module: Module) -> None:
        for function in module.functions():
            for op in list(walk(function)):
                if op.name == "agent.llm":
                    _replace(op, _lower_llm(op))
                elif _RENAMED.get(op.name) in OPS:
                    _replace(op, _rename(op))


def _replace(op: Any, results: Sequence[Any]) -> None:
    for old, new in zip(op.results, results, strict=True):
        old.replace_all_uses_with(new)
    op.erase()


def _rename(op: Any) -> Sequence[Any]:
    with mlir.InsertionPoint(op), op.location:
        made = mlir.Operation.create(
            _RENAMED[op.name],
            operands=list(op.operands),
            attributes=dict(op.attributes.items()),
            results=[result.type for result in op.results],
        )
    return list(made.results)


def _lower_llm(op: Any) -> Sequence[Any]:
    found = decode_all(op)
    operands = dict(zip(found["names"], op.operands, strict=True))
    fields = {key: v for key, v in operands.items() if key not in SAMPLING_OPERANDS}
    options = {key: v for key, v in operands.items() if key in SAMPLING_OPERANDS}
    with mlir.InsertionPoint(op), op.location:
        tokens = _stage("tokenize", fields.values(), {**found, "names": list(fields)}, "tokens")
        kv = _stage("prefill", [tokens], found, "kv")
        steering = {**found, "names": list(options)}
        # An operand wins over the attribute of the same name.
        kept = {key: value for key, value in steering.items() if key not in options}
        output = _stage("decode", [kv, *options.values()], kept, "tokens")
        return [_stage("detokenize", [output], found, op.results[0].type)]


def _stage(mnemonic: str, operands: Any, attrs: Mapping[str, Any], result: Any) -> Any:
    """Create one stage with those of `attrs` that the op table gives it."""
    name = f"stage.{mnemonic}"
    known = {key: value for key, value in attrs.items() if OPS[name].attribute(key)}
    known["name"] = f"{attrs['name']}.{mnemonic}"
    kind = mlir_type(result) if isinstance(result, str) else result
    return create(name, operands, known, [kind]).results[0]
