"""How long a failed step waits before it is tried again."""

from __future__ import annotations

import hashlib

BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0


def backoff_s(attempt: int, key: str) -> float:
    """Give the seconds to wait after the attempt of this number failed.

    Half of 0.5, 1, 2, ... 30 s and up to as much again, so that steps which failed together do
    not come back together. The share is a hash of `key` (job and step) and the attempt: a
    replayed job waits as long as it did.
    """
    whole = min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** min(attempt - 1, 16))
    digest = hashlib.blake2b(f"{key}/{attempt}".encode(), digest_size=8).digest()
    return whole * (0.5 + int.from_bytes(digest) / 2**65)
