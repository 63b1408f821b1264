"""One row of the op table: an operation, and what it may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """One attribute. `kind` is str, int, float, bool, strs (array of strings), symbol or json.

    `choices` limits a str; `minimum` bounds an int or float from below (inclusive).
    """

    name: str
    kind: str
    required: bool = True
    choices: tuple[str, ...] = ()
    minimum: float | None = None


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
            of the tools or functions it names) says so.
        doc: one sentence for the reference page.
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
        return next((found for found in self.attributes if found.name == name), None)


def one(*types: str) -> frozenset[str]:
    """Give the set of allowed types of one operand or result."""
    return frozenset(types)
