"""One row of the op table: an operation, and what it may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KINDS = ("str", "int", "float", "bool", "unit", "strs", "symbol", "json")
"""Kinds of attributes: text, 64-bit integer, 64-bit float, boolean, a mark that is there or not,
list of texts, name of a function, any JSON value."""


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """One attribute. `kind` is one of `KINDS`.

    `choices` limits a str; `minimum` and `maximum` bound an int or float (inclusive).
    """

    name: str
    kind: str
    required: bool = True
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class OpSpec:
    """One operation.

    Attributes:
        name: `dialect.op`.
        operands: allowed types of each leading operand.
        variadic: allowed types of any further operands; None where there are none.
        results: allowed types of each result.
        attributes: its attributes; any other is an error.
        pure: True where equal operands and attributes always give an equal result and
            nothing else happens, so it may be merged or removed.
        levels: the levels (agent, stage) at which the operation may occur.
        glue: True where it only gives shape to an scf operation; it is no stage.
        effects: `none`, `read` or `write`; `attribute` where its attribute `effects` (or that
            of the tools or functions it names) says so (see ir/effects.py).
        doc: one sentence for the reference page.
        operand_names, result_names: what each leading operand and each result is called, in
            the reference page and as properties of the OpView.
    """

    name: str
    operands: tuple[frozenset[str], ...] = ()
    variadic: frozenset[str] | None = None
    results: tuple[frozenset[str], ...] = ()
    attributes: tuple[AttributeSpec, ...] = ()
    pure: bool = False
    levels: frozenset[str] = frozenset({"agent", "stage"})
    glue: bool = False
    effects: str = "none"
    doc: str = ""
    operand_names: tuple[str, ...] = ()
    result_names: tuple[str, ...] = ()
    by_name: Mapping[str, AttributeSpec] = field(init=False, repr=False, compare=False)
    required: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = {spec.name: spec for spec in self.attributes}
        object.__setattr__(self, "by_name", rows)
        object.__setattr__(self, "required", frozenset(n for n, s in rows.items() if s.required))

    @property
    def dialect(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def mnemonic(self) -> str:
        """The part of the name after the dot."""
        return self.name.partition(".")[2]

    def attribute(self, name: str) -> AttributeSpec | None:
        """Find an attribute by name."""
        return self.by_name.get(name)


def one(*types: str) -> frozenset[str]:
    """Give the set of allowed types of one operand or result."""
    return frozenset(types)
