"""Compute a prompt once that several answers begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from gangline.ir.module import Module, blocks, walk
from gangline.ir.ops import ANNOTATIONS

from .base import Pass

_SAME_PROMPT = frozenset({"stage.tokenize", "stage.prefill"})
_BESIDE = frozenset({"name", "free", "prefix_ids", *ANNOTATIONS})
"""Attributes that change nothing about the tokens of a prompt."""


@dataclass(frozen=True, slots=True)
class BatchForks(Pass):
    """Compute equal prompts once: one prefill with many decodes.

    The prompt of a map's items moves in front of the map where it is the same for all of them,
    and of equal prompts the first serves all that it dominates. Nothing is computed for an empty
    map: a prefill is work of the first decode that reads it. One that other prefills go on from is
    computed for itself, so it stays in its map.
    """

    name: ClassVar[str] = "batch-forks"

    def apply(self, module: Module) -> None:
        for function in module.functions():
            # Inner maps first, so that a prompt can move out of several.
            for op in reversed(list(walk(function))):
                if op.name == "scf.for":
                    _move_out(op)
            for block in blocks(function):
                _merge(block, {})


def _move_out(op: Any) -> None:
    (block,) = blocks(op)
    inside = set(block.arguments)
    for found in list(block.operations):
        inner = found.operation
        # Invariant: `inside` holds the values of the map's body that were made so far. What a
        # nested block makes is no operand of this one.
        if (
            inner.name in _SAME_PROMPT
            and not any(value in inside for value in inner.operands)
            and not _is_continued(inner)
        ):
            inner.move_before(op)
        else:
            inside.update(inner.results)


def _is_continued(op: Any) -> bool:
    """Tell whether another prefill goes on from this one."""
    uses = (use for result in op.results for use in result.uses)
    return op.name == "stage.prefill" and any(
        use.owner.operation.name == "stage.prefill" for use in uses
    )


def _merge(block: Any, outer: dict[Any, Any]) -> None:
    """Merge in one block; `outer` holds the prompts of the blocks around it."""
    known = dict(outer)
    for found in list(block.operations):
        op = found.operation
        if op.name in _SAME_PROMPT:
            first = known.setdefault(_key(op), op)
            if first is not op:
                op.results[0].replace_all_uses_with(first.results[0])
                op.erase()
                continue
        for inner in blocks(op):
            _merge(inner, known)


def _key(op: Any) -> Any:
    shown = tuple((key, value) for key, value in op.attributes.items() if key not in _BESIDE)
    return op.name, tuple(op.operands), shown
