"""A grammar of plans, made from the schemas of the tools, in the Lark dialect of llguidance.

Whatever a model writes under it is a plan that `gl.expand(form="lines")` takes: numbered calls of
known tools, arguments of the right types or references to lines above, `join()` at the end. What
a schema says beyond types (`pattern`, `format`, `multipleOf`, `uniqueItems`) is checked when the
line is read.

Names and enum values are an author's, and may hold anything: they enter the grammar only as
quoted literals, made by `_literal`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.errors import TraceError

from . import settings

# An escape must not give a dollar sign: what the text says is looked at for references.
_LETTER = r"""[^"\\$\x00-\x1f\x7f-\x9f]|\\["\\\/bfnrt]|\\u00[01][0-9a-f]"""
_CHAR = rf"{_LETTER}|\$\$"
_KEY = rf'"({_LETTER}){{1,40}}"'
_NAME = re.compile(r"[^\W\d]\w*")
_NUMBER = r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?"
_INTEGER = r"-?(0|[1-9][0-9]{0,11})"
_RANGE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


@dataclass(frozen=True, slots=True)
class CallShape:
    """A tool as a plan may call it.

    Attributes:
        parameters: JSON Schema by name, of those that a plan sets.
        members: names that a result may have, which references may use (`$1.price`).
    """

    name: str
    parameters: Mapping[str, Any]
    required: Sequence[str]
    members: Sequence[str] = ()


def plan_grammar(shapes: Sequence[CallShape], max_steps: int = settings.MAX_STEPS) -> str:
    """Give the Lark text of all plans of at most `max_steps` calls.

    Raises:
        TraceError: a schema cannot be written as a grammar (it holds itself, say).
    """
    return _Writer(shapes, max_steps).text()


@dataclass(slots=True)
class _Writer:
    shapes: Sequence[CallShape]
    max_steps: int
    _names: dict[str, str] = field(default_factory=dict)  # of rules, by what they say
    _rules: list[str] = field(default_factory=list)
    _line: int = 0

    def text(self) -> str:
        lines = ["%llguidance {}", "start: line_1"]
        for number in range(1, self.max_steps + 1):
            self._line = number
            calls = " | ".join(self._call(shape) for shape in self.shapes)
            lines += [
                f'line_{number}: "{number}. " call_{number} "\\n" line_{number + 1} | join_{number}',
                f"call_{number}: {calls}",
                f'join_{number}: "{number}. join()"',
            ]
        last = self.max_steps + 1
        lines.append(f'line_{last}: "{last}. join()"')
        return "\n".join([*lines, *self._rules]) + "\n"

    def _call(self, shape: CallShape) -> str:
        for name in (shape.name, *shape.parameters):
            if not _NAME.fullmatch(name):
                raise _hard(f"or the tool itself is named {name!r}")
        pieces = {
            name: f"{_literal(f'{name}=')} {self._value(schema, schema, 0)}"
            for name, schema in shape.parameters.items()
        }
        inside = self._members(pieces, shape.required)
        return f'{_literal(f"{shape.name}(")} {inside} ")"'

    def _members(self, pieces: Mapping[str, str], required: Sequence[str]) -> str:
        """Write members in one order, with commas between them; those not required may lack."""
        needed = [pieces[name] for name in pieces if name in required]
        others = [pieces[name] for name in pieces if name not in required]
        if needed:
            rest = [f'(", " {piece})?' for piece in others]
            return " ".join([' ", " '.join(needed), *rest])
        choices = [
            " ".join([piece, *(f'(", " {after})?' for after in others[index + 1 :])])
            for index, piece in enumerate(others)
        ]
        return f"({' | '.join(choices)})?" if choices else ""

    def _value(self, schema: Any, root: Any, depth: int) -> str:
        """Write the rule of a value that may also be a reference."""
        plain = self._plain(schema, root, depth)
        reference = self._reference()
        return self._rule(f"{plain} | {reference}" if reference else plain)

    def _plain(self, schema: Any, root: Any, depth: int) -> str:
        if depth > settings.MAX_SCHEMA_DEPTH:
            raise _hard("is nested too deeply, or holds itself")
        if not isinstance(schema, Mapping):
            return self._any()
        if "$ref" in schema:
            return self._plain(_resolved(schema["$ref"], root), root, depth + 1)
        for choice in ("const", "enum"):
            if choice in schema:
                values = schema["enum"] if choice == "enum" else [schema["const"]]
                return self._constants(values)
        for several in ("anyOf", "oneOf", "allOf"):
            if several in schema:
                parts = schema[several]
                if several == "allOf" and len(parts) > 1:
                    raise _hard("joins several schemas (allOf)")
                return " | ".join(self._plain(part, root, depth + 1) for part in parts)
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return " | ".join(
                self._plain({**schema, "type": kind}, root, depth + 1) for kind in kinds
            )
        return self._typed(kinds, schema, root, depth)

    def _typed(self, kind: Any, schema: Mapping[str, Any], root: Any, depth: int) -> str:
        match kind:
            case "string":
                return self._string(schema)
            case "integer" | "number":
                if any(key in schema for key in _RANGE):
                    kept = {key: schema[key] for key in ("type", *_RANGE) if key in schema}
                    return self._rule(f"%json {json.dumps(kept)}")
                return self._token(_INTEGER if kind == "integer" else _NUMBER)
            case "boolean":
                return '"true" | "false"'
            case "null":
                return '"null"'
            case "array":
                return self._array(schema, root, depth)
            case "object":
                return self._object(schema, root, depth)
            case None:
                return self._any()
        raise _hard(f"has the type {kind!r}")

    def _any(self) -> str:
        return f'{self._string({})} | {self._token(_NUMBER)} | "true" | "false" | "null"'

    def _string(self, schema: Mapping[str, Any]) -> str:
        least = int(schema.get("minLength", 0))
        most = max(least, min(int(schema.get("maxLength", 10**9)), settings.MAX_TEXT_CHARS))
        bounded = "maxLength" in schema or "minLength" in schema
        # In braces: after `$1` a digit of the text would be read as one of the number.
        references = "" if bounded or self._line < 2 else rf"|\$\{{{self._numbers()}\}}"
        return self._token(rf'"({_CHAR}{references}){{{least},{most}}}"')

    def _array(self, schema: Mapping[str, Any], root: Any, depth: int) -> str:
        least = int(schema.get("minItems", 0))
        most = max(least, min(int(schema.get("maxItems", 10**9)), settings.MAX_ITEMS))
        if most == 0:
            return '"[]"'
        if "prefixItems" in schema:
            items = [self._value(part, root, depth + 1) for part in schema["prefixItems"]]
            return '"[" ' + ' ", " '.join(items) + ' "]"'
        item = self._value(schema.get("items", {}), root, depth + 1)
        more = f'(", " {item}){{{max(least - 1, 0)},{most - 1}}}' if most > 1 else ""
        several = f'"[" {item} {more} "]"'
        return f'{several} | "[]"' if least == 0 else several

    def _object(self, schema: Mapping[str, Any], root: Any, depth: int) -> str:
        known: Mapping[str, Any] = schema.get("properties", {})
        if known:
            pieces = {
                name: f"{_literal(_json(name) + ': ')} {self._value(part, root, depth + 1)}"
                for name, part in known.items()
                if not name.startswith("$")
            }
            return f'"{{" {self._members(pieces, schema.get("required", ()))} "}}"'
        if schema.get("minProperties", 0) > 1:
            raise _hard("is an object of several members without names")
        # Two members could have one name, which no grammar can tell: so one at most.
        value = self._value(schema.get("additionalProperties", {}), root, depth + 1)
        member = f'{self._token(_KEY)} ": " {value}'
        return f'"{{" {member} "}}"' + ("" if schema.get("minProperties") else ' | "{}"')

    def _constants(self, values: Iterable[Any]) -> str:
        found = [_literal(_json(value)) for value in values if _can_be_stored(value)]
        if not found:
            raise _hard("allows no value")
        return " | ".join(found)

    def _reference(self) -> str:
        """Write what refers to a line above; empty in the first line."""
        return self._token(rf"\${self._numbers()}") if self._line > 1 else ""

    def _numbers(self) -> str:
        numbers = "|".join(str(number) for number in range(1, self._line))
        members = sorted({name for shape in self.shapes for name in shape.members if _plain(name)})
        path = rf"(\.({'|'.join(members)}))?" if members else ""
        return f"({numbers}){path}"

    def _rule(self, body: str) -> str:
        return self._named(body, "v")

    def _token(self, regex: str) -> str:
        escaped = regex.replace("/", "\\/").replace("\\\\/", "\\/")
        return self._named(f"/{escaped}/", "T")

    def _named(self, body: str, prefix: str) -> str:
        if body not in self._names:
            self._names[body] = f"{prefix}{len(self._names)}"
            self._rules.append(f"{self._names[body]}: {body}")
        return self._names[body]


def _plain(name: str) -> bool:
    """Say whether a member's name may stand in a reference and in a regular expression."""
    return name.isascii() and name.isidentifier()


def _resolved(reference: str, root: Any) -> Any:
    found = root
    for part in reference.removeprefix("#").split("/")[1:]:
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def _can_be_stored(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError):
        return False
    return True


def _json(value: Any) -> str:
    """Write a value as a line of a plan does: JSON in one line, `$$` for a dollar sign."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False).replace("$", "$$")
        return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    if isinstance(value, Mapping):
        members = [f"{_json(key)}: {_json(member)}" for key, member in value.items()]
        return f"{{{', '.join(members)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_json, value))}]"
    return json.dumps(value)


def _literal(text: str) -> str:
    """Quote text for Lark: nothing in it can end the quotes or begin a rule."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _hard(what: str) -> TraceError:
    return TraceError(
        f"No grammar of plans can be made: the schema of a parameter {what}",
        next_step="Give the tool plainer parameters: texts, numbers, lists, or named members.",
    )
