"""Split model calls into what a host does, what computes, and what reads memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gangline.ir.attributes import decode
from gangline.ir.module import Module, mlir, walk
from gangline.ir.ops import SAMPLING_OPERANDS

from .base import Pass
from .rewrite import annotations_of, make, name_of, replace, text, texts


@dataclass(frozen=True, slots=True)
class SplitLlm(Pass):
    """Split every model call into tokenize, prefill, decode and detokenize.

    Prefill is bound by arithmetic and decode by memory, so each may get a device of its own
    (DistServe, arXiv 2401.09670); the text stages need a host alone.
    """

    name: ClassVar[str] = "split-llm"

    def apply(self, module: Module) -> None:
        for function in module.functions():
            for op in list(walk(function)):
                if op.name == "agent.llm":
                    replace(op, split(op))


def split(op: Any) -> Sequence[Any]:
    """Make the stages of a model call in front of it; give the values that replace its result."""
    attrs = dict(op.attributes.items())
    operands = list(zip(decode(attrs["names"]), op.operands, strict=True))
    fields = [(key, value) for key, value in operands if key not in SAMPLING_OPERANDS]
    options = [(key, value) for key, value in operands if key in SAMPLING_OPERANDS]
    names = [key for key, _ in options]
    # An operand wins over the attribute of the same name.
    steering = {key: value for key, value in attrs.items() if key not in names}
    base, beside = name_of(op), annotations_of(attrs)

    def stage(mnemonic: str, given: Sequence[Any], found: dict[str, Any], result: Any) -> Any:
        own = {**found, "name": text(f"{base}.{mnemonic}")}
        made = make(f"stage.{mnemonic}", given, own, result)
        for key, value in beside.items():
            made.attributes[key] = value
        return made.results[0]

    with mlir.InsertionPoint(op), op.location:
        named = {**attrs, "names": texts(key for key, _ in fields)}
        tokens = stage("tokenize", [value for _, value in fields], named, "tokens")
        kv = stage("prefill", [tokens], attrs, "kv")
        steered = {**steering, "names": texts(names)}
        output = stage("decode", [kv, *(value for _, value in options)], steered, "tokens")
        return [stage("detokenize", [output], attrs, op.results[0].type)]
