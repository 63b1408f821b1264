"""Watts a fleet is expected to draw, beside the thermal design power it may draw at most.

Busy time is priced by the linear power model of `costs/energy.py` at the batch the replicas run
at, the rest by its idle floor. Devices only: host, network and cooling are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from gangline.ir.specs.device import DeviceSpec
from gangline.planner.costs.energy import IDLE_SHARE, idle_watts
from gangline.planner.costs.shape import find_shape
from gangline.planner.engine_times import EngineTimes, fitted_times

from .config import ServingConfig
from .demand import Demand, DemandClass
from .estimate import GroupLoad
from .market import Market
from .search import Candidate, Search


def expected_watts(
    search: Search,
    market: Market,
    candidate: Candidate,
    busy: Mapping[ServingConfig, float] | None = None,
) -> tuple[tuple[str, str, float], ...]:
    """Give (device, role, watts of all its replicas) of every kind of replica.

    Args:
        busy: share of time the replicas of a kind were busy, as simulated.
    """
    seen = busy or {}
    found = []
    for load in candidate.estimate.groups:
        group = load.group
        spec = market.devices[group.device]
        share = seen.get(group, _busy(load))
        watts = load.replicas * (
            _cpu(spec, share)
            if group.role == "cpu"
            else _engine(search, spec, load, min(share, 1.0))
        )
        found.append((group.device, group.role, watts))
    return tuple(found)


def _busy(load: GroupLoad) -> float:
    """Share of time with work: sequences that decode are about Poisson in number."""
    if load.group.role in ("cpu", "prefill"):
        return load.utilisation
    return 1.0 - math.exp(-load.batch)


def _cpu(spec: DeviceSpec, share: float) -> float:
    return spec.tdp_w * (IDLE_SHARE + (1.0 - IDLE_SHARE) * min(share, 1.0))


def _engine(search: Search, spec: DeviceSpec, load: GroupLoad, share: float) -> float:
    group, shapes = load.group, search.options.shapes
    shape = shapes[group.model] if group.model in shapes else find_shape(group.model)
    times = fitted_times(spec, shape, group.tp, group.pp, group.dtype)
    idle = group.size * idle_watts(spec)
    return share * max(_working(search.demand, load, times), idle) + (1.0 - share) * idle


def _working(demand: Demand, load: GroupLoad, times: EngineTimes) -> float:
    """Watts of one replica while it computes, at the mean shape of its model's calls."""
    calls = [group for group in demand.classes if group.model == load.group.model]
    total = math.fsum(group.calls_per_job for group in calls) or 1.0

    def mean(what: str) -> float:
        values = (group.calls_per_job * _amount(group, what) for group in calls)
        return math.fsum(values) / total

    if load.group.role == "prefill":
        prompt, past = mean("prompt"), mean("cached")
        seconds = float(times.prefill_s(prompt, past))
        return float(times.power_w(max(prompt - past, 1.0), past, seconds))
    context, batch = mean("prompt") + 0.5 * mean("output"), max(load.batch, 1.0)
    return float(times.power_w(batch, batch * context, float(times.step_s(context, batch))))


def _amount(group: DemandClass, what: str) -> float:
    if what == "cached":
        return group.cached_tokens
    return group.prompt_tokens.mean if what == "prompt" else group.output_tokens.mean
