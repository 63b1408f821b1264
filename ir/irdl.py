"""The op table as IRDL text, which `iree-opt --irdl-file` checks modules against.

IRDL knows no optional attributes, so only required ones are stated, with their choices; bounds,
effects and whatever spans operations are held by the Python verifier alone. A variadic operand of IRDL must have one type throughout, which ours need not have: an
operation with further operands is therefore declared once per number of operands (`llm_3`), and
`numbered` renames the operations of a module accordingly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .ops import DIALECTS, OPS, TYPES, AttributeSpec, OpSpec

_ATTRIBUTE_BASES = {
    "str": "#builtin.string",
    "int": "#builtin.integer",
    "float": "#builtin.float",
    "bool": "#builtin.integer",
    "strs": "#builtin.array",
    "symbol": "#builtin.symbol_ref",
}


_GENERIC = re.compile(r'"((?:agent|stage)\.\w+)"\(([^)]*)\)')


def numbered(text: str) -> tuple[str, dict[str, set[int]]]:
    """Rename variadic operations of a printed module; give it and the numbers of operands used."""
    counts: dict[str, set[int]] = {}

    def rename(match: re.Match[str]) -> str:
        name, operands = match.groups()
        spec = OPS.get(name)
        if spec is None or spec.variadic is None:
            return match[0]
        count = len(operands.split(",")) if operands else 0
        counts.setdefault(name, set()).add(count)
        return f'"{name}_{count}"({operands})'

    return _GENERIC.sub(rename, text), counts


def irdl_text(counts: Mapping[str, set[int]]) -> str:
    """Give IRDL text that declares both dialects, for modules with these `numbered` counts."""
    return "\n".join(line for name in DIALECTS for line in _dialect(name, counts)) + "\n"


def _dialect(name: str, counts: Mapping[str, set[int]]) -> Iterator[str]:
    yield f"irdl.dialect @{name} {{"
    for printed in TYPES.values():
        if printed.startswith(f"!{name}."):
            yield f"  irdl.type @{printed.partition('.')[2]}"
    for spec in OPS.values():
        if spec.dialect == name:
            for count in sorted(counts.get(spec.name, ())) if spec.variadic else (None,):
                yield from _operation(spec, count)
    yield "}"


def _operation(spec: OpSpec, count: int | None) -> Iterator[str]:
    suffix = "" if count is None else f"_{count}"
    yield f"  irdl.operation @{spec.mnemonic}{suffix} {{"
    operands = []
    more = max(0, (count or 0) - len(spec.operands))
    for index, allowed in enumerate((*spec.operands, *[spec.variadic or frozenset()] * more)):
        yield from _constraint(f"operand{index}", allowed)
        operands.append(f"arg{index}: %operand{index}")
    results = []
    for index, allowed in enumerate(spec.results):
        yield from _constraint(f"result{index}", allowed)
        results.append(f"res{index}: %result{index}")
    if operands:
        yield f"    irdl.operands({', '.join(operands)})"
    if results:
        yield f"    irdl.results({', '.join(results)})"
    yield from _attributes([found for found in spec.attributes if found.required])
    yield "    irdl.regions()"
    yield "  }"


def _constraint(name: str, allowed: frozenset[str]) -> Iterator[str]:
    """Declare `%name` as any of the allowed types."""
    parts = []
    for number, kind in enumerate(sorted(allowed)):
        parts.append(f"%{name}_{number}")
        yield f"    {parts[-1]} = {_type_constraint(TYPES[kind])}"
    yield f"    %{name} = irdl.any_of({', '.join(parts)})"


def _type_constraint(printed: str) -> str:
    # By symbol: iree-opt dies on a base given by name inside `any_of` (seen with 3.13).
    if not printed.startswith("!"):
        return f"irdl.is {printed}"
    dialect, _, mnemonic = printed[1:].partition(".")
    return f"irdl.base @{dialect}::@{mnemonic}"


def _attributes(found: list[AttributeSpec]) -> Iterator[str]:
    for attribute in found:
        if attribute.choices:
            parts = [f"%{attribute.name}_{number}" for number in range(len(attribute.choices))]
            for part, choice in zip(parts, attribute.choices, strict=True):
                yield f'    {part} = irdl.is "{choice}"'
            yield f"    %{attribute.name} = irdl.any_of({', '.join(parts)})"
            continue
        base = _ATTRIBUTE_BASES.get(attribute.kind)
        constraint = f'irdl.base "{base}"' if base else "irdl.any"
        yield f"    %{attribute.name} = {constraint}"
    if found:
        rows = ", ".join(f'"{attribute.name}" = %{attribute.name}' for attribute in found)
        yield f"    irdl.attributes {{{rows}}}"
