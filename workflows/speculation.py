"""What may begin before it is known to be wanted: nothing that writes, nothing that asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from gangline.ir.errors import TraceError
from gangline.ir.ops import OPS

if TYPE_CHECKING:
    from gangline.ir.graph import Block, Node

    from .tracing import Tracer


def require_no_effects(tracer: Tracer, blocks: Iterable[Block]) -> None:
    """Raise TraceError at the first operation of the blocks that writes or asks a person."""
    for node in _walk(tracer, blocks):
        said = _effect(node)
        if said:
            raise TraceError(
                f"{node.attributes.get('name', node.op)} {said} inside a speculative branch, whose "
                "sides may both begin",
                where=node.where,
                next_step="Do it after the branch, or leave speculative=True out.",
            )


def _walk(tracer: Tracer, blocks: Iterable[Block]) -> Iterator[Node]:
    """Yield what the blocks may run, with the agents they call or let a plan call."""
    seen: set[str] = set()
    pending = list(blocks)
    # Invariant: every function in `seen` has its body in `pending` or yielded already.
    while pending:
        for node in pending.pop().walk():
            yield node
            called = [node.attributes.get("callee")]
            called += [row.get("agent") for row in node.attributes.get("tools", ())]
            for name in called:
                if name is not None and name not in seen:
                    seen.add(name)
                    pending.append(tracer.functions[name].body)


def _effect(node: Node) -> str:
    if node.op == "agent.ask":
        return "asks a person"
    spec = OPS.get(node.op)
    if spec is None or node.op == "agent.call":
        return ""
    rows = [node.attributes, *node.attributes.get("tools", ())]
    writes = spec.effects == "write" or any(row.get("effects") == "write" for row in rows)
    return "writes" if writes else ""
