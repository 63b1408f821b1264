"""The types of values, by the names that `Parameter.type` and the graph use."""

from __future__ import annotations

from collections.abc import Mapping

TYPES: Mapping[str, str] = {
    "text": "!agent.text",
    "database": "!agent.database",
    "json": "!agent.json",
    "list": "!agent.list",
    "kv": "!agent.kv",
    "int": "i64",
    "float": "f64",
    "bool": "i1",
    "tokens": "!stage.tokens",
    "hidden": "!stage.hidden",
    "routing": "!stage.routing",
    "vector": "!stage.vector",
}
"""How MLIR prints each type."""

TYPE_NAMES: Mapping[str, str] = {text: name for name, text in TYPES.items()}

VALUE = frozenset({"text", "database", "json", "list", "int", "float", "bool"})
"""Types whose values are JSON."""

HANDLES = frozenset(TYPES) - VALUE
"""Types whose values never leave an engine: no input, no result of a workflow."""
