"""The simulator's verdict: against queues with known answers, and against the plan it judges."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gangline.ir.errors import PlanError
from gangline.ir.program import Program
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice, Link
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.plan import Plan
from gangline.planner.calibration import Calibration, Key
from gangline.planner.profile import Amount, Profile, StageProfile
from gangline.planner.proposal import placed, propose
from gangline.runtime.simulation.verdict import Verdict, simulate_plan

CPU = DeviceSpec(
    "cpu",
    "cpu",
    flops={"int8": 1e12},
    memory_bytes=64 * 10**9,
    memory_bytes_per_s=5e10,
    cores=2,
    efficiency={"mfu": 0.5, "mbu": 0.8, "step_s": 1e-3},
    source="probed",
)
GPU = DeviceSpec(
    "card",
    "gpu",
    flops={"bf16": 3e14},
    memory_bytes=80 * 10**9,
    memory_bytes_per_s=2e12,
    efficiency={"mfu": 0.5, "mbu": 0.6, "step_s": 1e-3},
)
MODEL = ModelSpec(
    "m", (), "", 0, "", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 8192, False, 8_030_000_000
)
MODELS = {"m": MODEL}
HOST = FleetDevice("host", CPU, usd_per_hour=0.2)
CARD = FleetDevice("card", GPU, usd_per_hour=2.0)
FLEET = Fleet("f", (HOST, CARD))


def judge(program: Program, plan: Plan, fleet: Fleet = FLEET, **options: Any) -> Verdict:
    profile = options.pop("profile", None)
    return simulate_plan(program, profile, plan, fleet, MODELS, **options)


def tool_profile(mean_s: float, sigma: float) -> Profile:
    """Log-normal tool seconds: the interval of `sigma` around the mean."""
    low, high = (math.exp(sign * 1.6449 * sigma) for sign in (-1, 1))
    amount = Amount(mean_s, low * mean_s, high * mean_s)
    return Profile({"check": StageProfile("tool", seconds=amount)}, num_jobs=1)


@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_one_core_is_pollaczek_khinchine(builder: Any, sigma: float) -> None:
    """A queue whose mean wait is known exactly: M/G/1 at 70 % load."""
    p = builder()
    program = p.done(p.tool("check"))
    profile = tool_profile(0.1, sigma)
    fleet = Fleet("one", (replace(HOST, spec=replace(CPU, cores=1)),))
    plan = propose(program, profile, fleet, MODELS, rate=7.0)
    verdict = judge(program, plan, fleet, profile=profile, rate=7.0, num_jobs=3000)
    exact = 0.1 + 0.7 / 0.3 * 0.5 * math.exp(sigma * sigma) * 0.1
    assert plan.seconds == pytest.approx(exact, rel=0.02)
    assert verdict.mean_s == pytest.approx(exact, rel=0.2)
    assert verdict.utilisation == {"host": pytest.approx(0.7, rel=0.05)}


def call(builder: Any) -> Program:
    p = builder("q")
    program: Program = p.done(p.tool("check", p.llm("draft", p.inputs[0])))
    return program


def test_a_job_alone_takes_what_the_plan_says(builder: Any) -> None:
    program = call(builder)
    plan = propose(program, None, FLEET, MODELS)
    verdict = judge(program, plan, rate=0.01, num_jobs=250)
    assert verdict.mean_s == pytest.approx(plan.seconds, rel=0.2)
    assert verdict.usd_per_job == pytest.approx(plan.usd, rel=0.25)


def test_more_jobs_wait_longer_and_overload_shows(builder: Any) -> None:
    program = call(builder)
    plan = propose(program, None, FLEET, MODELS, deadline_s=5.0)
    calm, busy = (judge(program, plan, rate=rate, num_jobs=400) for rate in (0.2, 20.0))
    assert busy.p50_s > calm.p50_s and busy.p95_s > calm.p95_s
    assert busy.utilisation["card"] > 5 * calm.utilisation["card"]
    assert busy.goodput == 20.0 and busy.fleet_usd_per_job < calm.fleet_usd_per_job
    drowned = judge(program, plan, rate=2000.0, num_jobs=400, deadline_s=1.0)
    assert drowned.p95_s > 3 * busy.p95_s
    assert drowned.goodput < 0.5 * 2000.0


def test_two_replicas_are_faster_than_one_under_load(builder: Any) -> None:
    program = call(builder)
    plan = propose(program, None, FLEET, MODELS, deadline_s=5.0)
    twice = replace(FLEET, devices=(HOST, replace(CARD, count=2)))
    one, two = (judge(program, plan, fleet, rate=40.0) for fleet in (FLEET, twice))
    assert two.p95_s < 0.9 * one.p95_s
    assert two.fleet_usd_per_job > one.fleet_usd_per_job


def test_a_split_call_pays_for_the_transfer(builder: Any) -> None:
    program = call(builder)
    slow = FleetDevice("slow", replace(GPU, type="slow"), usd_per_hour=1.0)
    links = (Link("card", "slow", 1e9, 0.5),)
    fleet = Fleet("two", (HOST, CARD, slow), links)
    whole = propose(program, None, fleet, MODELS, split=False, deadline_s=5.0)
    rows = tuple(
        replace(row, device={"prefill": "card", "tokenize": "card", "decode": "slow"}[row.op])
        if row.op in ("prefill", "tokenize", "decode")
        else row
        for row in whole.stages
    )
    # Prompts so long that computing them again where they are decoded would show.
    prompt, output = Amount.exactly(6000.0), Amount.exactly(40.0)
    work = (StageProfile(op, 1.0, prompt, output_tokens=output) for op in ("prefill", "decode"))
    long = Profile({f"draft.{row.op}": row for row in work})
    split = judge(program, replace(whole, stages=rows), fleet, rate=0.05, profile=long, num_jobs=60)
    together = judge(program, whole, fleet, rate=0.05, profile=long, num_jobs=60)
    sent_s = 0.5 + 6000 * MODEL.kv_bytes_per_token() / 1e9
    assert split.mean_s == pytest.approx(together.mean_s + sent_s, abs=0.15)
    assert set(split.utilisation) == {"host", "card", "slow"}
    assert split.stages["draft.prefill"].device == "card"
    assert split.stages["draft.decode"].device == "slow"


def test_the_seed_decides_everything(builder: Any) -> None:
    program = call(builder)
    plan = propose(program, None, FLEET, MODELS)
    first, again = (judge(program, plan, rate=2.0, seed=5, num_jobs=120) for _ in range(2))
    assert first == again
    assert judge(program, plan, rate=2.0, seed=6, num_jobs=120).latencies_s != first.latencies_s


def test_loops_run_as_often_as_the_profile_says(builder: Any) -> None:
    p = builder("q")
    first = p.tool("start", p.inputs[0])
    last = p.loop(
        first, lambda v: p.compute("get", v, key="ok"), lambda v: p.tool("again", v), max_trips=4
    )
    program = p.done(last)
    profile = Profile(factors={"loop": 2.0})
    plan = propose(program, profile, FLEET, MODELS)
    verdict = judge(program, plan, profile=profile, rate=1.0, num_jobs=1000)
    assert verdict.stages["again"].visits / verdict.num_jobs == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("rate", [0.0, -1.0, math.inf, math.nan])
def test_a_rate_must_be_a_positive_number(builder: Any, rate: float) -> None:
    program = call(builder)
    with pytest.raises(PlanError, match="rate"):
        judge(program, propose(program, None, FLEET, MODELS), rate=rate)


def test_a_placement_that_cannot_be_is_refused(builder: Any) -> None:
    program = call(builder)
    with pytest.raises(PlanError, match=r"'prefill:m'.*2 of device 'card'"):
        placed(program, None, FLEET, MODELS, lambda g: ("card", 2) if g.models else ("host", 1))


def test_a_remote_endpoint_is_slow_to_begin_and_never_full(builder: Any) -> None:
    api = DeviceSpec("api", "api", efficiency={"ttft_s": 0.4, "tpot_s": 0.01})
    remote = FleetDevice("remote", api, usd_per_mtok_in=1.0, usd_per_mtok_out=5.0)
    fleet = Fleet("r", (HOST, remote))
    program = call(builder)
    plan = placed(program, None, fleet, MODELS, lambda g: ("remote" if g.models else "host", 1))
    calm, busy = (judge(program, plan, fleet, rate=rate, num_jobs=200) for rate in (0.1, 20.0))
    assert calm.stages["draft.tokenize"].mean_s >= 0.4
    assert busy.p50_s == pytest.approx(calm.p50_s, rel=0.15)
    row = plan.stage("draft.decode")
    assert calm.usd_per_job == pytest.approx(
        row.output_tokens * 5e-6 + row.prompt_tokens * 1e-6, rel=0.2
    )


@pytest.mark.parametrize(("op", "other"), [("decode", "prefill"), ("prefill", "decode")])
def test_measured_corrections_slow_the_simulated_steps(builder: Any, op: str, other: str) -> None:
    program = call(builder)
    plan = propose(program, None, FLEET, MODELS, deadline_s=5.0)
    device = plan.stage("draft.decode").device
    key = Key(FLEET.device(device).spec.type, op, "m", "t16 c64 b1")
    slow = Calibration().observed([(key, 3.0, 1.0)] * 20)
    plain, corrected = (
        judge(program, plan, rate=0.01, num_jobs=60, calibration=known) for known in (None, slow)
    )
    for name, factor in ((op, 3.0), (other, 1.0)):
        before, after = (v.stages[f"draft.{name}"].mean_s for v in (plain, corrected))
        assert after == pytest.approx(factor * before, rel=0.1), name
