"""Let a small model draft what a large one verifies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from gangline.ir.module import Module, mlir

from .base import Pass
from .parts import composites, integer
from .rewrite import annotations_of, make, name_of, replace, text

_MOVES = ("stage.transfer", "stage.kv_transfer")


@dataclass(frozen=True, slots=True)
class Draft:
    """The small model that drafts, and how many tokens it proposes at a time."""

    model: str
    width: int


@dataclass(frozen=True, slots=True)
class Speculate(Pass):
    """Take the decode of a large model apart into drafts of a small one and their verification.

    Args:
        drafts: by the large model's name.

    The small model reads the prompt itself (its tokens are its own). What the verification needs
    is written beside it as beside the decode; what the drafts need comes on top. A decode whose
    prompt continues another cache stays. A view for explaining and pricing.
    """

    name: ClassVar[str] = "speculate"
    drafts: Mapping[str, Draft] = field(default_factory=dict)

    @classmethod
    def example(cls) -> Self:
        """Four tokens at a time of a model of 1 billion weights."""
        return cls({"m8b": Draft("m1b", 4)})

    def apply(self, module: Module) -> None:
        for _, op in list(composites(module)):
            draft = self.drafts.get(op.attributes["model"].value)
            prompt = _prompt(op.operands[0]) if op.name == "stage.decode" else None
            if draft is not None and prompt is not None:
                with mlir.InsertionPoint(op), op.location:
                    replace(op, [_speculated(op, prompt, draft)])


def _speculated(op: Any, prompt: Any, draft: Draft) -> Any:
    attrs, base = dict(op.attributes.items()), name_of(op)
    beside = annotations_of(attrs)

    def drafted(mnemonic: str, source: Any, operands: list[Any], result: str) -> Any:
        own = {**dict(source.attributes.items()), "model": text(draft.model)}
        own |= {"name": text(f"{base}.draft.{mnemonic}"), "width": integer(draft.width)}
        made = make(f"stage.{mnemonic}", operands, own, result)
        for key in ("agent.device", "agent.within", "agent.visits"):
            if key in beside:
                made.attributes[key] = beside[key]
        return made.results[0]

    tokens = drafted("tokenize", prompt, list(prompt.operands), "tokens")
    kv = drafted("prefill", op, [tokens], "kv")
    proposed = drafted("draft", op, [kv], "tokens")
    own = {**attrs, "name": text(f"{base}.verify")}
    cache, *options = op.operands
    made = make("stage.verify", [cache, proposed, *options], own, "tokens")
    for key, value in beside.items():
        made.attributes[key] = value
    return made.results[0]


def _prompt(value: Any) -> Any:
    """Follow a cache to the tokenize it was computed from; None where there is none alone."""
    prefill = _maker(value)
    if prefill is None or prefill.name != "stage.prefill" or len(prefill.operands) > 1:
        return None
    tokenize = _maker(prefill.operands[0])
    return tokenize if tokenize is not None and tokenize.name == "stage.tokenize" else None


def _maker(value: Any) -> Any:
    while not isinstance(value.owner, mlir.Block):
        op = value.owner.operation
        if op.name not in _MOVES:
            return op
        value = op.operands[0]
    return None
