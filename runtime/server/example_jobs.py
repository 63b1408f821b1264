"""One example request for every workflow a server offers, for its OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_VALUES: Mapping[str, Any] = {
    "string": "text",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
    "array": [],
    "object": {},
}


def example_jobs(workflows: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give requests by workflow name, from what `Service.workflows` gives."""
    return {row["name"]: {"value": _request(row)} for row in workflows["data"]}


def _request(workflow: Mapping[str, Any]) -> dict[str, Any]:
    needed = (row for row in workflow["inputs"] if row["required"])
    return {
        "workflow": workflow["name"],
        "input": {row["name"]: _value(row.get("schema") or {}) for row in needed},
    }


def _value(schema: Mapping[str, Any]) -> Any:
    for name in ("examples", "enum"):
        if schema.get(name):
            return schema[name][0]
    if "default" in schema:
        return schema["default"]
    return _VALUES.get(str(schema.get("type")), "text")
