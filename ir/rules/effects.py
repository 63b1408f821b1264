"""Rules of effects: what orders them, and where there may be none."""

from __future__ import annotations

from collections.abc import Iterator

from gangline.ir.errors import VerifyError
from gangline.ir.ops import EFFECTS

from .expands import EXPANDS, planned_agents, planned_rows
from .facts import Facts, OpFacts, Rule
from .names import EXACT, NAMED

_ORDERED = tuple(name for name in NAMED if name not in EXACT)
_OPEN = frozenset({"agent.call", *EXPANDS})


def only_effects_order(facts: Facts) -> Iterator[VerifyError]:
    """Operands after the named ones are results of what has effects: nothing else has an order.

    A call or a control operation may have lost its effects to a pass; that is no error.
    """
    for found in facts.of(*_ORDERED):
        for value in found.ordering():
            maker = facts.producer(value)
            if maker is None or (maker.spec and maker.name not in _OPEN and not own_effect(maker)):
                what = maker.name if maker else "an argument"
                yield found.error(f"{found.name} waits for {what}, which has no effect")


def tests_do_not_write(facts: Facts) -> Iterator[VerifyError]:
    """The test of a loop is asked before every trip, so it may read but not write."""
    for loop in facts.of("scf.while"):
        for found, how in _inside(facts, loop, region=0):
            if own_effect(found) == "write":
                yield found.error(f"{found.name} writes in the test of a loop{how}")


def speculation_has_no_effects(facts: Facts) -> Iterator[VerifyError]:
    """Either side of a speculative branch may begin in vain: neither writes or asks."""
    for branch in facts.of("scf.if"):
        if branch.attrs.get("agent.speculative") is True:
            for found, how in _inside(facts, branch):
                if own_effect(found) == "write" or found.name.endswith(".ask"):
                    what = "asks" if found.name.endswith(".ask") else "writes"
                    yield found.error(f"{found.name} {what} in a speculative branch{how}")


def planned_agents_say_their_effects(facts: Facts) -> Iterator[VerifyError]:
    """An agent that a plan may call does no more than its row says.

    It may do less: a pass may have removed the effect since.
    """
    known: dict[str, str] = {}
    for found in facts.of(*EXPANDS):
        for row in planned_agents(found):
            name = row["agent"]
            if name not in facts.functions:
                continue
            if name not in known:
                known[name] = _effect_of(facts, facts.functions[name])
            if EFFECTS.index(known[name]) > EFFECTS.index(row["effects"]):
                yield found.error(
                    f"{found.name} says that the agent @{name} has the effects "
                    f"{row['effects']!r}, and it has {known[name]!r}"
                )


def _effect_of(facts: Facts, function: OpFacts) -> str:
    """Give the strongest effect of a function, through what it calls."""
    effects = {own_effect(found) for found, _ in _inside(facts, function)}
    return next((kind for kind in reversed(EFFECTS) if kind in effects), "none")


def own_effect(found: OpFacts) -> str:
    """Give what an operation does itself, without what it calls: empty for nothing."""
    spec = found.spec
    if spec is None or spec.effects == "none":
        return ""
    if found.name in EXPANDS:
        effects = {str(row["effects"]) for row in planned_rows(found)}
        return next((kind for kind in ("write", "read") if kind in effects), "")
    if spec.effects == "attribute":
        given = found.attrs.get("effects")
        return str(given) if given in ("read", "write") else ""
    return spec.effects


def _inside(
    facts: Facts, outer: OpFacts, region: int | None = None
) -> Iterator[tuple[OpFacts, str]]:
    """Yield what may run inside an operation, through calls too, and how it is reached."""
    pending = [
        (found, "") for found in facts.inside[outer] if region is None or found.region == region
    ]
    seen: set[str] = set()
    # Invariant: `seen` holds the functions whose operations are pending or were yielded.
    while pending:
        found, how = pending.pop()
        yield found, how
        pending += [(inner, how) for inner in facts.inside.get(found, ())]
        callees = [str(found.attrs.get("callee"))] if found.name == "agent.call" else []
        if found.name in EXPANDS:
            callees = [row["agent"] for row in planned_agents(found)]
        for callee in callees:
            if callee in facts.functions and callee not in seen:
                seen.add(callee)
                function = facts.functions[callee]
                pending += [(inner, f" (in @{callee})") for inner in facts.inside[function]]


RULES: tuple[Rule, ...] = (
    only_effects_order,
    tests_do_not_write,
    speculation_has_no_effects,
    planned_agents_say_their_effects,
)
