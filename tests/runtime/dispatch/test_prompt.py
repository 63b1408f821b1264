"""Prompts: fields are filled once, and never from within a value."""

from __future__ import annotations

import pytest

from gangline.ir.errors import StepError
from gangline.runtime.dispatch.prompt import render


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
