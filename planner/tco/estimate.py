"""What a job meets on a chosen fleet: draws of its seconds, from the load each group runs at.

An engine batches what arrives, so the batch of a group is not chosen but follows from its load
(Little's law): the mean batch b solves  b = sum of calls/s x seconds in a slot at b / (replicas
x pp). Waiting is Allen-Cunneen's with the replicas there are. The simulator's verdict replaces
these figures; they are what a search can afford.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gangline.planner.optimiser.fleet_sizing import Sizing
from gangline.planner.queueing import mean_waits_s, wait_probability

from .config import ServingConfig
from .demand import Demand
from .job_graph import sample
from .options import NETWORK_LATENCY_S, Pools
from .sizing import SizingModel

Array = npt.NDArray[np.float64]

NUM_DRAWS = 4000
"""Jobs drawn for the percentiles: the 95th then has a standard error of about 1 to 2 %."""

MIN_SHARE = 1e-6
"""Shares below are the solver's rounding."""


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """How one group of replicas runs.

    Attributes:
        replicas: how many.
        utilisation: share of its time (prefill, CPU) or of its batch slots it is busy.
        batch: mean sequences in an iteration of a replica.
    """

    group: ServingConfig
    replicas: int
    utilisation: float
    batch: float


@dataclass(frozen=True, slots=True)
class FleetEstimate:
    """Percentiles of a job on a fleet, and what they rest on.

    Attributes:
        seconds: drawn jobs, sorted.
        ttft_s, tpot_s: mean per LLM class, by name.
    """

    seconds: Array
    groups: tuple[GroupLoad, ...]
    ttft_s: Mapping[str, float]
    tpot_s: Mapping[str, float]

    def quantile(self, share: float) -> float:
        """Seconds that a share of jobs stays within."""
        return float(np.quantile(self.seconds, share))


@dataclass(frozen=True, slots=True)
class _Served:
    """One class on one group: its share, and seconds at the group's load."""

    share: float
    wait_probability: float
    wait_s: float
    prompt_s: float
    token_s: float
    transfer_s: float


@dataclass(slots=True)
class _Group:
    """Rows of the pools one group stands for, and the shares of classes it serves."""

    group: ServingConfig
    pools: Pools
    rows: npt.NDArray[np.int64]
    replicas: int
    shares: dict[int, float] = field(default_factory=dict)


def estimate(
    demand: Demand,
    pools: Sequence[Pools],
    model: SizingModel,
    sizing: Sizing,
    seed: int = 0,
    num_draws: int = NUM_DRAWS,
) -> FleetEstimate:
    """Draw jobs on a fleet; the same seed draws the same jobs."""
    groups = _groups(pools, model, sizing)
    served: dict[int, list[_Served]] = {part: [] for part in range(len(demand.parts))}
    loads = []
    first_part = _first_parts(demand)
    for group in groups:
        load = _run(group, demand, served, first_part)
        loads.append(load)
    draw = _Draw(demand, served)
    rng = np.random.default_rng(seed)
    seconds = np.sort(sample(demand.graph, draw, num_draws, rng))
    return FleetEstimate(seconds, tuple(loads), *_token_times(demand, served))


def _first_parts(demand: Demand) -> list[int]:
    found: dict[int, int] = {}
    for part, (index, _) in enumerate(demand.parts):
        found.setdefault(index, part)
    return [found[index] for index in range(len(demand.classes))]


def _groups(pools: Sequence[Pools], model: SizingModel, sizing: Sizing) -> list[_Group]:
    counts = {g: int(n) for g, n in zip(model.groups, sizing.replicas, strict=True) if n > 0}
    found: dict[ServingConfig, _Group] = {}
    for way, share in zip(model.ways, sizing.shares, strict=True):
        group = way.group
        if share <= MIN_SHARE or group not in counts:
            continue
        if group not in found:
            mine = pools[way.pools]
            found[group] = _Group(group, mine, mine.rows_of[group], counts[group])
        shares = found[group].shares
        shares[way.column] = shares.get(way.column, 0.0) + float(share)
    return list(found.values())


def _run(
    group: _Group, demand: Demand, served: dict[int, list[_Served]], first_part: list[int]
) -> GroupLoad:
    columns = np.array(list(group.shares), dtype=np.int64)
    shares = np.array(list(group.shares.values()))
    numbers = [group.pools.classes[column] for column in columns]
    rates = shares * np.array([demand.calls_per_s(number) for number in numbers])
    slots = group.pools.slots[group.rows]
    service = group.pools.service_s[np.ix_(group.rows, columns)]
    busy = (rates * service).sum(axis=1) / group.replicas
    row, utilisation = _operating_point(group.group.role, slots, busy)
    at = _Interpolated(group, columns, row)
    scv = np.array([_service_scv(group.group.role, demand, number) for number in numbers])
    servers = group.replicas * (slots[-1] if group.group.role in BATCHED else slots[int(row)])
    service_s = at.values("prefill_s" if group.group.role == "prefill" else "service_s")
    wait = mean_waits_s(servers, utilisation, service_s, scv)
    waits = float(wait_probability(servers, utilisation))
    prompt, token, moved = (at.values(name) for name in ("prefill_s", "token_s", "transfer_s"))
    for index, number in enumerate(numbers):
        entry = _Served(
            float(shares[index]), waits, float(wait[index]), float(prompt[index]),
            float(token[index]), float(moved[index]),
        )  # fmt: skip
        for part, kept in _entries(group.group.role, first_part[number], entry):
            served[part].append(kept)
    batch = float(np.interp(row, np.arange(len(slots)), slots)) / max(group.group.pp, 1)
    mean_batch = batch * (utilisation if group.group.role not in BATCHED else 1.0)
    return GroupLoad(group.group, group.replicas, utilisation, mean_batch)


BATCHED = ("decode", "colocated")
"""Roles whose slots are sequences of a batch."""


def _operating_point(role: str, slots: Array, busy: Array) -> tuple[float, float]:
    """Find where a group runs: position among its rows (fractional), and its utilisation.

    `busy` is the mean number of slots of a replica in use if it ran as each row says.
    """
    if role not in BATCHED:
        used = busy / slots
        if role == "prefill":
            # Prompts are computed together only when one by one would not keep up.
            batches = np.arange(len(slots))
            enough = np.flatnonzero(used < 0.95)
            row = int(enough[0]) if enough.size else int(batches[-1])
            return float(row), float(min(used[row], 0.999))
        return 0.0, float(min(used[0], 0.999))
    short = slots - busy  # rises with the batch until memory or the step's slope ends it
    enough = np.flatnonzero(short >= 0.0)
    if not enough.size:
        return float(len(slots) - 1), 0.999
    row = int(enough[0])
    if row == 0:
        return 0.0, float(min(busy[0] / slots[-1], 0.999))
    below, above = short[row - 1], short[row]
    position = row - 1 + float(-below / (above - below))
    occupied = float(np.interp(position, np.arange(len(slots)), slots))
    return position, min(occupied / float(slots[-1]), 0.999)


@dataclass(frozen=True, slots=True)
class _Interpolated:
    """Seconds of a group between two batch sizes."""

    group: _Group
    columns: npt.NDArray[np.int64]
    row: float

    def values(self, name: str) -> Array:
        """Seconds per class."""
        table = getattr(self.group.pools, name)[np.ix_(self.group.rows, self.columns)]
        low = int(self.row)
        high = min(low + 1, len(table) - 1)
        share = self.row - low
        return np.asarray((1.0 - share) * table[low] + share * table[high])


def _service_scv(role: str, demand: Demand, number: int) -> float:
    group = demand.classes[number]
    if role == "cpu":
        return group.seconds.scv
    return group.prompt_tokens.scv if role == "prefill" else group.output_tokens.scv


def _entries(role: str, part: int, entry: _Served) -> list[tuple[int, _Served]]:
    """Give the parts a group serves of a class, with what each of them takes."""
    share = entry.share
    if role == "decode":
        extra = max(0.0, entry.transfer_s - NETWORK_LATENCY_S)
        waited = (entry.wait_probability, entry.wait_s)
        return [(part + 1, _Served(share, *waited, 0.0, entry.token_s, extra))]
    if role == "colocated":
        first = _Served(share, entry.wait_probability, entry.wait_s, entry.prompt_s, 0.0, 0.0)
        return [(part, first), (part + 1, _Served(share, 0.0, 0.0, 0.0, entry.token_s, 0.0))]
    return [(part, entry)]


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws seconds of parts: which group, how long the wait, how many tokens."""

    demand: Demand
    served: Mapping[int, Sequence[_Served]]

    def __call__(self, part: int, count: int, rng: np.random.Generator) -> Array:
        index, phase = self.demand.parts[part]
        group = self.demand.classes[index]
        served = self.served[part]
        shares = np.cumsum([entry.share for entry in served])
        if not len(served) or shares[-1] <= 0.0:
            return np.zeros(count)
        picked = np.searchsorted(shares, rng.random(count) * shares[-1], side="right")
        picked = np.minimum(picked, len(served) - 1)
        table = np.array(
            [(e.wait_probability, e.wait_s, e.prompt_s, e.token_s, e.transfer_s) for e in served]
        )[picked]
        waits = _wait(table[:, 0], table[:, 1], rng)
        return np.asarray(waits + self._work(phase, group, table, rng) + table[:, 4])

    def _work(self, phase: str, group: object, table: Array, rng: np.random.Generator) -> Array:
        count = len(table)
        values = {
            "prefill": "prompt_tokens",
            "decode": "output_tokens",
            "cpu": "seconds",
        }[phase]
        distribution = getattr(group, values)
        drawn = rng.choice(np.array(distribution.values), count)
        if phase == "decode":
            return np.asarray(np.maximum(drawn - 1.0, 0.0) * table[:, 3])
        # Seconds grow with the work; the mean of the draws is the mean that was modelled.
        return np.asarray(table[:, 2] * drawn / max(distribution.mean, 1e-12))


def _wait(probability: Array, mean_s: Array, rng: np.random.Generator) -> Array:
    """Draw waits: none, or exponential with the mean of those that wait."""
    waits = rng.random(len(mean_s)) < probability
    mean = np.where(probability > 0.0, mean_s / np.maximum(probability, 1e-12), 0.0)
    return np.asarray(waits * rng.exponential(1.0, len(mean_s)) * mean)


def _token_times(
    demand: Demand, served: Mapping[int, Sequence[_Served]]
) -> tuple[dict[str, float], dict[str, float]]:
    ttft: dict[str, float] = {}
    tpot: dict[str, float] = {}
    for part, (index, phase) in enumerate(demand.parts):
        entries, name = served[part], demand.classes[index].name
        total = sum(entry.share for entry in entries) or 1.0
        if phase == "prefill":
            ttft[name] = sum(e.share * (e.wait_s + e.prompt_s) for e in entries) / total
        elif phase == "decode":
            tpot[name] = sum(e.share * e.token_s for e in entries) / total
    return ttft, tpot
