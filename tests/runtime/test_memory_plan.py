"""The notebook example: it remembers between jobs, it plans, it simulates, it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gangline.backends.fake import FakeBackend
from gangline.backends.virtual import VirtualBackend
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.planner.graph_tree import drawn_tree
from gangline.planner.profile import observe
from gangline.planner.proposal import propose
from gangline.planner.report import text_table
from gangline.runtime.api import run_job
from gangline.runtime.dispatch.job import Job
from gangline.runtime.machine.models import catalogue
from gangline.runtime.simulation.simulator import Simulator
from gangline.runtime.simulation.verdict import simulate_plan
from gangline.runtime.store import Store
from gangline.workflows.registry import load

EXAMPLE = Path(__file__).parents[2] / "examples" / "notebook.py"
HOST = DeviceSpec(
    "cpu",
    flops={"fp32": 1e11, "bf16": 5e11, "int8": 6e11},
    memory_bytes=8 * 10**9,
    memory_bytes_per_s=2e10,
    cores=4,
    generation="x86",
    source="test",
)
FLEET = Fleet("one", (FleetDevice("cpu", HOST, usd_per_hour=0.2),))


@pytest.fixture
def notebook() -> Any:
    return load(f"{EXAMPLE}:notebook")


def test_the_second_job_uses_what_the_first_remembered(notebook: Any, tmp_path: Path) -> None:
    prompts: list[str] = []

    def reply(prompt: str) -> str:
        prompts.append(prompt)
        return "noted"

    with Store(tmp_path / "jobs") as store:
        for number, message in enumerate(("Togo leads.", "Who leads?"), 1):
            result = run_job(
                notebook,
                {"message": message},
                backends={"cpu/0": FakeBackend(reply)},
                store=store,
            )
            assert result.status == "succeeded", result.error
            assert result.output["number"] == number
        assert [entry["value"] for entry in result.output["recalled"]] == ["Togo leads."]
        assert "none yet" in prompts[0] and "- Togo leads." in prompts[1]
        found = run_job(load(f"{EXAMPLE}:diary"), {"words": "togo"}, store=store, backends={})
    assert [entry["value"]["event"]["message"] for entry in found.output] == ["Togo leads."]


def test_an_embedding_is_planned_as_a_prefill_and_memory_as_a_host_s_work(notebook: Any) -> None:
    plan = propose(notebook.program(), None, FLEET, catalogue(), strict=False)
    rows = {row.stage: row for row in plan.stages}
    # 150 tokens of a field, no template around them: less than the prompt, and not nothing.
    assert 0.0 < rows["recall.embed"].seconds < rows["reply.prefill"].seconds
    assert rows["recall.embed"].op == "embed" and rows["recall.embed"].usd > 0.0
    for name in ("recall", "remember", "observe"):
        assert rows[name].seconds == pytest.approx(0.005)
    assert "recall.embed" in text_table(plan)


def test_what_embeddings_took_corrects_the_next_plan(notebook: Any, tmp_path: Path) -> None:
    with Store(tmp_path / "jobs") as store:
        result = run_job(
            notebook, {"message": "x" * 100}, backends={"cpu/0": FakeBackend()}, store=store
        )
    profile = observe(result.steps)
    row = profile.stages["recall.embed"]
    assert (row.op, row.prompt_tokens.mean, row.seconds) == ("embed", 100.0, None)
    plan = propose(notebook.program(), profile, FLEET, catalogue(), strict=False)
    stage = next(row for row in plan.stages if row.stage == "recall.embed")
    assert stage.source == "calibrated"


def test_a_plan_with_memory_is_simulated(notebook: Any) -> None:
    program, models = notebook.program(), catalogue()
    plan = propose(program, None, FLEET, models, strict=False)
    verdict = simulate_plan(program, None, plan, FLEET, models, rate=0.05, seed=1)
    rows = {row.stage: row for row in plan.stages}
    seen = verdict.stages["recall.embed"].mean_s
    assert 0.2 * rows["recall.embed"].seconds < seen < 5.0 * rows["recall.embed"].seconds
    assert verdict.p50_s > rows["reply.prefill"].seconds


def test_the_simulator_runs_memory_steps_of_a_real_program(notebook: Any) -> None:
    backend = VirtualBackend(lambda output: 0.01 * max(output.num_batched_tokens, 1))
    simulator = Simulator({"cpu/0": backend}, lambda command: 0.5, lambda command: "- x")
    program = notebook.program()
    plan = propose(program, None, FLEET, catalogue(), strict=False)
    job = Job("notebook", program, {"message": "hello"}, device="cpu/0", plan=plan)
    (done,) = simulator.run([(0.0, job)]).jobs
    assert done.status == "succeeded"
    steps = {step.id: step for step in done.steps}
    embed = steps["recall.embed"]
    assert embed.prompt_tokens and embed.end_s and embed.end_s > 0.0
    lookup = steps["recall"]
    assert lookup.start_s is not None and lookup.end_s is not None
    assert lookup.end_s - lookup.start_s == pytest.approx(0.005)


def test_at_agent_level_an_embedding_belongs_to_its_reader(notebook: Any) -> None:
    def names(level: str) -> list[str]:
        return [item.id for item in drawn_tree(notebook.program(), level).items]

    assert names("agent") == ["recall", "as_lines", "reply", "remember", "observe"]
    assert {"recall.embed"} <= set(names("stage"))
    tree = drawn_tree(notebook.program(), "agent")
    assert (0, 1) in tree.edges
