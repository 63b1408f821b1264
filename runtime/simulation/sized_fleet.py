"""A fleet that was sized for a demand, in virtual time: its replicas, and which calls they serve.

Unlike a plan, a sized fleet shares one class of calls between several kinds of replicas. So
every simulated job draws, per class, the replicas that serve it, with the shares of the sizing.
Text steps run beside the engines and take no slot of the CPU pools.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gangline.ir.program import Program
from gangline.ir.specs.fleet import SECONDS_PER_HOUR
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.planner.draws import DrawnStep, draw_jobs
from gangline.planner.engine_times import MAX_BATCH, MAX_STEP_TOKENS
from gangline.planner.profile import Profile
from gangline.planner.tco.config import ServingConfig
from gangline.planner.tco.demand import DemandClass, is_prompt
from gangline.planner.tco.estimate import MIN_SHARE
from gangline.planner.tco.market import Market
from gangline.planner.tco.options import NETWORK_LATENCY_S
from gangline.planner.tco.search import Candidate, Search
from gangline.planner.tco.step_model import StepModel
from gangline.runtime.dispatch.job import Job

from .drawn_program import drawn_program, drawn_s
from .simulator import Simulator, VirtualDevice
from .verdict import LATENCIES, Verdict, verdict_of
from .virtual_replica import IMPORT_TOKENS, MixedTime, VirtualModel, VirtualReplica

if TYPE_CHECKING:
    from numpy.random import Generator

MIN_JOBS, MAX_JOBS = 600, 2000
"""Jobs simulated, whatever their latency."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Replicas of one kind.

    Attributes:
        name: unique in the fleet; simulated devices are `name/0`, `name/1`, ...
        engines: simulated at once: replicas, times the iterations a pipeline has in flight.
        slots: tools that run at once, of CPU pools.
    """

    name: str
    config: ServingConfig
    replicas: int
    engines: int
    slots: int = 0


@dataclass(frozen=True, slots=True)
class FleetVerdict:
    """A verdict, with the part of the fleet that was simulated and how busy each pool was."""

    verdict: Verdict
    share: float
    busy: Mapping[ServingConfig, float]


@dataclass(slots=True)
class Served:
    """Which pools serve one class of calls: (pool, share) by role."""

    ways: dict[str, list[tuple[Pool, float]]] = field(default_factory=dict)

    def pick(self, rng: Generator) -> dict[str, Pool]:
        """Draw the pool of each phase of one call."""
        if "cpu" in self.ways:
            return {"cpu": _draw(self.ways["cpu"], rng)}
        first = _draw(self.ways.get("colocated", []) + self.ways.get("prefill", []), rng)
        if first.config.role == "colocated":
            return {"prefill": first, "decode": first}
        # Caches move between pools of one format only.
        form = first.config.dtype
        alike = [entry for entry in self.ways["decode"] if entry[0].config.dtype == form]
        return {"prefill": first, "decode": _draw(alike or self.ways["decode"], rng)}


def _draw(entries: Sequence[tuple[Pool, float]], rng: Generator) -> Pool:
    at = rng.random() * math.fsum(share for _, share in entries)
    for pool, share in entries:
        at -= share
        if at <= 0.0:
            return pool
    return entries[-1][0]


class SizedFleet:
    """What a sizing makes of a market.

    Args:
        share: simulate this part of it: of the replicas of every pool, rounded, and of the cores.
    """

    def __init__(
        self, search: Search, market: Market, candidate: Candidate, share: float = 1.0
    ) -> None:
        self._search, self._market, self._candidate = search, market, candidate
        names: set[str] = set()
        self.pools: dict[ServingConfig, Pool] = {}
        for group, count in _bought(candidate).items():
            self.pools[group] = self._pool(group, count, share, names)
        self._served = self._serving()
        self._models: dict[tuple[str, str], VirtualModel] = {}

    def _pool(self, group: ServingConfig, count: int, share: float, names: set[str]) -> Pool:
        kept = _kept(count, share)
        # Ids of devices are `name/index`, so a type's name cannot stand as it is.
        plain = re.sub(r"[^A-Za-z0-9-]", "_", group.device)
        name = f"{plain}.{group.role}.{len(names)}"
        names.add(name)
        if group.role == "cpu":
            cores = self._market.devices[group.device].cores
            return Pool(name, group, kept, 0, max(1, round(share * cores * count)))
        return Pool(name, group, kept, kept * group.pp)

    def _serving(self) -> dict[int, Served]:
        found: dict[int, Served] = {}
        ways = zip(self._candidate.model.ways, self._candidate.sizing.shares, strict=True)
        for way, share in ways:
            if share > MIN_SHARE and way.group in self.pools:
                roles = found.setdefault(way.served, Served()).ways
                entry = (self.pools[way.group], float(share))
                roles.setdefault(way.group.role, []).append(entry)
        return found

    def simulator(self) -> Simulator:
        """Build a simulator of the pools."""
        backends: dict[str, VirtualDevice] = {}
        for pool in self.pools.values():
            if pool.engines:
                served = {pool.config.model: self._virtual(pool)}
                for index in range(pool.engines):
                    backends[f"{pool.name}/{index}"] = VirtualReplica(served)
        slots = {pool.name: pool.slots for pool in self.pools.values() if pool.slots}
        return Simulator(backends, drawn_s, encode_time=drawn_s, tool_slots=slots)

    def _virtual(self, pool: Pool) -> VirtualModel:
        group, options = pool.config, self._search.options
        spec, shape = self._market.devices[group.device], self._search.options.shape(group.model)
        step = options.models(spec, shape, group.dtype, group.tp, group.pp)
        assert step is not None  # the sizing priced it
        imports = group.role == "decode"
        return VirtualModel(
            mixed_s=_mixed(step),
            kv_tokens=self._kv_tokens(step, group.model) / group.pp,
            max_batch=MAX_BATCH["gpu"],
            max_step_tokens=IMPORT_TOKENS if imports else MAX_STEP_TOKENS["gpu"],
            imports=imports,
        )

    def _kv_tokens(self, step: StepModel, model: str) -> float:
        """Tokens of cache a replica holds at the mean context of the model's calls."""
        groups = [group for group in self._search.demand.classes if group.model == model]
        calls = math.fsum(group.calls_per_job for group in groups) or 1.0
        context = math.fsum(group.calls_per_job * _context(group) for group in groups) / calls
        at_mean = step.max_batch(context, 0.0) * context
        return max(at_mean, float(step.max_batch(1.0, 0.0)))

    def plan(self, workflow: str, deadline_s: float | None, rng: Generator) -> Plan:
        """Draw the pools that serve one job."""
        rows: list[StagePlan] = []
        for number, group in enumerate(self._search.demand.classes):
            served = self._served.get(number)
            if served is not None:
                rows += self._rows(number, group, served.pick(rng))
        if not rows:
            raise AssertionError("a sizing serves every class")
        engine = next((row.device for row in rows if row.op == "decode"), rows[0].device)
        text = self._text_rows(engine)
        return Plan(workflow, "0" * 32, "sized", (*rows, *text), 0.0, 0.0, deadline_s=deadline_s)

    def _rows(self, number: int, group: DemandClass, pools: Mapping[str, Pool]) -> list[StagePlan]:
        estimate = self._candidate.estimate
        if group.kind == "cpu":
            if group.name == "text":
                return []
            seconds = group.seconds.mean
            return [
                StagePlan(stage, "tool", pools["cpu"].name, seconds, 0.0) for stage in group.stages
            ]
        rows = []
        for stage in group.stages:
            op = "prefill" if is_prompt(stage) else "decode"
            first, each = estimate.ttft_s[group.name], estimate.tpot_s[group.name]
            seconds = first if op == "prefill" else each * group.output_tokens.mean
            rows.append(StagePlan(stage, op, pools[op].name, seconds, 0.0))
        return rows

    def _text_rows(self, device: str) -> list[StagePlan]:
        """Place text steps beside an engine."""
        stages = [
            stage
            for group in self._search.demand.classes
            if group.kind == "cpu" and group.name == "text"
            for stage in group.stages
        ]
        return [StagePlan(stage, "tokenize", device, 0.0, 0.0) for stage in stages]

    def prepared(self, steps: Sequence[DrawnStep], plan: Plan) -> tuple[DrawnStep, ...]:
        """Add what a call of a tool costs on its device beyond the tool's own seconds."""
        by_stage = {row.stage: row.device for row in plan.stages}
        extra = {
            pool.name: self._market.devices[pool.config.device].efficiency.get("tool_s", 0.0)
            for pool in self.pools.values()
            if pool.slots
        }
        return tuple(
            replace(step, seconds=step.seconds + extra.get(by_stage.get(step.stage, ""), 0.0))
            if step.op == "tool"
            else step
            for step in steps
        )

    def ship_s(self, prefill: StagePlan, decode: StagePlan, tokens: int, model: str) -> float:
        """Seconds to send a prompt's KV cache between two pools, at the slower side's links."""
        moved = self._search.options.shape(model).kv_bytes(float(tokens))
        rate = min(self._link(prefill.device), self._link(decode.device))
        return NETWORK_LATENCY_S + moved / rate

    def _link(self, name: str) -> float:
        group = next(pool.config for pool in self.pools.values() if pool.name == name)
        network = self._search.options.space.network_bytes_per_s
        host = self._market.devices[group.device].host_bytes_per_s or network
        return min(network, host) * group.size

    def share(self, device: str, busy: float) -> float:
        """Give the busy share of a pool whose engines (or cores) so many keep busy."""
        pool = next(pool for pool in self.pools.values() if pool.name == device)
        return busy / (pool.slots or pool.engines)

    def usd_per_hour(self) -> float:
        """Price of the whole fleet."""
        return self._candidate.sizing.usd_per_hour


def _context(group: DemandClass) -> float:
    return group.prompt_tokens.mean + group.output_tokens.mean


def _mixed(step: StepModel) -> MixedTime:
    def mixed_s(new: float, past: float, batch: float, context: float) -> float:
        return float(step.mixed_step_s(new, past, batch, context))

    return mixed_s


def simulate_fleet(
    program: Program,
    profile: Profile | None,
    search: Search,
    market: Market,
    candidate: Candidate,
    *,
    seed: int = 0,
    num_jobs: int | None = None,
    share: float | None = None,
) -> FleetVerdict:
    """Simulate jobs on a sized fleet and judge it.

    A rate that would need more than `MAX_JOBS` jobs for its queues to settle is simulated on a
    part of the fleet, in which every pool is about as loaded as in the whole.

    Args:
        num_jobs: how many; by default enough for the queues to settle.
        share: the part to simulate, if not the one that suits the jobs.
    """
    import numpy as np

    rate, slo = search.demand.jobs_per_s, search.slo
    mean_s = float(np.mean(candidate.estimate.seconds))
    if share is None:
        share = part_of(candidate, (num_jobs or MAX_JOBS) / (rate * LATENCIES * mean_s))
    world = SizedFleet(search, market, candidate, share)
    here = rate * share
    jobs = num_jobs or int(min(max(here * LATENCIES * mean_s, MIN_JOBS), MAX_JOBS))
    deadline = slo.seconds if math.isfinite(slo.seconds) else None
    rng = np.random.default_rng([seed, 1])
    at = np.cumsum(rng.exponential(1.0 / here, jobs)).tolist()
    arrivals = []
    plan = world.plan(program.name, deadline, rng)
    for index, steps in enumerate(draw_jobs(program, profile, jobs, seed)):
        plan = world.plan(program.name, deadline, rng)
        drawn, rows = drawn_program(world.prepared(steps, plan), plan, index, world.ship_s)
        arrivals.append((at[index], Job(program.name, drawn, {}, rows, deadline_s=deadline)))
    result = world.simulator().run(arrivals)
    verdict = verdict_of(plan, world, result, here, seed, deadline)
    paid = world.usd_per_hour() / SECONDS_PER_HOUR / rate
    busy = {
        group: verdict.utilisation[pool.name]
        for group, pool in world.pools.items()
        if pool.name in verdict.utilisation
    }
    return FleetVerdict(replace(verdict, fleet_usd_per_job=paid), share, busy)


def _bought(candidate: Candidate) -> dict[ServingConfig, int]:
    counts = zip(candidate.model.groups, candidate.sizing.replicas, strict=True)
    return {group: int(count) for group, count in counts if count > 0}


def _kept(count: int, share: float) -> int:
    """Replicas of a pool in a part of the fleet."""
    return max(1, round(share * count))


def part_of(candidate: Candidate, wanted: float) -> float:
    """Choose which part of a fleet to simulate: about as much as wanted, and fair to its pools.

    Rounding to whole replicas loads some pools more than in the whole fleet and some less. Of
    the parts down to half of what is wanted, the one with the least mismatch is taken; too much
    load counts twice.
    """
    bought = {group: count for group, count in _bought(candidate).items() if group.role != "cpu"}
    if wanted >= 1.0 or not bought:
        return 1.0
    total = sum(count * group.size for group, count in bought.items())

    def mismatch(share: float) -> float:
        worst = 0.0
        for group, count in bought.items():
            ratio = math.log(share * count / _kept(count, share))
            # A pool of few devices cannot spoil the whole.
            weight = min(1.0, 10.0 * count * group.size / total)
            worst = max(worst, weight * (2.0 * ratio if ratio > 0.0 else -ratio))
        return worst

    parts = {kept / count for count in bought.values() for kept in range(1, count + 1)}
    near = [part for part in parts if 0.5 * wanted <= part <= wanted] or [
        min((part for part in parts if part >= wanted), default=1.0)
    ]
    return min(sorted(near, reverse=True), key=mismatch)
