"""Prompt templates: fill the fields of a `tokenize` stage.

A template is a list of `{role, text}`; `{field}` in a text is replaced by that field's value,
`{{` and `}}` stand for a brace. Values are put in verbatim and never looked at again, so a
value that contains `{other}` cannot pull in another field.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gangline.ir.errors import StepError

Encode = Callable[[Sequence[Mapping[str, str]]], Sequence[int]]

_CONTINUATIONS = ("A", "0", "\n")
"""A letter, a digit, a line break: tokenizers cut texts between classes of characters."""

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


def tokens_of(
    encode: Encode, messages: Sequence[Mapping[str, str]], is_open: bool = False
) -> list[int]:
    """Give the tokens of a prompt; of an open one those that its continuations begin with.

    The last tokens of a text depend on what follows, and so does how a chat template ends a
    message. What several continuations have in common is safe: what is wrongly taken for common
    costs an engine one block of its cache, and no answer changes, as prompts are encoded whole.
    """
    if not is_open:
        return list(encode(messages))
    *before, last = messages
    content = last["content"]
    first, *others = (
        encode([*before, {**last, "content": content + more}]) for more in _CONTINUATIONS
    )
    same = 0
    # Invariant: all encodings agree on their first `same` tokens.
    while same < len(first) and all(
        same < len(other) and other[same] == first[same] for other in others
    ):
        same += 1
    return list(first[:same])


def as_text(value: Any) -> str:
    """Show a value to a model: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
