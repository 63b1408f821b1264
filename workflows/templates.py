"""Prompt templates: text with {field} marks; `{{` and `}}` stand for single braces."""

from __future__ import annotations

import re
from typing import Any

from gangline.ir.errors import TraceError

from .signature import Signature, near

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def template_fields(text: str, where: str) -> list[str]:
    """Give the fields of a template in order of first use; TraceError on a stray brace."""
    found: dict[str, None] = {}
    for match in _TOKEN.finditer(text):
        if match[0] in ("{{", "}}"):
            continue
        name = match[1]
        if name is None or not name.isidentifier():
            raise TraceError(
                f"the prompt holds {match[0]!r}, which is no field",
                where=where,
                next_step="Write {name} for a field, and {{ or }} for a brace of the text.",
            )
        found[name] = None
    return list(found)


def make_template(
    signature: Signature, prompt: str | None, system: str | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Give the messages of a prompt and the fields they use; TraceError at the definition."""
    if not prompt or not prompt.strip():
        raise TraceError(
            f"{signature.name}() has no prompt",
            where=signature.where,
            next_step="Write the prompt as its docstring, with {field} marks, or give template=.",
        )
    messages = [{"role": "user", "text": prompt}]
    if system is not None:
        messages.insert(0, {"role": "system", "text": system})
    used: dict[str, None] = {}
    for message in messages:
        used.update(dict.fromkeys(template_fields(message["text"], signature.where)))
    for name in used:
        if name not in signature.fields:
            raise TraceError(
                f"the prompt of {signature.name}() uses {{{name}}}, which is no parameter",
                where=signature.where,
                next_step=near(name, signature.fields) or f"Add the parameter `{name}: str`.",
            )
    return messages, list(used)
