"""Split model calls into what a host does, what computes, and what reads memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from gangline.ir.attributes import decode, encode
from gangline.ir.module import Module, mlir, walk
from gangline.ir.ops import SAMPLING_OPERANDS

from .base import Pass
from .rewrite import annotations_of, make, name_of, replace, text, texts
from .whole_prompt import PREFIX, WholePrompt, whole_prompt


@dataclass(frozen=True, slots=True)
class SplitLlm(Pass):
    """Split every model call into tokenize, prefill, decode and detokenize.

    Prefill is bound by arithmetic and decode by memory, so each may get a device of its own
    (DistServe, arXiv 2401.09670); the text stages need a host alone. A KV cache is the tokenize
    and the prefill of its beginning; a call that continues it computes the rest of its prompt.
    """

    name: ClassVar[str] = "split-llm"

    def apply(self, module: Module) -> None:
        for function in module.functions():
            for op in list(walk(function)):
                if op.name == "agent.llm":
                    replace(op, split(op))
                elif op.name == "agent.cache":
                    replace(op, fill(op))


def fill(op: Any) -> Sequence[Any]:
    """Make the stages of an `agent.cache` in front of it; give the kv that replaces its result."""
    with mlir.InsertionPoint(op), op.location:
        return [_prefilled(op, {"open": encode(True)})]


def split(op: Any) -> Sequence[Any]:
    """Make the stages of a model call in front of it; give the values that replace its result."""
    attrs = dict(op.attributes.items())
    operands = list(zip(decode(attrs["names"]), op.operands, strict=True))
    options = [(key, value) for key, value in operands if key in SAMPLING_OPERANDS]
    names = [key for key, _ in options]
    # An operand wins over the attribute of the same name.
    steering = {key: value for key, value in attrs.items() if key not in names}
    with mlir.InsertionPoint(op), op.location:
        kv = _prefilled(op, {})
        steered = {**steering, "names": texts(names)}
        output = _stage(op, "decode", [kv, *(value for _, value in options)], steered, "tokens")
        return [_stage(op, "detokenize", [output], attrs, op.results[0].type)]


def _prefilled(op: Any, more: Mapping[str, Any]) -> Any:
    """Make the tokenize and the prefill of a prompt; give the kv."""
    attrs = dict(op.attributes.items())
    names = decode(attrs["names"])
    if "cache" not in names and PREFIX not in names:
        fields = [
            (key, value)
            for key, value in zip(names, op.operands, strict=True)
            if key not in SAMPLING_OPERANDS
        ]
        named = {**attrs, **more, "names": texts(key for key, _ in fields)}
        tokens = _stage(op, "tokenize", [value for _, value in fields], named, "tokens")
        return _stage(op, "prefill", [tokens], attrs, "kv")
    prompt = whole_prompt(op)
    begun = [] if prompt.kv is None else [(PREFIX, prompt.tokens)]
    given = [*begun, *prompt.fields.items()]
    named = {**attrs, **_told(prompt), **more, "names": texts(key for key, _ in given)}
    # Parts have moved by now; a prompt that is cut in two stays in its author's order anyway.
    named.pop("free", None)
    tokens = _stage(op, "tokenize", [value for _, value in given], named, "tokens")
    return _stage(op, "prefill", [tokens, *([] if prompt.kv is None else [prompt.kv])], attrs, "kv")


def _told(prompt: WholePrompt) -> dict[str, Any]:
    told = {"template": encode(prompt.template)}
    return {**told, "prefix_ids": encode(prompt.ends)} if prompt.ends else told


def _stage(op: Any, mnemonic: str, given: Sequence[Any], found: dict[str, Any], result: Any) -> Any:
    attrs = dict(op.attributes.items())
    made = make(
        f"stage.{mnemonic}", given, {**found, "name": text(f"{name_of(op)}.{mnemonic}")}, result
    )
    for key, value in annotations_of(attrs).items():
        made.attributes[key] = value
    return made.results[0]
