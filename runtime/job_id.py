"""Job ids: time-sortable, like UUID version 7."""

from __future__ import annotations

import os
import uuid

_SIZE, _AT_ONCE = 10, 256
_noise: list[bytes] = []
os.register_at_fork(after_in_child=_noise.clear)  # or parent and child would draw the same ids


def new_job_id(now_s: float) -> str:
    """Make an id that nobody else has, for a job that begins at `now_s`. From any thread."""
    try:
        noise = _noise.pop()
    except IndexError:
        many = os.urandom(_SIZE * _AT_ONCE)  # each call costs, whatever its size
        noise, *rest = (many[at : at + _SIZE] for at in range(0, len(many), _SIZE))
        _noise.extend(rest)
    return job_id(now_s, noise)


def job_id(now_s: float, random_bytes: bytes) -> str:
    """Make an id from a time (seconds since the epoch) and 10 random bytes (RFC 9562, v7)."""
    if len(random_bytes) != 10:
        raise ValueError("a job id needs 10 random bytes")
    milliseconds = int(now_s * 1000) & ((1 << 48) - 1)
    noise = int.from_bytes(random_bytes, "big")
    high, low = (noise >> 68) & 0xFFF, noise & ((1 << 62) - 1)
    value = milliseconds << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    return str(uuid.UUID(int=value))
