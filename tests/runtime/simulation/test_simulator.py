"""The simulator against the real engine, stepped in virtual time, and against the executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from gangline.backends.base import Encode, Sampled, SchedulerOutput
from gangline.backends.engine.engine import Engine
from gangline.backends.fake import FakeBackend, FakeRunner
from gangline.backends.virtual import VirtualBackend
from gangline.ir.program import Program
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.ir.specs.request import EngineEvent, EngineMessage
from gangline.runtime.dispatch.backoff import backoff_s
from gangline.runtime.dispatch.commands import RunTool
from gangline.runtime.dispatch.job import Job
from gangline.runtime.execution.executor import Executor
from gangline.runtime.simulation.simulator import SimulationResult, Simulator, VirtualDevice

FLEET = Fleet(
    "f", (FleetDevice("gpu", DeviceSpec("gpu", "gpu", cores=4), count=2, usd_per_hour=3600.0),)
)


def step_time(output: SchedulerOutput) -> float:
    context = sum(entry.num_computed for entry in output.scheduled)
    return 0.01 + 0.0013 * output.num_batched_tokens + 0.00007 * context


class SteppedEngine:
    """The real `Engine`, one step at a time, on a clock that each step moves."""

    alive = True

    def __init__(self) -> None:
        world = self
        self.at_s = self.now = 0.0
        self.end_s: float | None = None
        self.held: list[EngineEvent] = []

        class Runner(FakeRunner):
            def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
                world.at_s += step_time(output)
                return super().execute(output, num_steps)

        self.engine = Engine(Runner(), lambda: self.at_s, self.held.append)

    def start(self, emit: Any) -> None:
        return

    def close(self) -> None:
        return

    def send(self, message: EngineMessage) -> None:
        self.engine.send(message)

    def prepare(self, model: str) -> Future[None]:
        ready: Future[None] = Future()
        ready.set_result(None)
        return ready

    def encoder(self, model: str) -> Encode:
        return self.engine.runner.encode

    def next_event_s(self) -> float | None:
        if self.end_s is None:
            self.at_s = self.now
            self.engine.take_messages()
            if self.engine.core.has_work:
                self.engine.step()
                self.end_s = self.at_s
        return self.end_s

    def advance(self, now: float) -> Sequence[EngineEvent]:
        self.now = now
        if self.end_s is None or self.end_s > now:
            return []
        self.end_s = None
        events = list(self.held)
        self.held.clear()
        return events


def workflow(builder: Any) -> Program:
    """Three drafts side by side, a tool each, then a bounded loop with an llm inside."""
    p = builder("q")
    drafts = p.map(
        p.constant([1, 2, 3]), lambda item: p.tool("check", p.llm("draft", p.inputs[0], item))
    )
    program: Program = p.done(
        p.loop(
            drafts,
            lambda value: p.tool("good", value),
            lambda value: p.compute("list", p.llm("repair", value)),
            2,
        )
    )
    return program


def tool_time(command: RunTool) -> float:
    return 0.05 + len(command.step.id) / 1000


def tool_result(command: RunTool) -> Any:
    return False if command.name == "good" else command.arguments["a0"]


def simulate(program: Program, *devices: VirtualDevice) -> SimulationResult:
    backends = {f"gpu/{index}": device for index, device in enumerate(devices)}
    simulator = Simulator(backends, tool_time, tool_result, fleet=FLEET)
    jobs = [(0.013 * n, Job("w", program, {"q": f"question {n}"}, device="gpu")) for n in range(12)]
    return simulator.run(jobs)


@pytest.mark.parametrize("skip", [True, False])
def test_exact_against_the_real_engine(builder: Any, skip: bool) -> None:
    program = workflow(builder)
    real = simulate(program, SteppedEngine(), SteppedEngine())
    virtual = simulate(
        program, *(VirtualBackend(step_time, deltas=False, skip=skip) for _ in range(2))
    )
    for ours, theirs in zip(virtual.jobs, real.jobs, strict=True):
        assert ours.events == theirs.events
    assert virtual == real
    assert all(job.status == "succeeded" for job in real.jobs)
    assert real.end_s > 1.0 and set(real.busy_s) == {"gpu/0", "gpu/1"}


def test_twice_is_the_same(builder: Any) -> None:
    program = workflow(builder)
    assert simulate(program, VirtualBackend(step_time)) == simulate(
        program, VirtualBackend(step_time)
    )


def test_same_steps_as_the_executor(builder: Any, plain_tool: Any) -> None:
    p = builder("q")
    program = p.done(p.tool("check", p.llm("draft", p.inputs[0])))
    job = Job("w", program, {"q": "x"}, device="gpu/0")
    (simulated,) = (
        Simulator({"gpu/0": VirtualBackend(step_time)}, tool_time, tool_result)
        .run([(0.0, job)])
        .jobs
    )
    with Executor({"gpu/0": FakeBackend()}, {"check": plain_tool(lambda a0: a0)}.get) as executor:
        result = executor.run(job)
    ours = [(s.id, s.parents, s.status, s.prompt_tokens, s.output_tokens) for s in simulated.steps]
    theirs = [(s.id, s.parents, s.status, s.prompt_tokens, s.output_tokens) for s in result.steps]
    assert ours == theirs
    assert simulated.events[-1].data["output"] == result.output


def test_money_is_busy_time(builder: Any) -> None:
    result = simulate(workflow(builder), VirtualBackend(step_time), VirtualBackend(step_time))
    engines = sum(
        event.data["busy_s"]
        for job in result.jobs
        for event in job.events
        if "busy_s" in event.data
    )
    tools = sum(
        step.actual_s or 0.0 for job in result.jobs for step in job.steps if step.op == "tool"
    )
    # $3600 per hour is $1 per second; a tool takes one of four cores.
    assert sum(job.usd for job in result.jobs) == pytest.approx(engines + tools / 4)
    assert sum(result.busy_s.values()) == pytest.approx(engines + tools)


def test_tool_slots_queue(builder: Any) -> None:
    p = builder()
    program = p.done(p.map(p.constant([1, 2, 3]), lambda item: p.tool("check", item)))
    simulator = Simulator({}, lambda command: 1.0, tool_slots={"cpu": 2})
    (job,) = simulator.run([(5.0, Job("w", program, {}, device="cpu"))]).jobs
    assert (job.latency_s, job.status) == (2.0, "succeeded")


def test_timeout_and_retry_take_virtual_time(builder: Any) -> None:
    p = builder()
    program = p.done(p.tool("check", timeout_s=2.0, retries=1))
    (job,) = Simulator({}, lambda command: 3.0).run([(0.0, Job("w", program, {}))]).jobs
    assert (job.status, job.end_s) == ("failed", 2.0 + backoff_s(1, "job-0/check") + 2.0)
