"""The answer to "which fleet": records that print themselves as plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gangline.ir.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Slo:
    """What a population of jobs must keep.

    Attributes:
        seconds: a share `percentile` of jobs ends within them; inf for no deadline.
        ttft_s, tpot_s: mean time to first token and between tokens of every LLM call.
    """

    seconds: float = math.inf
    percentile: float = 0.95
    ttft_s: float = math.inf
    tpot_s: float = math.inf

    def __post_init__(self) -> None:
        if not 0.0 < self.percentile < 1.0:
            raise ConfigError(
                f"An SLO of the {100 * self.percentile:g}th percentile says nothing",
                next_step="Give a percentile above 0 and below 100, for example p95=4s.",
            )
        for name in ("seconds", "ttft_s", "tpot_s"):
            value = getattr(self, name)
            if math.isnan(value) or value <= 0.0:
                raise ConfigError(
                    f"The SLO asks for {value:g} s ({name})", next_step="Give a time above 0."
                )


@dataclass(frozen=True, slots=True)
class FleetRow:
    """Replicas of one kind in a fleet.

    Attributes:
        count: devices; `replicas` of tp x pp devices each.
        usd_per_hour: of all of them.
        utilisation: share of its time or batch slots a replica is busy.
        batch: mean sequences in an iteration of a replica.
    """

    device: str
    count: int
    role: str
    tp: int
    pp: int
    replicas: int
    dtype: str
    model: str
    usd_per_hour: float
    watts: float
    utilisation: float
    batch: float


@dataclass(frozen=True, slots=True)
class FleetCost:
    """One fleet with its cost, as it stands beside others.

    Attributes:
        p50_s, p95_s: estimated here; a simulation replaces them.
        gap: how far the cost may be above the optimum, proven, relative.
        reached_s: seconds of the percentile the SLO names.
    """

    fleet: tuple[FleetRow, ...]
    usd_per_hour: float
    usd_per_1k_jobs: float
    usd_per_mtok: float
    watts: float
    kwh_per_1k_jobs: float
    p50_s: float
    p95_s: float
    reached_s: float
    gap: float
    label: str = ""

    @property
    def device_types(self) -> tuple[str, ...]:
        """Accelerator types it uses, CPUs of tool steps left out."""
        return tuple(dict.fromkeys(row.device for row in self.fleet if row.role != "cpu"))

    def in_words(self) -> str:
        """Name the fleet in a few words."""
        words = [f"{row.count} {row.device} ({row.role})" for row in self.fleet]
        return ", ".join(words) or "no devices"


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Until which price of one device type the answer stands, all other prices fixed.

    Attributes:
        usd_per_hour_now: its price.
        stays_best_until: price at which another fleet costs as much; None if at no price.
        direction: `up` (the answer uses the type, and leaves it above) or `down` (the answer
            does without it, and changes below).
        then_best: the fleet that is best beyond, in words.
    """

    device: str
    usd_per_hour_now: float
    stays_best_until: float | None
    direction: str
    then_best: str


@dataclass(frozen=True, slots=True)
class SensitivityRow:
    """What one change of an assumption does.

    Attributes:
        usd_per_hour_kept: of the same fleet under the change; None where it no longer does.
        usd_per_hour_best: of the best fleet under it; None where there is none.
        changes_fleet: whether the best fleet is then another one.
    """

    change: str
    usd_per_hour_kept: float | None
    usd_per_hour_best: float | None
    changes_fleet: bool
    fleet: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The recommended fleet and everything a reader needs to doubt it.

    Attributes:
        best: the fleet.
        baselines: `best_single_type` (one accelerator type) and `greedy` (each class on its own).
        runners_up: the best fleets that do without one of the answer's types.
        usd_per_hour_per_ms: what the next millisecond of the SLO saves, USD/h; 0 if not binding.
        budget_s: mean seconds of a job the fleet was sized for, so that the percentile holds.
        searched: counts of device types, pools and ordered pairs.
        prices: terms of the price of every type in the answer.
    """

    workflow: str
    jobs_per_s: float
    slo: Slo
    best: FleetCost
    ttft_s: Mapping[str, float]
    tpot_s: Mapping[str, float]
    sentence: str
    budget_s: float
    usd_per_hour_per_ms: float = 0.0
    baselines: Mapping[str, FleetCost | None] = field(default_factory=dict)
    runners_up: tuple[FleetCost, ...] = ()
    break_even: tuple[BreakEven, ...] = ()
    sensitivity: tuple[SensitivityRow, ...] = ()
    searched: Mapping[str, int] = field(default_factory=dict)
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Give the answer as plain JSON; what is infinite is null."""
        document = {
            "workflow": self.workflow,
            "jobs_per_s": self.jobs_per_s,
            "slo": asdict(self.slo),
            **asdict(self.best),
            "ttft_s": dict(self.ttft_s),
            "tpot_s": dict(self.tpot_s),
            "sentence": self.sentence,
            "budget_s": self.budget_s,
            "usd_per_hour_per_ms": self.usd_per_hour_per_ms,
            "baselines": {
                name: None if cost is None else asdict(cost)
                for name, cost in self.baselines.items()
            },
            "runners_up": [asdict(cost) for cost in self.runners_up],
            "break_even": [asdict(row) for row in self.break_even],
            "sensitivity": [asdict(row) for row in self.sensitivity],
            "searched": dict(self.searched),
            "prices": {name: dict(terms) for name, terms in self.prices.items()},
        }
        found: dict[str, Any] = _finite(document)
        return found


def _finite(value: Any) -> Any:
    """Write infinity as null, tuples as lists."""
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
