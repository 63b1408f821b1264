"""Correct estimates by what was measured: ratios of actual to modelled seconds.

Ratios are kept as logarithms. A bucket is one device type, op and model at one size of work. Its correction is the median of its
newest runs, weighted so that half of the weight is on the last few, and shrunk towards the
correction of its model on that device, which in turn is shrunk towards that of the op on that
device. So a shape never run profits from its neighbours, a drifting device is followed, and one
run that went astray moves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gangline.ir.errors import ConfigError

from .profile import NORMAL_95

MAX_RUNS = 48
"""Runs kept per bucket; older ones would carry 2 % of the weight."""

HALF_LIFE = 8.0
"""Runs after which a run counts half."""

PRIOR_RUNS = 0.5
"""Weight of the parent's correction, in runs: two runs of its own outweigh it four to one."""

PRIOR_SPREAD = math.log(1.6)
"""Half width of the 90 % interval, as a logarithm, that one run is trusted with."""

MIN_SPREAD = math.log(1.1)
"""A 90 % interval is never narrower than x/÷ this: runs differ more than a few of them show."""

MAD_TO_90 = 1.4826 * NORMAL_95
"""From the median absolute deviation to the half width of a normal's 90 % interval."""

VERSION = 1


@dataclass(frozen=True, slots=True)
class Key:
    """What a correction belongs to; an empty `bucket` or `model` means all of them."""

    device: str
    op: str
    model: str = ""
    bucket: str = ""

    @property
    def parents(self) -> tuple[Key, ...]:
        """Give the wider keys, the nearest first."""
        return (Key(self.device, self.op, self.model), Key(self.device, self.op))


def bucket_of(new: float, context: float, batch: float) -> str:
    """Name the size of some work: tokens and context by powers of 4, batch by powers of 2.

    Args:
        new: tokens computed or said.
        context: tokens that were in the cache before.
        batch: sequences that shared a step.
    """
    return f"t{_power(new, 4)} c{_power(context, 4)} b{_power(batch, 2)}"


def _power(value: float, base: int) -> int:
    """Give the largest power of `base` that is at most the value; 0 below 1."""
    power = 1 if value >= 1.0 else 0
    # Invariant: `power` is 0, or a power of `base` that is at most the value.
    while 0 < power * base <= value < math.inf:
        power *= base
    return power


@dataclass(frozen=True, slots=True)
class Run:
    """One measured execution.

    Attributes:
        ratio: logarithm of actual over modelled seconds.
        missed: logarithm of actual over what the calibration of that time predicted; None
            where it knew nothing of the device and op.
    """

    ratio: float
    missed: float | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """A factor on modelled seconds, with a 90 % interval of actual over corrected seconds."""

    factor: float
    low: float
    high: float
    num_runs: int


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """Median of |predicted - actual| / actual over recorded runs, before and after correction.

    Every run was predicted from the runs before it only; runs that nothing was known for are
    left out of both figures.
    """

    device: str
    op: str
    model: str
    num_runs: int
    before: float
    after: float


@dataclass(frozen=True)
class Calibration:
    """Measured runs by bucket, oldest first. Immutable: `observed` gives a new one."""

    runs: Mapping[Key, tuple[Run, ...]] = field(default_factory=dict)

    @cached_property
    def _cached(self) -> dict[Key, tuple[Run, ...]]:
        return {}

    @cached_property
    def _known(self) -> dict[Key, tuple[float, float, float]]:
        return {}

    def correction(self, key: Key) -> Correction | None:
        """Give the correction of a bucket; None where nothing of its device and op was run."""
        if not self._of(key.parents[-1]):
            return None
        level, spread, _ = self._level(key)
        runs = self._of(key) or self._of(key.parents[0]) or self._of(key.parents[1])
        return Correction(math.exp(level), math.exp(-spread), math.exp(spread), len(runs))

    def _of(self, key: Key) -> tuple[Run, ...]:
        """Give the runs of a key; those of a wider one are of all its buckets, newest last."""
        if key.bucket:
            return self.runs.get(key, ())
        if key not in self._cached:
            aged = (
                (age - len(runs), run)
                for own, runs in self.runs.items()
                if key in own.parents
                for age, run in enumerate(runs)
            )
            newest = sorted(aged, key=lambda row: row[0])[-MAX_RUNS:]
            self._cached[key] = tuple(run for _, run in newest)
        return self._cached[key]

    def _level(self, key: Key) -> tuple[float, float, float]:
        """Give (log correction, log half width, weight) of a key, shrunk towards its parent."""
        if key not in self._known:
            self._known[key] = self._shrunk(key)
        return self._known[key]

    def _shrunk(self, key: Key) -> tuple[float, float, float]:
        runs = self._of(key)
        parent = (0.0, PRIOR_SPREAD, 0.0)
        if key.model:
            parent = self._level(Key(key.device, key.op, key.model if key.bucket else ""))
        if not runs:
            return parent
        weights = decayed(len(runs))
        total = sum(weights)
        # With no parent that knows anything there is nothing to shrink to.
        prior = PRIOR_RUNS if key.model else 0.0
        own = weighted_median([run.ratio for run in runs], weights)
        level = (total * own + prior * parent[0]) / (total + prior)
        off = _half_width([abs(run.ratio - own) for run in runs], weights, mixed=not key.bucket)
        spread = (total * off + PRIOR_RUNS * PRIOR_SPREAD) / (total + PRIOR_RUNS)
        return level, max(spread, MIN_SPREAD), total

    def observed(self, measured: Iterable[tuple[Key, float, float]]) -> Calibration:
        """Add runs as (bucket, actual seconds, modelled seconds); zeros are left out."""
        found = self
        for key, actual_s, modelled_s in measured:
            if not (0.0 < actual_s < math.inf and 0.0 < modelled_s < math.inf):
                continue
            ratio = math.log(actual_s / modelled_s)
            known = found.correction(key)
            missed = None if known is None else ratio - math.log(known.factor)
            runs = (*found.runs.get(key, ()), Run(ratio, missed))[-MAX_RUNS:]
            found = Calibration({**found.runs, key: runs})
        return found

    @classmethod
    def of(cls, measured: Iterable[tuple[Key, float, float]]) -> Calibration:
        """Make a calibration from runs without asking how well it would have predicted them."""
        found: dict[Key, list[Run]] = {}
        for key, actual_s, modelled_s in measured:
            if 0.0 < actual_s < math.inf and 0.0 < modelled_s < math.inf:
                found.setdefault(key, []).append(Run(math.log(actual_s / modelled_s)))
        return cls({key: tuple(runs[-MAX_RUNS:]) for key, runs in found.items()})

    def without(self, keys: Iterable[Key]) -> Calibration:
        """Leave out all buckets of some (device, op, model) keys."""
        gone = set(keys)
        kept = {key: runs for key, runs in self.runs.items() if key.parents[0] not in gone}
        return Calibration(kept)

    def joined(self, other: Calibration) -> Calibration:
        """Add what another calibration knows of models that this one has no runs of."""
        here = {key.parents[0] for key in self.runs}
        return Calibration({**other.without(here).runs, **self.runs})

    def errors(self) -> tuple[ErrorReport, ...]:
        """Report the error before and after correction, by device, op and model."""
        groups: dict[Key, list[Run]] = {}
        for key, runs in self.runs.items():
            groups.setdefault(key.parents[0], []).extend(runs)
        reports = (_report(key, runs) for key, runs in sorted(groups.items(), key=_order))
        return tuple(report for report in reports if report.num_runs)

    def to_json(self) -> dict[str, Any]:
        """Give the calibration as plain JSON (schema: docs/schemas/calibration.json)."""
        return {"version": VERSION, "buckets": [_to_json(*item) for item in self.runs.items()]}

    @classmethod
    def from_json(cls, data: Any) -> Calibration:
        """Rebuild a calibration from `to_json`; ConfigError says what is wrong with it."""
        if not isinstance(data, Mapping) or data.get("version") != VERSION:
            raise ConfigError(
                f"The calibration is not of version {VERSION}",
                next_step="Run `gangline calibrate` again.",
            )
        try:
            return cls(dict(_from_json(row) for row in data["buckets"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(
                f"The calibration is damaged: {error}", next_step="Run `gangline calibrate` again."
            ) from None


def _order(item: tuple[Key, Any]) -> tuple[str, str, str]:
    return (item[0].device, item[0].op, item[0].model)


def _report(key: Key, runs: Sequence[Run]) -> ErrorReport:
    known = [(run.ratio, run.missed) for run in runs if run.missed is not None]
    # Predicted over actual is the inverse of the ratio.
    before = sorted(abs(math.expm1(-ratio)) for ratio, _ in known)
    after = sorted(abs(math.expm1(-missed)) for _, missed in known)
    middle = [_median(values) for values in (before, after)]
    return ErrorReport(key.device, key.op, key.model, len(known), *middle)


def _median(values: Sequence[float]) -> float:
    return weighted_median(list(values), [1.0] * len(values)) if values else 0.0


def decayed(count: int) -> list[float]:
    """Give the weights of so many runs, the newest (weight 1) last."""
    return [0.5 ** (age / HALF_LIFE) for age in range(count - 1, -1, -1)]


def _half_width(off: Sequence[float], weights: Sequence[float], mixed: bool) -> float:
    """Give the half width of a 90 % interval from distances to the middle.

    Runs of one bucket differ by noise, whose tail a few outliers must not set; runs of several
    buckets differ by size, and a bucket never run may be like any of them.
    """
    if mixed:
        return weighted_quantile(off, weights, 0.9)
    return MAD_TO_90 * weighted_median(off, weights)


def weighted_median(values: Sequence[float], weights: Sequence[float]) -> float:
    """Give the value with half of the weight on either side (between two that share the middle)."""
    return weighted_quantile(values, weights, 0.5)


def weighted_quantile(values: Sequence[float], weights: Sequence[float], share: float) -> float:
    """Give the value that `share` of the weight is at or below (between two at the border)."""
    rows = sorted(zip(values, weights, strict=True))
    wanted, passed = share * sum(weights), 0.0
    # Invariant: `passed` is the weight of the values up to and with `value`.
    for index, (value, weight) in enumerate(rows):
        passed += weight
        if abs(passed - wanted) <= 1e-12 * wanted and index + 1 < len(rows):
            return 0.5 * (value + rows[index + 1][0])
        if passed > wanted:
            return value
    return rows[-1][0]


def _to_json(key: Key, runs: Sequence[Run]) -> dict[str, Any]:
    names = {"device": key.device, "op": key.op, "model": key.model, "bucket": key.bucket}
    rows = [{"log_ratio": run.ratio, "log_missed": run.missed} for run in runs]
    return {**names, "runs": rows}


def _from_json(row: Mapping[str, Any]) -> tuple[Key, tuple[Run, ...]]:
    key = Key(*(str(row[name]) for name in ("device", "op", "model", "bucket")))
    return key, tuple(_runs(row["runs"]))[-MAX_RUNS:]


def _runs(rows: Iterable[Mapping[str, Any]]) -> Iterator[Run]:
    for row in rows:
        ratio, missed = float(row["log_ratio"]), row["log_missed"]
        if not math.isfinite(ratio):
            raise ValueError(f"log_ratio is {ratio}")
        yield Run(ratio, None if missed is None else float(missed))
