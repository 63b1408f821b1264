"""Secrets are taken out of whatever is stored or shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK = "***"

_USERINFO = re.compile(r'([A-Za-z][A-Za-z0-9+.\-]*://[^\s:/@"]*):(?:\\"|[^\s/"])+@')
# A password may hold a slash by mistake: nothing but a blank or a quote ends it here.
_POSTGRES = re.compile(r'(postgres(?:ql)?://[^\s:/@"]*):(?:\\"|[^\s"])+@')
_QUERY = re.compile(
    r'([?&;](?:password|passwd|pwd|sslpassword|api_key|token)=)[^&\s"\\]+', re.IGNORECASE
)
_KEYWORD = re.compile(r"((?<![A-Za-z0-9_])(?:ssl)?password=)(?:'[^'\"]*'|[^&\s'\"\\]+)")


def redact(text: str) -> str:
    """Mask passwords of URLs and of connection strings, in plain text or in JSON.

    Forms: `scheme://user:password@host`, `?password=...`, `host=... password=...`.
    """
    if "password=" in text:
        text = _KEYWORD.sub(rf"\1{MASK}", text)
    if "://" not in text:
        return text
    text = _POSTGRES.sub(rf"\1:{MASK}@", text)
    return _QUERY.sub(rf"\1{MASK}", _USERINFO.sub(rf"\1:{MASK}@", text))


def redacted(text: str) -> bool:
    """Say whether a text has had a password masked by `redact`."""
    return f":{MASK}@" in text or f"={MASK}" in text


def masked_input(inputs: Mapping[str, object]) -> str | None:
    """Name the first input that had a password masked; None if none has."""
    for name, value in inputs.items():
        if isinstance(value, str) and redacted(value):
            return name
    return None
