"""From chat messages to prompt tokens, with message contents that stay plain text.

A chat template marks turns with special tokens such as `<|im_end|>`. Contents are untrusted:
the same characters inside a content must not end a turn. So an invisible mark, a character
that no message holds, is put into every place of a content where a special token could begin
or end; the template runs; special tokens are recognised in its output; the marks are taken
out; and each piece between special tokens is encoded as plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gangline.ir.errors import InputError, ModelError

from .tokenizer import Tokenizer
from .tool_prompt import in_plain_words

ROLES = frozenset({"system", "user", "assistant", "tool"})
MARKS = tuple(chr(code) for code in range(0xE000, 0xE100))
"""Private-use characters, tried in order until one is in no message."""
MAX_TEMPLATE_CHARS = 200_000

PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)
"""For a model file without a template (a base model)."""


class ChatTemplate:
    """A Jinja template of a model file, run in an immutable sandbox."""

    def __init__(self, source: str, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._template = _compile(source or PLAIN_TEMPLATE)
        self._knows_tools = "tools" in source
        names = [name for name in tokenizer.special_tokens if len(name) > 1]
        names.sort(key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, names)) or r"(?!)")
        starts, ends = {name[0] for name in names}, {name[-1] for name in names}
        self._start = (
            re.compile("([" + re.escape("".join(sorted(starts))) + "])") if starts else None
        )
        self._end = re.compile("([" + re.escape("".join(sorted(ends))) + "])") if ends else None

    def encode(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] = (),
        add_generation_prompt: bool = True,
        prefix: str = "",
    ) -> tuple[int, ...]:
        """Give the prompt tokens of a conversation; InputError for a malformed message.

        A template that knows nothing of tools is given them in plain words. `prefix` follows
        the prompt; it may name special tokens.
        """
        _check(messages)
        if not self._knows_tools:
            messages, tools = in_plain_words(messages, tools), ()
        mark = _unused_mark([*messages, *tools])

        def protect(text: str) -> str:
            return self._protect(text, mark)

        marked = [_outside_role(message, protect) for message in messages]
        text = self._render(marked, _map_text(tools, protect), add_generation_prompt)
        return tuple(self._tokens(text + prefix, mark))

    def _protect(self, text: str, mark: str) -> str:
        if self._start is not None and self._end is not None:
            text = self._start.sub(r"\1" + mark, text)
            text = self._end.sub(mark + r"\1", text)
        return text

    def _render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        add_generation_prompt: bool,
    ) -> str:
        from jinja2 import TemplateError

        names = self._tokenizer.token_texts
        try:
            rendered: str = self._template.render(
                messages=messages,
                add_generation_prompt=add_generation_prompt,
                bos_token="",
                eos_token=names[self._tokenizer.eos_token_id],
                tools=tools or None,
            )
        except (TemplateError, TypeError, ValueError, KeyError, OverflowError) as error:
            raise InputError(
                f"the model's chat template refused the messages: {error}",
                next_step="Use roles in the order system, user, assistant, user, ...",
            ) from error
        return rendered

    def _tokens(self, text: str, mark: str) -> list[int]:
        tokens: list[int] = []
        end = 0
        # Invariant: `tokens` encodes text[:end], and `end` is not inside a special token.
        for match in self._special.finditer(text):
            tokens += self._plain(text[end : match.start()], mark)
            tokens.append(self._tokenizer.special_tokens[match.group()])
            end = match.end()
        return tokens + self._plain(text[end:], mark)

    def _plain(self, text: str, mark: str) -> list[int]:
        text = text.replace(mark, "")
        return self._tokenizer.encode(text) if text else []


def _compile(source: str) -> Any:
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if len(source) > MAX_TEMPLATE_CHARS:
        raise ModelError(f"the model's chat template is {len(source)} characters long")
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    try:
        return environment.from_string(source)
    except TemplateError as error:
        raise ModelError(
            f"the model's chat template is not valid: {error}",
            next_step="Use another conversion of this model.",
        ) from error


def _to_json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> None:
    raise ValueError(message)


def _check(messages: Sequence[Mapping[str, Any]]) -> None:
    if not messages:
        raise InputError("a prompt needs at least one message")
    for place, message in enumerate(messages):
        if message.get("role") not in ROLES or not isinstance(message.get("content"), str):
            raise InputError(
                f"message {place} needs a role out of {', '.join(sorted(ROLES))} and a text content",
                where=f"messages[{place}]",
            )


def _unused_mark(messages: Sequence[Mapping[str, Any]]) -> str:
    text = _to_json(list(messages))
    for mark in MARKS:
        if mark not in text:
            return mark
    raise InputError(
        "the messages use every character of a private Unicode range",
        next_step="Remove characters U+E000 to U+E0FF from the messages.",
    )


def _outside_role(message: Mapping[str, Any], change: Any) -> dict[str, Any]:
    return {
        key: value if key == "role" else _map_text(value, change) for key, value in message.items()
    }


def _map_text(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): _map_text(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_map_text(inner, change) for inner in value]
    return value
