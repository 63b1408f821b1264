"""Check a JSON value against a JSON Schema: the keywords that pydantic and authors write.

Values are untrusted, schemas are an author's. `$ref` is followed within the schema (`#/$defs/...`).
Keywords that are not known are annotations, as the standard says.
"""

from __future__ import annotations

import datetime
import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MAX_DEPTH = 64
"""Deepest nesting of a value; one that is deeper fits no schema."""
MAX_CHECKS = 100_000
"""Most (value, schema) pairs one check looks at, some tenths of a second: a recursive union can
double the work with every level of a value that was sent to do harm."""

_Parse = Callable[[str], Any]
_FORMATS: Mapping[str, _Parse] = {
    "date": datetime.date.fromisoformat,
    "date-time": datetime.datetime.fromisoformat,
    "time": datetime.time.fromisoformat,
    "uuid": uuid.UUID,
}


def problem(value: Any, schema: Mapping[str, Any] | bool) -> str:
    """Say what is wrong with a value, with its place; empty where it fits."""
    try:
        return _Checker(schema).check(value, schema, "the value", 0)
    except _TooMuch:
        return "the value is too large to be checked"


class _TooMuch(Exception):
    """The check would take too long."""


class _Checker:
    def __init__(self, root: Mapping[str, Any] | bool) -> None:
        self._root = root
        self._left = MAX_CHECKS

    def check(self, value: Any, schema: Mapping[str, Any] | bool, at: str, depth: int) -> str:
        self._left -= 1
        if self._left < 0:
            raise _TooMuch
        if isinstance(schema, bool):
            return "" if schema else f"{at} is not allowed"
        if depth > MAX_DEPTH:
            return f"{at} is nested too deeply"
        found = _plain(value, schema, at) or self._combined(value, schema, at, depth)
        if found:
            return found
        if isinstance(value, dict):
            return self._object(value, schema, at, depth)
        if isinstance(value, list):
            return self._array(value, schema, at, depth)
        return ""

    def _combined(self, value: Any, schema: Mapping[str, Any], at: str, depth: int) -> str:
        below = depth + 1
        if "$ref" in schema:
            found = self.check(value, self._resolved(schema["$ref"]), at, below)
            if found:
                return found
        for part in schema.get("allOf", ()):
            found = self.check(value, part, at, below)
            if found:
                return found
        if "not" in schema and not self.check(value, schema["not"], at, below):
            return f"{at} is of a kind that is excluded"
        for name in ("anyOf", "oneOf"):
            if name in schema:
                found = self._some(value, schema[name], name == "oneOf", at, below)
                if found:
                    return found
        return ""

    def _some(self, value: Any, parts: Sequence[Any], one: bool, at: str, depth: int) -> str:
        found = [self.check(value, part, at, depth) for part in parts]
        fits = found.count("")
        if fits == 1 or (fits > 1 and not one):
            return ""
        return f"{at} fits several of its forms" if fits else " or ".join(dict.fromkeys(found))

    def _resolved(self, reference: str) -> Any:
        found: Any = self._root
        for part in reference.removeprefix("#").split("/")[1:]:
            found = found[part.replace("~1", "/").replace("~0", "~")]
        return found

    def _object(self, value: dict[str, Any], schema: Mapping[str, Any], at: str, depth: int) -> str:
        known: Mapping[str, Any] = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                return f"{at} lacks {name!r}"
        size = _size(len(value), schema, "Properties", f"{at} has {len(value)} members")
        if size:
            return size
        patterns = schema.get("patternProperties", {})
        for name, member in value.items():
            place = f"{at}.{name}" if at != "the value" else name
            rules = [known[name]] if name in known else []
            rules += [rule for pattern, rule in patterns.items() if re.search(pattern, name)]
            for rule in rules or [schema.get("additionalProperties", True)]:
                if rule is False:
                    return f"{at} has a member {name!r}, which is not known"
                found = self.check(member, rule, place, depth + 1)
                if found:
                    return found
        return ""

    def _array(self, value: list[Any], schema: Mapping[str, Any], at: str, depth: int) -> str:
        size = _size(len(value), schema, "Items", f"{at} has {len(value)} elements")
        if size:
            return size
        if schema.get("uniqueItems") and len({_key(item) for item in value}) < len(value):
            return f"{at} holds an element twice"
        first: Sequence[Any] = schema.get("prefixItems", ())
        rest = schema.get("items", True)
        for index, item in enumerate(value):
            rule = first[index] if index < len(first) else rest
            found = self.check(item, rule, f"{at}[{index}]", depth + 1)
            if found:
                return found
        return ""


def _plain(value: Any, schema: Mapping[str, Any], at: str) -> str:
    """Check what needs no look inside a value."""
    wanted = schema.get("type")
    if wanted is not None:
        names = [wanted] if isinstance(wanted, str) else wanted
        if not any(_is(value, name) for name in names):
            return f"{at} is no {' or '.join(names)}"
    if "const" in schema and not _same(value, schema["const"]):
        return f"{at} is not {schema['const']!r}"
    if "enum" in schema and not any(_same(value, choice) for choice in schema["enum"]):
        return f"{at} is none of {', '.join(map(repr, schema['enum']))}"
    if _is(value, "number"):
        return _number(value, schema, at)
    return _text(value, schema, at) if isinstance(value, str) else ""


def _number(value: float, schema: Mapping[str, Any], at: str) -> str:
    if not math.isfinite(value):
        return f"{at} is no finite number"
    rules: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
        ("minimum", lambda v, bound: v >= bound, "below"),
        ("maximum", lambda v, bound: v <= bound, "above"),
        ("exclusiveMinimum", lambda v, bound: v > bound, "not above"),
        ("exclusiveMaximum", lambda v, bound: v < bound, "not below"),
    )
    for name, fits, word in rules:
        if name in schema and not fits(value, schema[name]):
            return f"{at} is {value}, {word} {schema[name]}"
    if "multipleOf" in schema and not float(value / schema["multipleOf"]).is_integer():
        return f"{at} is {value}, no multiple of {schema['multipleOf']}"
    return ""


def _text(value: str, schema: Mapping[str, Any], at: str) -> str:
    size = _size(len(value), schema, "Length", f"{at} has {len(value)} characters")
    if size:
        return size
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return f"{at} does not match {schema['pattern']!r}"
    parse = _FORMATS.get(schema.get("format", ""))
    if parse is not None:
        try:
            parse(value)
        except ValueError:
            return f"{at} is no {schema['format']}"
    return ""


def _size(count: int, schema: Mapping[str, Any], what: str, told: str) -> str:
    if count < schema.get(f"min{what}", 0):
        return f"{told}, fewer than {schema[f'min{what}']}"
    if count > schema.get(f"max{what}", count):
        return f"{told}, more than {schema[f'max{what}']}"
    return ""


def _is(value: Any, name: str) -> bool:
    match name:
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            whole = isinstance(value, float) and value.is_integer()
            return (isinstance(value, int) and not isinstance(value, bool)) or whole
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
    return False


def _key(value: Any) -> Any:
    """Give something hashable that is equal for values that JSON takes for the same."""
    if isinstance(value, list):
        return "list", tuple(map(_key, value))
    if isinstance(value, dict):
        return "dict", frozenset((name, _key(member)) for name, member in value.items())
    return isinstance(value, bool), value


def _same(left: Any, right: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    return bool(left == right)
