"""Put transfers of values into a module: once per value and device, where all readers see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gangline.ir.errors import LoweringError
from gangline.ir.module import mlir, where
from gangline.ir.ops import TYPE_NAMES

from .homes import Moves, is_block_argument
from .rewrite import make, text

_REPEATS = ("scf.for", "scf.while")


def insert(moves: Moves) -> None:
    """Insert the transfers and let the readers use them."""
    # A value that moves twice goes from its home each time: two links work side by side.
    for (value, source, target), readers in moves.items():
        anchor = _anchor(value, [op for op, _ in readers])
        with mlir.InsertionPoint(anchor), anchor.location:
            moved = _transfer(value, source, target, readers[0][0])
        for op, index in readers:
            op.operands[index] = moved


def _transfer(value: Any, source: str, target: str, reader: Any) -> Any:
    kv = TYPE_NAMES[str(value.type)] == "kv"
    attrs = {
        "name": text(f"{_name(value)}.to.{target}"),
        "source": text(source),
        "target": text(target),
    }
    if kv:
        attrs["model"] = _model(value, reader)
    made = make("stage.kv_transfer" if kv else "stage.transfer", [value], attrs, value.type)
    made.attributes["agent.device"] = text(target)
    return made.results[0]


def _anchor(value: Any, readers: Sequence[Any]) -> Any:
    """Find the operation in front of which all readers see the moved value."""
    home = value.owner if is_block_argument(value) else value.owner.operation.block
    chains = [_chain(reader, home) for reader in readers]
    first = chains[0]
    level = 0
    # Invariant: up to `level` the readers stand in one block each, so what is in front of the
    # first chain's operation there is in front of all of them.
    while all(len(chain) > level + 1 for chain in chains):
        if any(chain[level] != first[level] for chain in chains):
            break
        if any(chain[level + 1].block != first[level + 1].block for chain in chains):
            break
        level += 1
    repeats = [op for op in first[:level] if op.name in _REPEATS]
    return repeats[0] if repeats else first[level]


def _chain(op: Any, home: Any) -> list[Any]:
    """Give the operations around a reader and the reader, from the value's block inwards."""
    found = [op]
    while found[-1].block != home:
        found.append(found[-1].parent.operation)
    return found[::-1]


def _name(value: Any) -> str:
    """Name what makes a value: its operation, the control around it, or its input."""
    if not is_block_argument(value):
        given = value.owner.operation.attributes
        for key in ("name", "agent.name", "fn"):
            if key in given:
                return str(given[key].value)
    return "value"


def _model(value: Any, reader: Any) -> Any:
    """Find the model of a cache: the reader's, or that of what made it."""
    for op in (reader, None if is_block_argument(value) else value.owner.operation):
        if op is not None and "model" in op.attributes:
            return op.attributes["model"]
    raise LoweringError(
        "a KV cache moves between devices where its model is not known",
        where=where(reader),
        next_step="Let the stages that make and read it stand in one block, or on one device.",
    )
