"""The stages of a memory lookup and a memory store: an embedding where a model is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gangline.ir.attributes import decode
from gangline.ir.module import mlir
from gangline.ir.ops import ANNOTATIONS

from .rewrite import make, name_of, text, texts


def lookup(op: Any) -> Sequence[Any]:
    """Make the stages of an agent.recall in front of it; give what replaces its result."""
    return _stages(op, "stage.lookup")


def store(op: Any) -> Sequence[Any]:
    """Make the stages of an agent.remember in front of it; give what replaces its result."""
    return _stages(op, "stage.store")


def _stages(op: Any, name: str) -> Sequence[Any]:
    attrs = dict(op.attributes.items())
    names, operands = list(decode(attrs["names"])), list(op.operands)
    beside = {key: value for key, value in attrs.items() if key in ANNOTATIONS}
    with mlir.InsertionPoint(op), op.location:
        if "model" in attrs:
            # What is looked for, or kept, is the first operand of both.
            own = {**attrs, "name": text(f"{name_of(op)}.embed")}
            embedded = make("stage.embed", operands[:1], own, "vector")
            # Operands beyond the named ones only order effects: they stay last.
            operands.insert(len(names), embedded.results[0])
            names.append("vector")
            for key, value in beside.items():
                embedded.attributes[key] = value
        made = make(name, operands, {**attrs, "names": texts(names)}, op.results[0].type)
        for key, value in beside.items():
            made.attributes[key] = value
    return list(made.results)
