"""From OpenAI's messages and tools to what chat templates read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .chat_request import Message, PastCall, Tool


def template_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Give plain messages: one text each, calls with their arguments read."""
    return [_message(message) for message in messages]


def template_tools(tools: Sequence[Tool]) -> list[Mapping[str, Any]]:
    """Give tools as templates show them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.function.name,
                "description": tool.function.description or "",
                "parameters": tool.function.parameters or {"type": "object", "properties": {}},
            },
        }
        for tool in tools
    ]


def _message(message: Message) -> dict[str, Any]:
    role = "system" if message.role == "developer" else message.role
    told: dict[str, Any] = {"role": role, "content": _text(message)}
    if message.name:
        told["name"] = message.name
    if message.tool_call_id:
        told["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        told["tool_calls"] = [_call(call) for call in message.tool_calls]
    return told


def _text(message: Message) -> str:
    if message.content is None:
        return ""
    if isinstance(message.content, str):
        return message.content
    return "".join(part.text for part in message.content)


def _call(call: PastCall) -> dict[str, Any]:
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):
        arguments = call.function.arguments  # what a model once wrote need not be JSON
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.function.name, "arguments": arguments},
    }
