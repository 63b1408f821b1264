"""What a rate of jobs does to a placement: how busy devices are, and how long stages wait.

Tools wait for a core and prompts for their engine (Allen-Cunneen). Decoding does not wait, it
gets slower: its batch follows from Little's law, and prompts take turns from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gangline.ir.program import HOST_STEPS, Stage

from .profile import ENGINE_OPS, NORMAL_95
from .queueing import mean_wait_s

if TYPE_CHECKING:
    from .placement import Assignment
    from .situation import Situation

HOST_OPS = HOST_STEPS - {"ask"}
"""Ops that need a core; text stages run beside the engine."""


@dataclass(slots=True)
class Load:
    """Arrivals at one group of servers: rate, and the first two moments of a service."""

    rate: float = 0.0
    busy: float = 0.0  # expected services under way at any time
    square: float = 0.0

    def add(self, rate: float, mean_s: float, log_sigma: float) -> None:
        """Add arrivals with log-normal services."""
        self.rate += rate
        self.busy += rate * mean_s
        self.square += rate * mean_s * mean_s * math.exp(log_sigma * log_sigma)

    def wait_s(self, servers: float) -> float:
        """Mean wait at so many servers; infinite where they cannot keep up."""
        if self.rate <= 0.0 or self.busy <= 0.0:
            return 0.0
        mean = self.busy / self.rate
        scv = max(self.square / self.rate / (mean * mean) - 1.0, 0.0)
        return mean_wait_s(self.rate, mean, scv, servers)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Seconds of each stage with its waits, by stage number; and what is asked of the devices.

    Attributes:
        utilisation: expected share of time a device group is busy (an engine with anything).
        demand: what is asked over the most it can do, by device group; at 1 queues grow for ever.
        prompts: prefills at each option, by its number; decoding there is held up by them.
    """

    seconds: Mapping[int, float]
    utilisation: Mapping[str, float]
    demand: Mapping[str, float]
    prompts: Mapping[int, Load] = field(default_factory=dict)


@dataclass(slots=True)
class _Devices:
    """Loads by option number."""

    tools: dict[int, Load] = field(default_factory=dict)
    prompts: dict[int, Load] = field(default_factory=dict)
    decoding: dict[int, float] = field(default_factory=dict)  # sequences per replica
    floor: dict[int, float] = field(
        default_factory=dict
    )  # busy share of decoding at the largest batch
    step_s: dict[int, float] = field(default_factory=dict)


def loaded(situation: Situation, assignment: Assignment) -> Loaded:
    """Give what stages take under a placement at the situation's rate of jobs."""
    devices = _gather(situation, assignment)
    seconds = {}
    for stage in _steps(situation):
        at = assignment[situation.class_of[stage.id]]
        seconds[stage.id] = _seconds(situation, devices, stage, at)
    return Loaded(seconds, *_shares(situation, devices), devices.prompts)


def _steps(situation: Situation) -> Iterable[Stage]:
    return (situation.program.stages[index] for index in situation.class_of)


def _gather(situation: Situation, assignment: Assignment) -> _Devices:
    found = _Devices()
    for stage in _steps(situation):
        at = assignment[situation.class_of[stage.id]]
        rate = situation.rate * situation.profile.stages[stage.name].visits
        estimate = situation.estimate(stage, at)
        sigma = math.log(max(estimate.high_s / max(estimate.low_s, 1e-12), 1.0)) / NORMAL_95 / 2.0
        if stage.op in HOST_OPS:
            found.tools.setdefault(at, Load()).add(rate, estimate.seconds, sigma)
        elif stage.op in ("prefill", "embed"):
            found.prompts.setdefault(at, Load()).add(rate, estimate.seconds, sigma)
        elif stage.op == "decode":
            _add_decode(situation, found, stage, at, rate)
    return found


def _add_decode(situation: Situation, found: _Devices, stage: Stage, at: int, rate: float) -> None:
    option, estimate = situation.options[at], situation.estimate(stage, at)
    each = rate / option.replicas
    found.decoding[at] = found.decoding.get(at, 0.0) + each * estimate.seconds
    if option.device.spec.kind == "api":
        return
    work = situation.profile.stages[stage.name]
    times = situation.costs.times(option, str(stage.attributes["model"]))
    context = work.prompt_tokens.mean + 0.5 * work.output_tokens.mean
    steps = max(work.output_tokens.mean - 1.0, 1.0)
    correction = estimate.seconds / max(steps * times.step_s(context, estimate.batch), 1e-12)
    most = situation.costs.most_sequences(option, str(stage.attributes["model"]), work)
    fewest = steps * times.step_s(context, most) / most * correction
    found.floor[at] = found.floor.get(at, 0.0) + each * fewest
    found.step_s[at] = max(found.step_s.get(at, 0.0), estimate.seconds / steps)


def _seconds(situation: Situation, devices: _Devices, stage: Stage, at: int) -> float:
    option, estimate = situation.options[at], situation.estimate(stage, at)
    measured = situation.observed.get((stage.name, option.device.name, option.tp))
    if measured is not None:
        return measured
    own = estimate.seconds * estimate.waves
    if situation.rate <= 0.0:
        return own
    if stage.op in HOST_OPS:
        return own + devices.tools[at].wait_s(
            option.device.count * max(option.device.spec.cores, 1)
        )
    if stage.op not in ENGINE_OPS or option.device.spec.kind == "api":
        return own
    prompts = devices.prompts.get(at, Load())
    busy = prompts.busy / option.replicas
    if busy + devices.floor.get(at, 0.0) >= 1.0:
        return math.inf
    if stage.op == "decode":
        return own / (1.0 - busy)
    # A prompt that arrives finds a decode step half done.
    half = 0.5 * devices.step_s.get(at, 0.0)
    return own + prompts.wait_s(option.replicas) + half


def _shares(situation: Situation, devices: _Devices) -> tuple[dict[str, float], dict[str, float]]:
    """Give utilisation and demand by device group.

    Sequences that decode on a replica are about Poisson in number (they do not wait for each
    other), so it has none of them for exp(-mean) of the time.
    """
    used: dict[str, float] = {}
    asked: dict[str, float] = {}
    for at, load in devices.tools.items():
        device = situation.options[at].device
        share = load.busy / (device.count * max(device.spec.cores, 1))
        asked[device.name] = max(asked.get(device.name, 0.0), share)
        used[device.name] = max(used.get(device.name, 0.0), min(share, 1.0))
    for at in devices.prompts.keys() | devices.decoding.keys():
        option = situation.options[at]
        prompts = devices.prompts.get(at, Load()).busy / option.replicas
        idle = max(1.0 - prompts, 0.0)
        if idle > 0.0:
            idle *= math.exp(-devices.decoding.get(at, 0.0) / idle)
        name = option.device.name
        used[name] = max(used.get(name, 0.0), 1.0 - idle)
        asked[name] = max(asked.get(name, 0.0), prompts + devices.floor.get(at, 0.0))
    return used, asked
