"""Passwords are masked, the rest of a URL stays."""

from __future__ import annotations

import pytest

from gangline.runtime.redact import redact, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pw@host/db", "postgresql://me:***@host/db"),
        ("a postgres://u:p@ss:w@h:5432/d b", "a postgres://u:***@h:5432/d b"),
        ("postgresql://host/db?password=pw&x=1", "postgresql://host/db?password=***&x=1"),
        ('{"db": "postgresql://u:p\\\\"w@h/d"}', '{"db": "postgresql://u:***@h/d"}'),
        ("postgresql://u:p/w@h/d", "postgresql://u:***@h/d"),
        ("host=h password=pw user=u", "host=h password=*** user=u"),
        ('{"db": "host=h password=\'p w\'"}', '{"db": "host=h password=***"}'),
        ("https://host:80/x@y", "https://host:80/x@y"),
        ("SELECT ':a@b'", "SELECT ':a@b'"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown
    assert redacted(shown) == (text != shown)
