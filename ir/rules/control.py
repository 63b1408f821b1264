"""Rules of branches and loops: what scf operations may look like."""

from __future__ import annotations

from collections.abc import Iterator

from gangline.ir.errors import VerifyError
from gangline.ir.module import blocks
from gangline.ir.ops import HANDLES

from .facts import Facts, OpFacts, Rule

MAX_NESTING = 100
"""Most control operations inside each other: passes and programs are read recursively."""


def regions_have_one_block(facts: Facts) -> Iterator[VerifyError]:
    """Every region has one block."""
    for found in (*facts.functions.values(), *facts.of("scf.if", "scf.for", "scf.while")):
        if len(list(blocks(found.op))) != len(found.op.regions):
            yield found.error(f"a region of {found.name} has no or many blocks")


def nesting_is_bounded(facts: Facts) -> Iterator[VerifyError]:
    """Control operations stand inside each other MAX_NESTING deep at most."""
    depths: dict[OpFacts, int] = {}
    for found in facts.ops:
        if len(found.op.regions):
            above = found.parent
            depth = depths[found] = 1 + (depths.get(above, 0) if above else 0)
            if depth == MAX_NESTING + 1:
                yield found.error(f"{found.name} is inside of {MAX_NESTING} others")


def branches_give_one(facts: Facts) -> Iterator[VerifyError]:
    """An scf.if gives one value."""
    for found in facts.of("scf.if"):
        if len(found.results) != 1:
            yield found.error("a branch gives one value")


def control_gives_values(facts: Facts) -> Iterator[VerifyError]:
    """Handles of engines do not go through branches and loops: no step could record them."""
    for found in facts.of("scf.if", "scf.while"):
        for value in found.results:
            kind = facts.kind(value)
            if kind is None or kind in HANDLES:
                yield found.error(f"{found.name} gives a {value.type}, which is no JSON value")


def loops_are_bounded(facts: Facts) -> Iterator[VerifyError]:
    """An scf.while has a bound."""
    for found in facts.of("scf.while"):
        if "agent.max_trips" not in found.given:
            yield found.error("a loop needs agent.max_trips of at least 1")


def loops_carry_one_value(facts: Facts) -> Iterator[VerifyError]:
    """An scf.while carries one value unchanged to its body."""
    for found in facts.of("scf.while"):
        before = found.op.regions[0].blocks[0]
        ends = [inner for inner in facts.inside[found] if inner.name == "scf.condition"]
        carried = ends[0].operands[1:] if ends else None
        if len(found.results) != 1 or carried != list(before.arguments):
            yield found.error("a loop carries one value, which it tests as it is")


def loops_end_by_until(facts: Facts) -> Iterator[VerifyError]:
    """The condition of an scf.while is what agent.until gives."""
    for found in facts.of("scf.condition"):
        if facts.producer_name(found.operands[0]) != "agent.until":
            yield found.error("the condition of a loop comes from agent.until")


RULES: tuple[Rule, ...] = (
    regions_have_one_block,
    nesting_is_bounded,
    branches_give_one,
    control_gives_values,
    loops_are_bounded,
    loops_carry_one_value,
    loops_end_by_until,
)
