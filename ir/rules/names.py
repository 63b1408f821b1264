"""Rules of operands' names."""

from __future__ import annotations

from collections.abc import Iterator

from gangline.ir.errors import VerifyError
from gangline.ir.ops import OPS, SAMPLING_OPERANDS

from .facts import Facts, Rule

NAMED = tuple(spec.name for spec in OPS.values() if "names" in spec.by_name)
EXACT = frozenset(
    name for name in NAMED if OPS[name].effects == "none" and not name.endswith(".expand")
)
"""Operations that nothing can follow: every operand after the leading ones has a name."""
_SAMPLED = ("stage.decode", "stage.sample", "stage.verify")


def names_fit_operands(facts: Facts) -> Iterator[VerifyError]:
    """Each name belongs to one operand; later operands only order effects."""
    for found in facts.of(*NAMED):
        assert found.spec is not None
        names = found.names
        count = len(found.operands) - len(found.spec.operands)
        if len(names) > count or (found.name in EXACT and len(names) < count):
            yield found.error(f"{found.name} names {len(names)} of {count} operands")


def names_are_distinct(facts: Facts) -> Iterator[VerifyError]:
    """No two operands have one name, and none has an empty one."""
    for found in facts.of(*NAMED):
        names = found.names
        if len(set(names)) < len(names):
            yield found.error(f"{found.name} names an operand twice")
        if "" in names:
            yield found.error(f"{found.name} has an empty name")


def decode_names_are_options(facts: Facts) -> Iterator[VerifyError]:
    """Named operands of what draws tokens are sampling options."""
    for found in facts.of(*_SAMPLED):
        for name in found.names:
            if name not in SAMPLING_OPERANDS:
                yield found.error(f"{found.name} has no option {name!r}")


RULES: tuple[Rule, ...] = (names_fit_operands, names_are_distinct, decode_names_are_options)
