"""Secrets are taken out of whatever is stored or shown."""

from __future__ import annotations

import re

MASK = "***"

_USERINFO = re.compile(r'([A-Za-z][A-Za-z0-9+.\-]*://[^\s:/@"]*):[^\s/"]+@')
_QUERY = re.compile(
    r'([?&;](?:password|passwd|pwd|sslpassword|api_key|token)=)[^&\s"\\]+', re.IGNORECASE
)


def redact(text: str) -> str:
    """Mask passwords of URLs (`scheme://user:password@host`, `?password=...`)."""
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\1{MASK}", _USERINFO.sub(rf"\1:{MASK}@", text))


def redacted(text: str) -> bool:
    """Say whether a text has had a password masked by `redact`."""
    return f":{MASK}@" in text or f"={MASK}" in text
