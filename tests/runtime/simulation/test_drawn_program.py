"""Drawn programs: flat, complete, in order, whatever the workflow's control flow looks like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gangline.ir.program import STEP_OPS, Program
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.ir.specs.model import ModelSpec
from gangline.planner.draws import draw_jobs
from gangline.planner.profile import Profile
from gangline.planner.proposal import propose
from gangline.planner.workload import DEFAULT_FIELD_TOKENS, default_profile
from gangline.runtime.simulation.drawn_program import drawn_program, encode_drawn, stage_of
from gangline.runtime.simulation.verdict import simulate_plan
from tests.runtime.conftest import planned_tool

CPU = DeviceSpec(
    "cpu",
    "cpu",
    flops={"int8": 1e13},
    memory_bytes=64 * 10**9,
    memory_bytes_per_s=5e11,
    cores=4,
    source="probed",
)
FLEET = Fleet("f", (FleetDevice("box", CPU, usd_per_hour=1.0, count=2),))
MODELS = {
    "m": ModelSpec(
        "m", (), "", 0, "", "llama", 24, 2048, 16, 8, 128, 8192, 32000, 8192, True, 1_500_000_000
    )
}

SHAPES = st.recursive(
    st.sampled_from(["tool", "llm", "cached", "question", "expand"]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["map", "loop", "branch", "call"]), inner),
        st.tuples(st.just("then"), inner, inner),
    ),
    max_leaves=5,
)


def cached(p: Any, value: int) -> int:
    """Write two answers that go on from one beginning."""
    begun = p.op("tokenize", "c.tokenize", value, names=["a"], template=[], model="m", open=True)
    kv = p.op("prefill", "c.prefill", begun, model="m")
    for _ in range(2):
        known = {"names": ["prefix", "a", "b"], "template": [], "model": "m"}
        tokens = p.op("tokenize", "d.tokenize", begun, value, value, **known)
        whole = p.op("prefill", "d.prefill", tokens, kv, model="m")
        out = p.op("decode", "d.decode", whole, model="m", max_tokens=8)
    return int(p.op("detokenize", "d.detokenize", out, model="m", format="text"))


def write(p: Any, shape: Any, value: int) -> int:
    """Write a workflow of some shape; gives its result."""
    if isinstance(shape, str):
        write_step: dict[str, Callable[[], Any]] = {
            "tool": lambda: p.tool("t", value),
            "llm": lambda: p.llm("ask", value),
            "cached": lambda: cached(p, value),
            "question": lambda: p.ask(value, type="string"),
            "expand": lambda: p.expand(value, tools=[planned_tool("t")]),
        }
        return int(write_step[shape]())
    kind, *inner = shape
    if kind == "then":
        return write(p, inner[1], write(p, inner[0], value))
    if kind == "map":
        return int(p.map(p.compute("list", value, value), lambda item: write(p, inner[0], item)))
    if kind == "loop":
        body = inner[0]
        return int(p.loop(value, lambda v: p.tool("ok", v), lambda v: write(p, body, v), 2))
    if kind == "call":
        return int(p.call(lambda argument: write(p, inner[0], argument), value))
    return int(p.branch(value, lambda: write(p, inner[0], value), lambda: value))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shape=SHAPES, seed=st.integers(0, 9))
def test_any_workflow_can_be_drawn_and_simulated(builder: Any, shape: Any, seed: int) -> None:
    p = builder("q")
    program: Program = p.done(write(p, shape, p.inputs[0]))
    plan = propose(program, None, FLEET, MODELS)
    (job,) = draw_jobs(program, None, 1, seed)
    drawn, rows = drawn_program(job, plan, 0, lambda *_: 0.0)
    assert len(drawn.stages) == len(job) == len(rows.stages)
    assert {stage_of(stage.name) for stage in drawn.stages} <= {
        stage.name for stage in program.walk() if stage.op in STEP_OPS
    }
    for stage in drawn.stages:
        assert all(operand < stage.id for operand in stage.operands)
    verdict = simulate_plan(program, None, plan, FLEET, MODELS, rate=1.0, num_jobs=20, seed=seed)
    assert verdict.num_jobs == 13  # 5 warm up, 2 cool down, and none fails


def test_prompts_share_what_was_cached_and_nothing_else() -> None:
    one, two = (encode_drawn([{"role": "user", "content": f"100 40 {job} 3"}]) for job in (1, 2))
    assert len(one) == len(two) == 100
    assert one[:40] == two[:40] and not set(one[40:]) & set(two[40:])


def test_the_cached_part_of_prompts_is_not_computed_again(builder: Any) -> None:
    """All but 64 of 4000 tokens are in the prefix cache, from the second job on."""
    from gangline.planner.profile import Amount, StageProfile

    p = builder("q")
    program = p.done(p.llm("ask", p.inputs[0]))
    plan = propose(program, None, FLEET, MODELS)

    def prefill_s(cached: float) -> float:
        row = StageProfile("prefill", 1.0, Amount.exactly(4000.0), Amount.exactly(cached))
        verdict = simulate_plan(
            program,
            Profile({"ask.prefill": row}),
            plan,
            FLEET,
            MODELS,
            rate=0.01,
            num_jobs=20,
        )
        return verdict.stages["ask.prefill"].mean_s

    assert prefill_s(3936.0) < 0.2 * prefill_s(0.0)


def test_a_beginning_is_computed_once_and_first(builder: Any) -> None:
    p = builder("q")
    program = p.done(cached(p, p.inputs[0]))
    profile = default_profile(program).stages
    begun, rest = profile["c.prefill"], profile["d.prefill"]
    assert begun.cached_tokens.mean == 0.0 and begun.prompt_tokens.mean == DEFAULT_FIELD_TOKENS
    assert rest.prompt_tokens.mean == 2 * DEFAULT_FIELD_TOKENS
    assert rest.cached_tokens.mean == begun.prompt_tokens.mean
    plan = propose(program, None, FLEET, MODELS)
    verdict = simulate_plan(program, None, plan, FLEET, MODELS, rate=0.01, num_jobs=20)
    assert verdict.stages["c.prefill"].mean_s > 0.0


def test_a_session_plans_what_its_engines_can_run(builder: Any) -> None:
    """No engine of ours spreads a model over devices, so the plan of a job never asks for it."""
    from gangline.backends.fake import FakeBackend
    from gangline.planner.catalogue import catalogue as devices
    from gangline.runtime.machine.models import catalogue as models
    from gangline.runtime.session import Session, with_model

    p = builder("q")
    program = with_model(p.done(p.llm("ask", p.inputs[0])), "qwen2.5-coder-1.5b")
    card = FleetDevice("card", devices()["H100-SXM-80"].spec, count=4, usd_per_hour=2.0)
    fleet = Fleet("four", (card,))
    fast = propose(program, None, fleet, models(), deadline_s=1e-4, strict=False)
    assert fast.stage("ask.decode").tp > 1
    with Session(fleet, {"card/0": FakeBackend()}) as session:
        plan = session.plan(program, 1e-4, None)
    assert plan is not None and plan.stage("ask.decode").tp == 1
