"""Rules that the op table states of single operations: names, levels, types of values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gangline.ir.errors import VerifyError
from gangline.ir.ops import TYPES, OpSpec

from .facts import Facts, OpFacts, Rule

CONTROL = frozenset({"scf.if", "scf.for", "scf.while"})
OTHERS = frozenset({"func.return", "scf.yield", "scf.condition", "arith.constant"})


def operations_are_known(facts: Facts) -> Iterator[VerifyError]:
    """Operations are those of the op table, and control flow."""
    for found in facts.ops:
        if found.spec is None and found.name not in CONTROL and found.name not in OTHERS:
            yield found.error(f"{found.name} is no operation of the op table")


def levels_do_not_mix(facts: Facts) -> Iterator[VerifyError]:
    """All functions of a module are at one level."""
    seen: dict[str, OpFacts] = {}
    for found in facts.ops:
        if found.spec is None or len(found.spec.levels) != 1:
            continue
        (level,) = found.spec.levels
        other = next((first for key, first in seen.items() if key != level), None)
        if other is not None:
            yield found.error(
                f"{found.name} belongs to the {level} level and {other.name} does not"
            )
            return
        seen.setdefault(level, found)


def leaves_have_no_regions(facts: Facts) -> Iterator[VerifyError]:
    """Only control flow has regions, and nothing has successors."""
    for found in facts.ops:
        if len(found.op.successors) or (found.spec is not None and len(found.op.regions)):
            yield found.error(f"{found.name} takes no region or successor")


def types_fit_the_table(facts: Facts) -> Iterator[VerifyError]:
    """Operands and results are as many as the table says, and of its types."""
    # Most operations of a module share a few signatures, so each is checked once.
    known: dict[tuple[str, Any], list[str]] = {}
    for found in facts.ops:
        if found.spec is None:
            continue
        key = found.name, found.types
        problems = known.get(key)
        if problems is None:
            problems = known[key] = [*_type_problems(facts, found.spec, *found.types)]
        for problem in problems:
            yield found.error(problem)


def _type_problems(
    facts: Facts, spec: OpSpec, operands: tuple[Any, ...], results: tuple[Any, ...]
) -> Iterator[str]:
    fixed = len(spec.operands)
    if len(operands) < fixed or (len(operands) > fixed and spec.variadic is None):
        least = "at least " if spec.variadic is not None else ""
        yield f"{spec.name} takes {least}{fixed} operands, not {len(operands)}"
    else:
        more = spec.variadic or frozenset()
        for index, type_ in enumerate(operands):
            allowed = spec.operands[index] if index < fixed else more
            if facts.type_name(type_) not in allowed:
                yield f"operand {index} of {spec.name} is {type_}, not {_shown(allowed)}"
    if len(results) != len(spec.results):
        yield f"{spec.name} gives {len(spec.results)} results, not {len(results)}"
        return
    for index, (type_, allowed) in enumerate(zip(results, spec.results, strict=True)):
        if facts.type_name(type_) not in allowed:
            yield f"result {index} of {spec.name} is {type_}, not {_shown(allowed)}"


def _shown(allowed: frozenset[str]) -> str:
    return ", ".join(sorted(TYPES[name] for name in allowed))


RULES: tuple[Rule, ...] = (
    operations_are_known,
    levels_do_not_mix,
    leaves_have_no_regions,
    types_fit_the_table,
)
