"""The simulator's verdict on a plan: percentiles of jobs that arrive at random at a given rate.

The dispatcher and the engine scheduler are those of production, in virtual time. Jobs are drawn
from a profile (see planner/draws.py), arrivals are Poisson, and everything follows from the seed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from gangline.ir.errors import PlanError
from gangline.ir.program import Program
from gangline.ir.specs.fleet import SECONDS_PER_HOUR, Fleet
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.planner.calibration import Calibration
from gangline.planner.draws import draw_jobs
from gangline.planner.percentiles import percentile
from gangline.planner.profile import Profile
from gangline.runtime.dispatch.job import Job

from .drawn_program import drawn_program, stage_of
from .planned_fleet import PlannedFleet
from .simulator import SimulatedJob, SimulationResult

WARM_SHARE, COOL_SHARE = 0.25, 0.1
"""Jobs at the beginning and the end that load the fleet but are not counted."""

MIN_JOBS, MAX_JOBS = 400, 1000
LATENCIES = 8.0
"""Expected latencies of a job that the arrivals last for, within the bounds above."""


@dataclass(frozen=True, slots=True)
class StageVerdict:
    """Simulated seconds of a stage, waits included, over its visits."""

    device: str
    tp: int
    visits: int
    mean_s: float
    p50_s: float
    p95_s: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a simulation says of a plan.

    Attributes:
        rate: jobs per second that arrived.
        num_jobs: jobs that are counted.
        utilisation: by device group, the share of its engines' (or cores') time that was busy.
        usd_per_job: what the job's steps cost, as a plan counts it (device time used).
        fleet_usd_per_job: price of all devices of the plan over the rate, idle time included.
        goodput: jobs per second that ended within the deadline; all of them without one.
        latencies_s: of the counted jobs, sorted.
    """

    rate: float
    seed: int
    num_jobs: int
    mean_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    utilisation: Mapping[str, float]
    usd_per_job: float
    fleet_usd_per_job: float
    goodput: float
    stages: Mapping[str, StageVerdict] = field(default_factory=dict)
    latencies_s: tuple[float, ...] = ()

    def percentile(self, percent: float) -> float:
        """Give the latency that so many percent of the jobs stay within."""
        return percentile(self.latencies_s, percent)

    def to_json(self) -> dict[str, Any]:
        """Give the verdict as plain JSON, without the single latencies."""
        document = asdict(self)
        del document["latencies_s"]
        return document


def simulate_plan(
    program: Program,
    profile: Profile | None,
    plan: Plan,
    fleet: Fleet,
    models: Mapping[str, ModelSpec],
    *,
    rate: float,
    num_jobs: int | None = None,
    seed: int = 0,
    deadline_s: float | None = None,
    calibration: Calibration | None = None,
) -> Verdict:
    """Simulate jobs of a workflow under a plan and judge it.

    Args:
        plan: a row for every step stage of the program (device group, tp).
        models: rows of the registry; known shapes need none.
        rate: jobs per second.
        num_jobs: jobs to simulate; by default enough for the queues to settle.
        deadline_s: what the goodput counts against, and engines judge urgency by.

    Raises:
        PlanError: the rate is not positive, or the plan has no row for a stage.
    """
    if not 0.0 < rate < math.inf:
        raise PlanError(f"The rate of jobs is {rate:g}", next_step="Give jobs per second, above 0.")
    wanted = num_jobs or default_num_jobs(rate, plan.seconds)
    world = PlannedFleet(program, profile, plan, fleet, models, calibration)
    arrivals = _arrivals(program, profile, plan, world, rate, wanted, seed, deadline_s)
    result = world.simulator().run(arrivals)
    return verdict_of(plan, world, result, rate, seed, deadline_s)


def default_num_jobs(rate: float, latency_s: float) -> int:
    """Say how many jobs a simulation needs for its queues to settle."""
    return int(min(max(rate * LATENCIES * latency_s, MIN_JOBS), MAX_JOBS))


def _arrivals(
    program: Program,
    profile: Profile | None,
    plan: Plan,
    world: PlannedFleet,
    rate: float,
    num_jobs: int,
    seed: int,
    deadline_s: float | None,
) -> list[tuple[float, Job]]:
    import numpy as np

    rng = np.random.default_rng([seed, 1])
    gaps = rng.exponential(1.0 / rate, num_jobs)
    found = []
    for index, steps in enumerate(draw_jobs(program, profile, num_jobs, seed)):
        drawn, rows = drawn_program(steps, plan, index, world.ship_s)
        found.append(Job(plan.workflow, drawn, {}, rows, deadline_s=deadline_s))
    return list(zip(np.cumsum(gaps).tolist(), found, strict=True))


def _counted(jobs: Sequence[SimulatedJob]) -> Sequence[SimulatedJob]:
    return jobs[_first(jobs) : _last(jobs)]


def _first(jobs: Sequence[SimulatedJob]) -> int:
    return int(WARM_SHARE * len(jobs))


def _last(jobs: Sequence[SimulatedJob]) -> int:
    return max(len(jobs) - max(1, int(COOL_SHARE * len(jobs))), _first(jobs) + 1)


class World(Protocol):
    """What a verdict asks of the devices that were simulated."""

    def share(self, device: str, busy: float) -> float:
        """Give the busy share of a device group that so many engines' (or cores') time kept busy."""

    def usd_per_hour(self) -> float:
        """Price of all devices."""


def verdict_of(
    plan: Plan,
    world: World,
    result: SimulationResult,
    rate: float,
    seed: int,
    deadline_s: float | None,
) -> Verdict:
    """Judge what was simulated: jobs at the beginning and the end are not counted.

    Args:
        plan: rows of the stages that are to be told of.

    Raises:
        PlanError: a counted job failed.
    """
    jobs = _counted(result.jobs)
    failed = next((job for job in jobs if job.status != "succeeded"), None)
    if failed is not None:
        raise PlanError(f"A simulated job {failed.status}: {failed.events[-1].data.get('error')}")
    latencies = sorted(job.latency_s for job in jobs)
    in_time = sum(1 for latency in latencies if deadline_s is None or latency <= deadline_s)
    return Verdict(
        rate=rate,
        seed=seed,
        num_jobs=len(jobs),
        mean_s=sum(latencies) / len(latencies),
        p50_s=percentile(latencies, 50),
        p95_s=percentile(latencies, 95),
        p99_s=percentile(latencies, 99),
        utilisation=_utilisation(world, result.jobs, rate),
        usd_per_job=sum(job.usd for job in jobs) / len(jobs),
        fleet_usd_per_job=world.usd_per_hour() / SECONDS_PER_HOUR / rate,
        goodput=rate * in_time / len(latencies),
        stages=_stages(plan, jobs),
        latencies_s=tuple(latencies),
    )


def _utilisation(world: World, jobs: Sequence[SimulatedJob], rate: float) -> dict[str, float]:
    """Busy seconds that the counted jobs caused, over the time in which they arrived.

    In a steady state that is the busy share of time (Campbell's formula); it does not depend on
    how long the last jobs took to drain.
    """
    busy: dict[str, float] = defaultdict(float)
    for job in _counted(jobs):
        for event in job.events:
            if event.type == "step.completed":
                data = event.data
                spent = data["end_s"] - data["start_s"] if data["op"] == "tool" else 0.0
                busy[data["device"].split("/", 1)[0]] += data.get("busy_s", spent)
    after = jobs[min(_last(jobs), len(jobs) - 1)].arrival_s
    window_s = after - jobs[_first(jobs)].arrival_s or 1.0 / rate
    return {name: min(world.share(name, spent / window_s), 1.0) for name, spent in busy.items()}


def _stages(plan: Plan, jobs: Sequence[SimulatedJob]) -> dict[str, StageVerdict]:
    rows = {row.stage: row for row in plan.stages}
    seconds: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        for name, spent in step_seconds(job):
            if name in rows:
                seconds[name].append(spent)
    return {name: _stage(rows[name], sorted(found)) for name, found in seconds.items()}


def _stage(row: StagePlan, seconds: Sequence[float]) -> StageVerdict:
    mean = sum(seconds) / len(seconds)
    middle, slow = percentile(seconds, 50), percentile(seconds, 95)
    return StageVerdict(row.device, row.tp, len(seconds), mean, middle, slow)


def step_seconds(job: SimulatedJob) -> list[tuple[str, float]]:
    """Give (stage, seconds) of a job's steps; tools are timed from when they could have begun."""
    issued: dict[str, float] = {}
    found = []
    for event in job.events:
        if event.type == "step.started":
            issued.setdefault(event.step_id, event.at_s)
        elif event.type == "step.completed":
            data = event.data
            spent = data["end_s"] - data["start_s"]
            if data["op"] == "tool":
                spent = event.at_s - issued[event.step_id]
            found.append((stage_of(data["stage"]), spent))
    return found
