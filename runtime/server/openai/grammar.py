"""What an answer must match, from response_format, tools and tool_choice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gangline.ir.errors import RequestError
from gangline.ir.specs.request import Grammar

from . import limits
from .chat_request import ChatRequest, NamedTool, ResponseFormat, Tool

PREFIX = "<tool_call>\n"
"""How an answer begins that must be a tool call; it becomes part of the prompt."""
_SEPARATOR = "\\n</tool_call>\\n<tool_call>\\n"
_END = "\\n</tool_call>"
_SPACING = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""JSON as models and templates write it. Free spacing lets a weak model write spaces for ever."""


def forced_call(request: ChatRequest) -> bool:
    """Say whether the answer must be a tool call."""
    return request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool)


def offered_tools(request: ChatRequest) -> Sequence[Tool]:
    """Give the tools the model is told of; RequestError if tool_choice names none of them."""
    tools = request.tools or []
    if forced_call(request) and not tools:
        raise RequestError("tool_choice asks for a tool, and there are none", where="body.tools")
    if request.tool_choice == "none":
        return []
    if isinstance(request.tool_choice, NamedTool):
        name = request.tool_choice.function.name
        if all(tool.function.name != name for tool in tools):
            raise RequestError(
                f"tool_choice names {name!r}, which is none of the tools", where="body.tool_choice"
            )
    return tools


def grammar_of(request: ChatRequest) -> Grammar | None:
    """Give the grammar of an answer; None if anything goes.

    Raises:
        RequestError: a schema is missing or too large.
    """
    tools = offered_tools(request)
    schema = _answer_schema(request.response_format)
    if forced_call(request):
        return _calls_only(request, tools)
    if schema is None:
        return None
    if not tools:
        return Grammar("json_schema", _json(schema))
    return _answer_or_calls(schema, tools)


def _answer_schema(response_format: ResponseFormat | None) -> dict[str, Any] | None:
    if response_format is None or response_format.type == "text":
        return None
    if response_format.type == "json_object":
        return {"type": "object", "x-guidance": _SPACING}
    if response_format.json_schema is None:
        raise RequestError(
            "response_format json_schema has no json_schema",
            where="body.response_format.json_schema",
        )
    schema = response_format.json_schema.schema_
    _check_size(schema, "body.response_format.json_schema.schema")
    return {**schema, "x-guidance": _SPACING}


def _calls_only(request: ChatRequest, tools: Sequence[Tool]) -> Grammar:
    if isinstance(request.tool_choice, NamedTool):
        name = request.tool_choice.function.name
        tools = [tool for tool in tools if tool.function.name == name]
    elif request.parallel_tool_calls is not False:
        more = f'("{_SEPARATOR}" call){{0,{limits.MAX_CALLS - 1}}}'
        return Grammar("lark", f'start: call {more} "{_END}"\n{_call_rule(tools)}')
    return Grammar("json_schema", _json(_call_schema(tools)))


def _answer_or_calls(schema: Mapping[str, Any], tools: Sequence[Tool]) -> Grammar:
    more = f'("{_SEPARATOR}" call){{0,{limits.MAX_CALLS - 1}}}'
    calls = f'"<tool_call>\\n" call {more} "{_END}"'
    return Grammar(
        "lark", f"start: answer | {calls}\nanswer: %json {_json(schema)}\n{_call_rule(tools)}"
    )


def _call_rule(tools: Sequence[Tool]) -> str:
    return f"call: %json {_json(_call_schema(tools))}"


def _call_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    calls = [_one_call(tool, f"#/anyOf/{n}") for n, tool in enumerate(tools)]
    schema = {"anyOf": calls, "x-guidance": _SPACING}
    _check_size(schema, "body.tools")
    return schema


def _one_call(tool: Tool, place: str) -> dict[str, Any]:
    nothing = {"type": "object", "properties": {}, "additionalProperties": False}
    parameters = tool.function.parameters or nothing
    return {
        "type": "object",
        "properties": {
            "name": {"const": tool.function.name},
            "arguments": _moved(parameters, f"{place}/properties/arguments"),
        },
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _moved(schema: Any, place: str) -> Any:
    """Give a schema as it must read at `place` of another one: its references follow."""
    if isinstance(schema, list):
        return [_moved(item, place) for item in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value, place) for key, value in schema.items() if key != "$id"}
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        moved["$ref"] = place + reference[1:]
    return moved


def _check_size(schema: Mapping[str, Any], where: str) -> None:
    size = len(_json(schema))
    if size > limits.MAX_SCHEMA_CHARS:
        raise RequestError(
            f"The schema is {size} characters long, more than {limits.MAX_SCHEMA_CHARS}",
            where=where,
            next_step="Make it smaller.",
        )


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=True, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The schema is not JSON: {error}", where="body") from None
