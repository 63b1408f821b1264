"""Label values from outside, bounded: what is one too many is called `other`."""

from __future__ import annotations

OTHER = "other"


class Labels:
    """The first `most` values are themselves, all later ones `other`.

    Every new label value is a new time series that a Prometheus server keeps for weeks, so what
    callers choose must not be able to make any number of them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._known:
            return value
        if len(self._known) >= self._most:
            return OTHER
        self._known.add(value)
        return value
