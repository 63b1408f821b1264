"""The op table: every operation of the `agent` and `stage` dialects, once.

The Python verifier, the OpView classes, the IRDL text and the op reference page are all made
from `OPS`, so a rule stated here holds everywhere. Nothing in this room needs MLIR.

Operations are written in MLIR's generic form. None of them holds a region: branches, loops and
maps are `scf` operations, because MLIR's own passes delete live functions around unregistered
operations with regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .agent import AGENT_OPS
from .annotations import (
    ANNOTATIONS,
    ARGUMENT_ATTRIBUTES,
    CONTROL_ATTRIBUTES,
    FUNCTION_ATTRIBUTES,
)
from .decomposed import DECOMPOSED_OPS
from .names import (
    ASK_OPERANDS,
    COMPUTE_ARITY,
    EFFECTS,
    EXPAND_FORMS,
    FORMATS,
    GRAMMAR_KINDS,
    ON_ERROR,
    PATTERNS,
    PLANNED_AGENT,
    PLANNED_TOOL,
    ROLES,
    SAMPLING_OPERANDS,
    TOOL_LABELS,
)
from .spec import AttributeSpec, OpSpec
from .stage import STAGE_OPS
from .types import HANDLES, TYPE_NAMES, TYPES, VALUE

__all__ = [
    "ANNOTATIONS",
    "ARGUMENT_ATTRIBUTES",
    "ASK_OPERANDS",
    "COMPUTE_ARITY",
    "CONTROL_ATTRIBUTES",
    "DIALECTS",
    "EFFECTS",
    "EXPAND_FORMS",
    "FORMATS",
    "FUNCTION_ATTRIBUTES",
    "GRAMMAR_KINDS",
    "HANDLES",
    "ON_ERROR",
    "OPS",
    "OP_TABLE_VERSION",
    "PATTERNS",
    "PLANNED_AGENT",
    "PLANNED_TOOL",
    "ROLES",
    "SAMPLING_OPERANDS",
    "TOOL_LABELS",
    "TYPES",
    "TYPE_NAMES",
    "VALUE",
    "AttributeSpec",
    "OpSpec",
    "granted_by_version_1",
]

OP_TABLE_VERSION = 2
"""Version of the table; a module says in `agent.version` which one it was written for.

    1  until November 2026: no memory, no labels, an expand may use every write tool it lists
    2  an expand says which write tools it was `granted`; memory, embed, transfers, decompositions
"""


def granted_by_version_1(rows: Any) -> list[str]:
    """Give the tools that a plan could use in version 1 without asking: all that write."""
    found = (
        [row for row in rows or () if isinstance(row, Mapping)] if isinstance(rows, list) else []
    )
    return sorted(str(row.get("name")) for row in found if row.get("effects") == "write")


OPS: Mapping[str, OpSpec] = {spec.name: spec for spec in (*AGENT_OPS, *STAGE_OPS, *DECOMPOSED_OPS)}
DIALECTS = tuple(sorted({spec.dialect for spec in OPS.values()}))
