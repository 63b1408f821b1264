"""Label values: bounded where they come from outside, and found fast."""

from __future__ import annotations

from typing import Generic, TypeVar

from prometheus_client import Counter, Gauge, Histogram

Kind = TypeVar("Kind", Counter, Gauge, Histogram)

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


class Series(Generic[Kind]):
    """The series of one metric by their label values; what the library finds slowly is kept."""

    def __init__(self, metric: Kind) -> None:
        self._metric: Kind = metric
        self._made: dict[tuple[str, ...], Kind] = {}

    def labels(self, *values: str) -> Kind:
        """Give the series of some label values."""
        found = self._made.get(values)
        if found is None:
            found = self._made[values] = self._metric.labels(*values)
        return found
