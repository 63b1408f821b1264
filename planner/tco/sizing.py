"""From evaluated pools and a market to a sizing problem: cut to the front, number, state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from gangline.planner.optimiser.fleet_sizing import (
    Entries,
    FleetProblem,
    Tier,
)

from .config import ServingConfig
from .demand import Demand
from .job_graph import LatencyRows
from .market import Market
from .options import NETWORK_LATENCY_S, Pools
from .pareto import pareto_front

Array = npt.NDArray[np.float64]

SECONDS_TOLERANCE = 0.05
"""A pool that is less than 5 % faster than another, and no better otherwise, is not kept."""

WORTH_FACTOR = 2.0
"""How much dearer than whole replicas of another pool a way may be (see `worth_it`)."""

MAX_COMPARED = 6
"""Classes of a model by which pools are compared; of more, some of each size are taken."""

NEVER = 1e30
"""Stands for what a pool cannot serve, when pools are compared."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a fleet must keep.

    Attributes:
        budget_s: seconds of a job along its longest path, each term with one standard deviation
            added (`Pools.first_path_s`); inf for none.
        ttft_s, tpot_s: mean time to first token and between tokens of every LLM call, at load.
        max_usd_per_hour, max_watts: of the whole fleet.
        usd_weight, usd_per_kwh: objective: usd_weight USD/h + usd_per_kwh x kW.
    """

    budget_s: float = math.inf
    ttft_s: float = math.inf
    tpot_s: float = math.inf
    max_usd_per_hour: float = math.inf
    max_watts: float = math.inf
    usd_weight: float = 1.0
    usd_per_kwh: float = 0.0


@dataclass(frozen=True, slots=True)
class Way:
    """One column: a class (by number) served by a pool, in whole or for one phase.

    `group` is the kind of replica, `pools`, `row` and `column` say where its figures are.
    """

    served: int
    config: ServingConfig
    group: ServingConfig
    pools: int
    row: int
    column: int


@dataclass(slots=True)
class SizingModel:
    """A problem, and what its numbers stand for.

    Replicas that differ in their load only are one group: the engine batches what arrives, and
    the estimate of a fleet finds the load each group then runs at.
    """

    problem: FleetProblem
    ways: list[Way]
    groups: list[ServingConfig]
    device_names: list[str]

    @property
    def serves_all(self) -> bool:
        """Whether every part of the demand has a way to be served."""
        return len(set(self.problem.covers.row.tolist())) == self.problem.num_parts


@dataclass(slots=True)
class _Builder:
    demand: Demand
    market: Market
    limits: Limits
    devices: dict[str, int] = field(default_factory=dict)
    groups: dict[ServingConfig, int] = field(default_factory=dict)
    ways: list[Way] = field(default_factory=list)
    covers: list[tuple[int, int, float]] = field(default_factory=list)
    loads: list[tuple[int, int, float]] = field(default_factory=list)
    balances: list[tuple[int, int, float]] = field(default_factory=list)
    balance_rows: dict[tuple[int, str], int] = field(default_factory=dict)
    first_part: list[int] = field(default_factory=list)

    def add_pools(self, number: int, pools: Pools) -> None:
        """Add the ways of one model (or of the CPU steps) that are worth choosing."""
        least = {name: self._usd(name) for name in self.market.devices}
        usd = np.array([config.size * least[config.device] for config in pools.configs])
        allowed = np.isfinite(usd)[:, None] & np.isfinite(pools.load) & self._in_time(pools)
        limited = self._limited()
        # What is in stock may be free, but a replica of eight still takes eight of them.
        devices = np.array([float(config.size) for config in pools.configs])
        stocked = np.array([config.device in limited for config in pools.configs], dtype=bool)
        watts, limits = self._watts(pools), self.limits
        there = np.isfinite(usd)
        cost = limits.usd_weight * np.where(there, usd, 0.0) + limits.usd_per_kwh * watts / 1000.0
        cost = np.where(there, cost, np.inf)
        columns = [np.where(stocked, devices, cost)]
        # Where a limit binds, a replica that costs more may be had for less of what is limited.
        if math.isfinite(limits.max_watts):
            columns.append(watts)
        if math.isfinite(limits.max_usd_per_hour) and limits.usd_per_kwh > 0.0:
            columns.append(np.where(stocked, devices, usd))
        kept = kept_rows(pools, np.stack(columns, axis=1), allowed, limited)
        worth = worth_it(pools, cost, allowed & kept[:, None], limited)
        for column, group in enumerate(pools.classes):
            for row in np.flatnonzero(worth[:, column]):
                self._add(number, pools, int(row), column, group)

    def _usd(self, name: str) -> float:
        """Give the least price a device type is offered at; inf where it is not."""
        offers = self.market.offers.get(name, ())
        return min((offer.usd_per_hour for offer in offers if offer.limit > 0), default=math.inf)

    def _limited(self) -> frozenset[str]:
        """Device types with a stock: a way on another type may not replace one on them."""
        return frozenset(
            name
            for name, offers in self.market.offers.items()
            if any(math.isfinite(offer.limit) for offer in offers)
        )

    def _watts(self, pools: Pools) -> Array:
        return np.array(
            [self.market.devices[config.device].tdp_w * config.size for config in pools.configs]
        )

    def _in_time(self, pools: Pools) -> npt.NDArray[np.bool_]:
        """Keep the ways that hold the limits on TTFT and TPOT."""
        roles = np.array([config.role for config in pools.configs])[:, None]
        first = (pools.first_s <= self.limits.ttft_s) | (roles == "decode") | (roles == "cpu")
        token = (pools.token_s <= self.limits.tpot_s) | (roles == "prefill") | (roles == "cpu")
        return np.asarray(first & token)

    def _add(self, number: int, pools: Pools, row: int, column: int, group: int) -> None:
        config = pools.configs[row]
        way = len(self.ways)
        self.ways.append(Way(group, config, pools.groups[row], number, row, column))
        pool = self.groups.setdefault(pools.groups[row], len(self.groups))
        self.devices.setdefault(config.device, len(self.devices))
        self.loads.append((pool, way, float(pools.load[row, column])))
        part = self.first_part[group]
        for phase, seconds in way_seconds(pools, row, column):
            offset = 1 if phase == "decode" else 0
            self.covers.append((part + offset, way, seconds))
        if config.role in ("prefill", "decode"):
            # What is prefilled in a format is decoded in it: the caches must be alike.
            key = (group, config.dtype)
            balance = self.balance_rows.setdefault(key, len(self.balance_rows))
            self.balances.append((balance, way, 1.0 if config.role == "prefill" else -1.0))

    def problem(self, graph_rows: LatencyRows) -> FleetProblem:
        """State what was added."""
        names = list(self.devices)
        groups = list(self.groups)
        paths = graph_rows.paths(self.limits.budget_s)
        return FleetProblem(
            num_parts=len(self.demand.parts),
            covers=Entries.of(self.covers),
            loads=Entries.of(self.loads),
            pool_device=np.array([self.devices[group.device] for group in groups], dtype=np.int64),
            pool_size=np.array([float(group.size) for group in groups]),
            watts=np.array([self.market.devices[name].tdp_w for name in names]),
            tiers=tuple(
                Tier(index, offer.usd_per_hour, offer.limit)
                for index, name in enumerate(names)
                for offer in self.market.offers[name]
            ),
            balances=Entries.of(self.balances) if self.balances else None,
            paths=paths,
            max_usd_per_hour=self.limits.max_usd_per_hour,
            max_watts=self.limits.max_watts,
            usd_weight=self.limits.usd_weight,
            watt_weight=self.limits.usd_per_kwh / 1000.0,
        )


def way_seconds(pools: Pools, row: int, column: int) -> Sequence[tuple[str, float]]:
    """Give the phases a way serves, with the seconds a deadline counts for them.

    The transfer of the cache is charged to the prefill's side at its link, and what a slower
    link of the decode's side adds to the decode: never less than the slower of the two takes.
    """
    role = pools.configs[row].role
    first = float(pools.first_path_s[row, column])
    rest = float(pools.rest_path_s[row, column])
    transfer = float(pools.transfer_s[row, column])
    if role == "cpu":
        return (("cpu", first),)
    if role == "prefill":
        return (("prefill", first + transfer),)
    if role == "decode":
        return (("decode", rest + max(0.0, transfer - NETWORK_LATENCY_S)),)
    return (("prefill", first), ("decode", rest))


def kept_rows(
    pools: Pools,
    prices: Array,
    allowed: npt.NDArray[np.bool_],
    limited: frozenset[str],
) -> npt.NDArray[np.bool_]:
    """Tell which pools are worth having; all classes of a model may then use them.

    A pool goes only if another one needs no more replicas for any class, at no higher price
    (and power) of a replica, and is no slower: whatever a fleet does with the first, whole
    replicas counted, it can do with the second for no more. Cost per unit of work alone would
    not do: two large replicas may cost more than three small ones that are dearer per token.
    Pools that prefill (or decode) in one format compete among themselves, as do those on a
    device type of which there is a stock.

    Args:
        prices: of a replica, [pools, criteria]: its part of the objective (of types with a stock,
            which compete among themselves: devices), then what is limited besides.
    """
    keys = [
        (config.role, config.dtype, config.device if config.device in limited else "")
        for config in pools.configs
    ]
    load = np.where(allowed, pools.load, NEVER)
    columns = _typical(load)
    kept = np.zeros(len(keys), dtype=bool)
    members: dict[tuple[str, str, str], list[int]] = {}
    for index in np.flatnonzero(allowed.any(axis=1)):
        members.setdefault(keys[index], []).append(int(index))
    for (role, _, _), listed in members.items():
        rows = np.array(listed)
        seconds = _seconds(pools, rows, role)
        seconds = np.where(allowed[rows], seconds, NEVER)[:, columns]
        criteria = np.concatenate([prices[rows], load[np.ix_(rows, columns)], seconds], axis=1)
        tolerance = np.zeros(criteria.shape[1])
        tolerance[-len(columns) :] = SECONDS_TOLERANCE
        kept[rows[pareto_front(criteria, tolerance)]] = True
    return kept


def worth_it(
    pools: Pools, cost: Array, allowed: npt.NDArray[np.bool_], limited: frozenset[str]
) -> npt.NDArray[np.bool_]:
    """Tell which of the allowed [pools, classes] a class would ever use.

    A pool is not worth it for a class if its share of replicas alone costs more than
    `WORTH_FACTOR` times what whole replicas of a pool cost that is no slower, of the same role
    and format, and of which there is any number: no fleet that sends more than 1 in
    `WORTH_FACTOR` calls of the class there can be the cheapest.
    """
    worth = allowed.copy()
    free = np.array([config.device not in limited for config in pools.configs])
    keys = np.array([f"{config.role} {config.dtype}" for config in pools.configs])
    for key in dict.fromkeys(keys.tolist()):
        rows = np.flatnonzero((keys == key) & allowed.any(axis=1))
        if not rows.size:
            continue
        seconds = _seconds(pools, rows, key.split(" ")[0])
        for column in range(len(pools.classes)):
            mine = rows[allowed[rows, column]]
            order = np.argsort(seconds[allowed[rows, column], column], kind="stable")
            mine = mine[order]
            load = pools.load[mine, column]
            whole = np.where(free[mine], cost[mine] * np.maximum(load, 1.0), np.inf)
            # Invariant: `cheapest` is the least whole cost of this pool and all that are faster.
            cheapest = np.minimum.accumulate(whole) if whole.size else whole
            worth[mine, column] = free[mine] & (cost[mine] * load <= WORTH_FACTOR * cheapest)
            worth[mine, column] |= ~free[mine]
    return worth


def _typical(load: Array) -> npt.NDArray[np.int64]:
    """Choose the classes that pools are compared by: all, or some of each size."""
    count = load.shape[1]
    if count <= MAX_COMPARED:
        return np.arange(count)
    order = np.argsort(np.median(load, axis=0))
    return np.asarray(order[np.linspace(0, count - 1, MAX_COMPARED).astype(int)])


def _seconds(pools: Pools, rows: npt.NDArray[np.int64], role: str) -> Array:
    """Seconds at load that a role adds to calls, [rows, classes]."""
    if role == "decode":
        return np.asarray(pools.rest_path_s[rows])
    first = np.asarray(pools.first_path_s[rows])
    return first if role in ("prefill", "cpu") else np.asarray(first + pools.rest_path_s[rows])


def sizing_model(
    demand: Demand,
    pools: Sequence[Pools],
    market: Market,
    limits: Limits,
    graph_rows: LatencyRows,
) -> SizingModel:
    """State the sizing problem of a demand on a market."""
    builder = _Builder(demand, market, limits)
    part = 0
    for group in demand.classes:
        builder.first_part.append(part)
        part += len(group.phases)
    for number, found in enumerate(pools):
        builder.add_pools(number, found)
    return SizingModel(
        builder.problem(graph_rows), builder.ways, list(builder.groups), list(builder.devices)
    )


def with_budget(model: SizingModel, budget_s: float) -> SizingModel:
    """Give the same problem with another limit on the seconds of a job's longest path."""
    assert model.problem.paths is not None
    paths = replace(model.problem.paths, deadline_s=budget_s)
    return replace(model, problem=replace(model.problem, paths=paths))


def unserved(demand: Demand, model: SizingModel) -> Mapping[int, str]:
    """Give the parts that no way serves: part number -> class name and phase."""
    covered = set(model.problem.covers.row.tolist())
    return {
        part: f"{demand.classes[group].name} ({phase})"
        for part, (group, phase) in enumerate(demand.parts)
        if part not in covered
    }
