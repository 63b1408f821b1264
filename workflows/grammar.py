"""What the output of an llm must match."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gangline.ir.specs.request import Grammar

from .hints import schema


def lark(text: str) -> Grammar:
    """Make a grammar from Lark text (the dialect llguidance reads)."""
    return Grammar("lark", text)


def regex(pattern: str) -> Grammar:
    """Make a grammar from a regular expression that the whole output must match."""
    return Grammar("regex", pattern)


def json_schema(described: Mapping[str, Any] | Any) -> Grammar:
    """Make a grammar from a JSON Schema, or from a type that has one."""
    found = described if isinstance(described, Mapping) else schema(described)
    return Grammar("json_schema", json.dumps(found, separators=(",", ":")))
