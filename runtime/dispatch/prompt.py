"""Prompt templates: fill the fields of a `tokenize` stage.

A template is a list of `{role, text}`; `{field}` in a text is replaced by that field's value,
`{{` and `}}` stand for a brace. Values are put in verbatim and never looked at again, so a
value that contains `{other}` cannot pull in another field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gangline.ir.errors import StepError

_MARK = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")


def render(
    template: Sequence[Mapping[str, str]], fields: Mapping[str, Any], where: str = ""
) -> tuple[Mapping[str, str], ...]:
    """Give chat messages `{role, content}`; StepError if a field of the text has no value."""

    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return match.group(0)[0]
        if name not in fields:
            raise StepError(
                f"The prompt names the field {name!r}, which has no value",
                where=where,
                next_step="Give the llm a parameter of that name, or write {{ and }}.",
            )
        return as_text(fields[name])

    return tuple(
        {"role": message["role"], "content": _MARK.sub(fill, message["text"])}
        for message in template
    )


def as_text(value: Any) -> str:
    """Show a value to a model: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
