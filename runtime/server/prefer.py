"""The Prefer header (RFC 7240): how long a caller would wait for a job."""

from __future__ import annotations

import re

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9})\"?(?=$|[,;\s])", re.IGNORECASE)


def wait_s(prefer: str, most_s: float) -> float | None:
    """Give the seconds of `Prefer: wait=N`, cut to `most_s`; None where it is not asked for.

    What cannot be read is ignored, as the RFC wants it: a preference is no condition.
    """
    found = _WAIT.search(prefer)
    return min(float(found[1]), most_s) if found else None
