"""What a model is told of tools: their signatures, an example, and what calls gave."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gangline.workflows import hints
from gangline.workflows.plan_outcome import PlannedCall, PlanOutcome
from gangline.workflows.tool import Tool

from . import settings
from .grammar import CallShape

_MAX_CHOICES = 60


def call_shape(tool: Tool[..., Any], given: Iterable[str]) -> CallShape:
    """Give a tool as a plan may call it; `given` are the parameters that a plan does not set."""
    fields = {key: f for key, f in tool.parameters.fields.items() if key not in set(given)}
    return CallShape(
        name=tool.fn.__name__,
        parameters={key: hints.schema(field.annotation) for key, field in fields.items()},
        required=[key for key, field in fields.items() if field.required],
        members=tuple(hints.fields(tool.returns) or ()),
    )


def signatures(tools: Sequence[Tool[..., Any]], given: Iterable[str]) -> str:
    """List tools, one in a line: `name(parameter: type, ...) -> type: what it does`."""
    return "\n".join(f"- {_signature(tool, call_shape(tool, given))}" for tool in tools)


def _signature(tool: Tool[..., Any], shape: CallShape) -> str:
    written = ", ".join(
        f"{name}{'' if name in shape.required else '?'}: {_type(schema)}"
        for name, schema in shape.parameters.items()
    )
    told = " ".join((inspect.getdoc(tool.fn) or "").split("\n\n")[0].split())
    if len(told) > settings.MAX_DESCRIPTION_CHARS:
        told = told[: settings.MAX_DESCRIPTION_CHARS - 3] + "..."
    return f"{shape.name}({written}) -> {_type(hints.schema(tool.returns))}: {told}"


def _type(schema: Any) -> str:
    """Write a JSON Schema in a few words."""
    if not isinstance(schema, Mapping):
        return "any"
    if "enum" in schema:
        return "|".join(
            json.dumps(value, ensure_ascii=False) for value in schema["enum"][:_MAX_CHOICES]
        )
    if "anyOf" in schema:
        return "|".join(_type(part) for part in schema["anyOf"] if part != {"type": "null"})
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema.get('items', {}))}"
        case "object" if schema.get("properties"):
            return "{" + ", ".join(schema["properties"]) + "}"
        case "string":
            return "text"
        case str(kind):
            return kind
    return "any"


def report(outcome: PlanOutcome) -> str:
    """Tell what became of a plan: a line for each call, and what was wrong with the plan."""
    lines = [f"{call.id}. {_call(call)} {_came_of(call)}" for call in outcome.calls]
    return "\n".join([*lines, *([f"The plan: {outcome.error}"] if outcome.error else [])])


def _call(call: PlannedCall) -> str:
    given = ", ".join(f"{name}={_argument(value)}" for name, value in call.arguments.items())
    return f"{call.tool}({given})"


def _argument(value: Any) -> str:
    if isinstance(value, Mapping) and "$ref" in value:
        return "$" + str(value["$ref"]).replace("/", ".")
    if isinstance(value, Mapping) and "$text" in value:
        return json.dumps("".join(map(_part, value["$text"])), ensure_ascii=False)
    if isinstance(value, str):
        return json.dumps(_part(value), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def _part(part: Any) -> str:
    """Write a part of a text: letters, or a reference."""
    return part.replace("$", "$$") if isinstance(part, str) else f"${{{_argument(part)[1:]}}}"


def _came_of(call: PlannedCall) -> str:
    if call.error:
        return f"failed: {call.error}"
    text = json.dumps(call.result, ensure_ascii=False)
    if len(text) > settings.MAX_SHOWN_CHARS:
        text = text[: settings.MAX_SHOWN_CHARS] + "..."
    return f"= {text}"
