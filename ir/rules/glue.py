"""Rules of maps and of the operations that give them and loops their shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gangline.ir.errors import VerifyError

from .facts import Facts, OpFacts, Rule

_HOMES = {"agent.element": "scf.for", "agent.append": "scf.for", "agent.until": "scf.while"}


def glue_is_in_place(facts: Facts) -> Iterator[VerifyError]:
    """Element and append stand directly in a map; until directly in a loop's test."""
    for found in facts.of(*_HOMES):
        home = _HOMES[found.name]
        if found.parent is None or found.parent.name != home:
            yield found.error(f"{found.name} stands outside of an {home}")
        elif found.name == "agent.until" and found.region != 0:
            yield found.error("agent.until stands in the body of a loop, not in its test")


def maps_are_maps(facts: Facts) -> Iterator[VerifyError]:
    """An scf.for is a parallel map: element of its own list first, append of one value last."""
    for found in facts.of("scf.for"):
        if "agent.parallel" not in found.given:
            yield found.error("an scf.for is a map and needs agent.parallel")
        elif not _is_map(facts, found):
            yield found.error(
                "a map reads agent.element first, appends one value last, and runs from 0 by 1 "
                "to agent.length of its list"
            )


def _is_map(facts: Facts, found: OpFacts) -> bool:
    block = found.op.regions[0].blocks[0]
    inner = facts.inside[found]
    if len(inner) < 3 or len(found.operands) != 4:
        return False
    first, last, end = inner[0], inner[-2], inner[-1]
    index, collected = block.arguments[0], block.arguments[1]
    if (first.name, last.name, end.name) != ("agent.element", "agent.append", "scf.yield"):
        return False
    length = facts.producer(found.operands[1])
    others = sum(op.name in ("agent.element", "agent.append") for op in inner)
    return (
        others == 2
        and length is not None
        and length.name == "agent.length"
        and length.operands[0] == first.operands[0]
        and facts.producer_name(found.operands[3]) == "agent.empty"
        and _bound(facts, found.operands[0]) == 0
        and _bound(facts, found.operands[2]) == 1
        and first.operands[1] == index
        and last.operands[0] == collected
        and end.operands[0] == last.results[0]
        and len(list(index.uses)) == 1
        and len(list(collected.uses)) == 1
    )


def _bound(facts: Facts, value: Any) -> Any:
    made = facts.producer(value)
    return made.attrs.get("value") if made and made.name == "arith.constant" else None


RULES: tuple[Rule, ...] = (glue_is_in_place, maps_are_maps)
