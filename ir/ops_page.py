"""The op reference page, docs/ops.md, made from the op table: `python -m gangline.ir.ops_page`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping

from .ops import (
    ANNOTATIONS,
    ARGUMENT_ATTRIBUTES,
    CONTROL_ATTRIBUTES,
    FUNCTION_ATTRIBUTES,
    HANDLES,
    OP_TABLE_VERSION,
    OPS,
    TYPES,
    VALUE,
    AttributeSpec,
    OpSpec,
)
from .ops_examples import EXAMPLES, example_of

_EFFECTS = {
    "none": "none",
    "read": "reads",
    "write": "writes",
    "attribute": "those of its attribute `effects`, or of the tools or functions it names",
}
_HEAD = f"""# Operations

This page is made from the op table (`ir/ops`) by `make docs-ops`; the verifier, the OpView classes
and the IRDL text are made from the same rows. Op table version {OP_TABLE_VERSION}: a module says in
`agent.version` which one it was written for. `ir.version.read_module` upgrades older modules (one
without the attribute is version 1) and refuses newer ones with a reason.

Operations are written in MLIR's generic form. None holds a region: branches (`scf.if`), maps
(`scf.for`) and loops (`scf.while`) do. Any attribute that is not listed here is an error.
"""


def page() -> str:
    """Give the whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    yield "## Types\n"
    yield "| type | what it is |\n|---|---|"
    for name, printed in TYPES.items():
        yield f"| `{printed}` | {name}: {'a handle' if name in HANDLES else 'a JSON value'} |"
    yield "\nHandles never leave an engine: no function takes or gives one."
    for dialect, title in (("agent", "Agent level"), ("stage", "Stage level")):
        yield f"\n## {title}"
        for spec in OPS.values():
            if spec.dialect == dialect:
                yield from _operation(spec)
    for title, rows in (
        ("Annotations", ANNOTATIONS),
        ("Attributes of branches, maps and loops", CONTROL_ATTRIBUTES),
        ("Attributes of functions", FUNCTION_ATTRIBUTES),
        ("Attributes of inputs", ARGUMENT_ATTRIBUTES),
    ):
        yield f"\n## {title}\n"
        if rows is ANNOTATIONS:
            yield "Any operation may have them; a module without them means the same.\n"
        yield from _attributes(rows)
    yield "\n## Example modules\n"
    yield "The examples above are lines of these; a test parses, verifies and round-trips each."
    for title, text in EXAMPLES.items():
        yield f"\n### {title}\n\n```mlir\n{text.strip()}\n```"


def _operation(spec: OpSpec) -> Iterator[str]:
    yield f"\n### {spec.name}\n\n{spec.doc}\n"
    for index, allowed in enumerate(spec.operands):
        yield f"- operand `{spec.operand_names[index]}`: {_types(allowed)}"
    if spec.variadic:
        yield f"- further operands: {_types(spec.variadic)}"
    for index, allowed in enumerate(spec.results):
        name = f" `{spec.result_names[index]}`" if spec.result_names else ""
        yield f"- result{name}: {_types(allowed)}"
    yield f"- effects: {_EFFECTS[spec.effects]}{'; pure' if spec.pure else ''}"
    yield f"- level: {', '.join(sorted(spec.levels))}"
    if spec.attributes:
        yield ""
        yield from _attributes(spec.by_name)
    statement, title = example_of(spec.name)
    anchor = re.sub(r"[^a-z ]", "", title.lower()).replace(" ", "-")
    yield f"\n```mlir\n{statement}\n```\n\nFrom [{title}](#{anchor})."


def _types(allowed: Iterable[str]) -> str:
    found = frozenset(allowed)
    parts = ["any JSON value"] if found >= VALUE else []
    rest = found - VALUE if found >= VALUE else found
    return ", ".join([*parts, *(f"`{TYPES[name]}`" for name in sorted(rest))])


def _attributes(rows: Mapping[str, AttributeSpec]) -> Iterator[str]:
    yield "| attribute | kind | bounds | what it says |\n|---|---|---|---|"
    for row in rows.values():
        optional = "" if row.required else " (optional)"
        yield f"| `{row.name}` | {row.kind}{optional} | {_bounds(row)} | {row.doc} |"


def _bounds(row: AttributeSpec) -> str:
    if row.choices:
        return ", ".join(f"`{choice}`" for choice in row.choices)
    least = "" if row.minimum is None else f"at least {row.minimum:g}"
    most = "" if row.maximum is None else f"at most {row.maximum:g}"
    return ", ".join(part for part in (least, most) if part)


if __name__ == "__main__":
    sys.stdout.write(page())
