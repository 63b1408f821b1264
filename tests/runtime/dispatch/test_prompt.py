"""Prompts: fields are filled once, and never from within a value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pytest

from gangline.ir.errors import StepError
from gangline.runtime.dispatch.prompt import render, tokens_of


def text(template: str, **fields: object) -> str:
    (message,) = render([{"role": "user", "text": template}], fields)
    return message["content"]


def test_fields_and_braces() -> None:
    assert text("{a} {{a}} {b}", a="x", b=[1, "ü"]) == 'x {a} [1, "ü"]'


def test_a_value_cannot_pull_in_another_field() -> None:
    assert text("{question}", question="{schema} {0.__class__}", schema="s") == (
        "{schema} {0.__class__}"
    )


def test_only_plain_names_are_fields() -> None:
    assert text("{a.b} {a[0]} { a }", a=1) == "{a.b} {a[0]} { a }"


def test_missing_field_is_located() -> None:
    with pytest.raises(StepError, match="'b'") as caught:
        render([{"role": "user", "text": "{b}"}], {}, "file.py:9")
    assert caught.value.where == "file.py:9"


def words(messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Encode as tokenizers do: words of letters, single digits and marks, runs of breaks."""
    text = "".join(f"<{m['role']}>{m['content']}</>" for m in messages)
    found = re.findall(r"</>|<\w+>| ?[A-Za-z]+|\s+|.", text)
    return [hash(word) for word in found]


@pytest.mark.parametrize(
    "text", ["Question: ", "Question:", "Text", "one\n", "one\n\n", "no 1", ""]
)
@pytest.mark.parametrize("more", ["", "A", " who", "12", "\n", "?", "\n\nwho"])
def test_an_open_prompt_is_what_its_continuations_begin_with(text: str, more: str) -> None:
    def messages(content: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": "S"}, {"role": "user", "content": content}]

    found = tokens_of(words, messages(text), is_open=True)
    whole = words(messages(text + more))
    # At most the token at the seam is another, and what is common is nearly all there is.
    assert whole[: len(found) - 1] == found[:-1]
    alone = words(messages(text))[:-1]
    assert len(found) >= len(alone) - 1 and hash("</>") not in found[4:]


def test_a_complete_prompt_is_encoded_as_it_is() -> None:
    messages = [{"role": "user", "content": "one "}]
    assert tokens_of(words, messages) == words(messages)
