"""Job ids: time-sortable, like UUID version 7."""

from __future__ import annotations

import uuid


def job_id(now_s: float, random_bytes: bytes) -> str:
    """Make an id from a time (seconds since the epoch) and 10 random bytes (RFC 9562, v7)."""
    if len(random_bytes) != 10:
        raise ValueError("a job id needs 10 random bytes")
    milliseconds = int(now_s * 1000) & ((1 << 48) - 1)
    noise = int.from_bytes(random_bytes, "big")
    high, low = (noise >> 68) & 0xFFF, noise & ((1 << 62) - 1)
    value = milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    return str(uuid.UUID(int=value))
