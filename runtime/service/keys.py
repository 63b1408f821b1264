"""API keys: made once, shown once, kept as a hash."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .tenant import Quota

PREFIX = "gl-"
"""Begins every key, so that a leaked one can be recognised by scanners."""


def new_key() -> str:
    """Make a key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """Give the hex blake2b-256 of a key: enough without salt for 256 random bits."""
    return hashlib.blake2b(key.encode(errors="replace"), digest_size=32).hexdigest()


def quota_to_json(quota: Quota) -> dict[str, float]:
    """Give a quota as JSON; what is not limited is left out."""
    return {name: value for name, value in asdict(quota).items() if value != getattr(Quota(), name)}


def quota_from_json(data: Mapping[str, Any]) -> Quota:
    """Rebuild a quota from `quota_to_json`; ValueError for a limit that is no amount."""
    quota = Quota(**{name: float(value) for name, value in data.items()})
    if not all(value >= 0.0 for value in asdict(quota).values()) or quota.weight <= 0.0:
        raise ValueError("a quota's limits must not be negative, and its weight above 0")
    return quota
