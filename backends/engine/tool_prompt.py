"""Tools in a conversation, in plain words, for chat templates that know nothing of tools.

The words and the `<tool_call>` form are those of the Hermes and Qwen2.5 model families.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

HEAD = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TAIL = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    'within <tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, '
    '"arguments": <args-json-object>}\n</tool_call>'
)


def in_plain_words(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Put tools into the system message, past calls into the assistant's own text."""
    told = [_with_calls(message) for message in messages]
    if not tools:
        return told
    words = HEAD + "".join("\n" + _json(tool) for tool in tools) + TAIL
    if told and told[0].get("role") == "system":
        first = {**told[0], "content": f"{told[0]['content']}\n\n{words}"}
        return [first, *told[1:]]
    return [{"role": "system", "content": words}, *told]


def _with_calls(message: Mapping[str, Any]) -> Mapping[str, Any]:
    calls = message.get("tool_calls")
    if not calls:
        return message
    written = [f"<tool_call>\n{_json(_call(call))}\n</tool_call>" for call in calls]
    content = "\n".join([message["content"], *written] if message["content"] else written)
    return {"role": message["role"], "content": content}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    return {"name": function["name"], "arguments": function["arguments"]}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
