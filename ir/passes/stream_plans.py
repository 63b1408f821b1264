"""Let plans be read while they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gangline.ir.attributes import decode
from gangline.ir.module import Module, walk

from .base import Pass


@dataclass(frozen=True, slots=True)
class StreamPlans(Pass):
    """Let an expand that reads its plan line by line read the tokens of the decode.

    It then begins with the decode and not after it: the calls of a plan run while the rest of the
    plan is written (LLMCompiler, arXiv 2312.04511). The detokenize stays where its text has other
    readers. Works at stage level; the decode must stand in the same region.
    """

    name: ClassVar[str] = "stream-plans"

    def apply(self, module: Module) -> None:
        for function in module.functions():
            for op in list(walk(function)):
                if op.name == "stage.expand" and _reads_lines(op):
                    _stream(op)


def _reads_lines(op: Any) -> bool:
    return "form" in op.attributes and decode(op.attributes["form"]) == "lines"


def _stream(expand: Any) -> None:
    text = expand.operands[0].owner
    if getattr(text, "name", "") != "stage.detokenize" or text.operation.block != expand.block:
        return
    if decode(text.attributes["format"]) != "text":
        return
    expand.operands[0] = text.operands[0]
    if not any(len(list(result.uses)) for result in text.results):
        text.operation.erase()
