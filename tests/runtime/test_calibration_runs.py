"""Measurements of engines here, and of stored jobs, in the form the calibration learns from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gangline.backends.base import Sampled, SchedulerOutput
from gangline.backends.engine.backend import EngineBackend
from gangline.backends.fake import FakeBackend, FakeRunner, encode
from gangline.ir.errors import GanglineError
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.event import Event
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.ir.specs.model import ModelSpec
from gangline.ir.specs.request import Submit
from gangline.runtime.calibration_runs import MeasuredRun, measure, stored_runs
from gangline.runtime.dispatch.job import Job
from gangline.runtime.execution.executor import Executor
from gangline.runtime.store import Store

CPU = DeviceSpec(
    "cpu",
    "cpu",
    flops={"int8": 1e12},
    memory_bytes=64 * 10**9,
    memory_bytes_per_s=5e10,
    cores=2,
    source="probed",
)
FLEET = Fleet("f", (FleetDevice("cpu", CPU, usd_per_hour=1.0),))
MODELS = {
    "m": ModelSpec(
        "m", (), "", 0, "", "llama", 24, 2048, 16, 8, 128, 8192, 32000, 8192, True, 1_500_000_000
    )
}
SHAPES = ((16, 5, 1), (64, 9, 4))


def no_tools(name: str) -> None:
    """Find no tool."""


class Recording(FakeBackend):
    """Remembers what it was asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[Submit] = []

    def send(self, message: Any) -> None:
        if isinstance(message, Submit):
            self.asked.append(message)
        super().send(message)


def test_every_shape_is_measured_on_the_devices_that_are_here() -> None:
    backend = Recording()
    told: list[MeasuredRun] = []
    fleet = replace(FLEET, devices=(*FLEET.devices, FleetDevice("absent", CPU)))
    rows = measure(
        fleet, {"cpu/0": backend}, "m", MODELS, rounds=2, shapes=SHAPES, on_measured=told.append
    )
    backend.close()
    buckets = [(row.key.op, row.key.bucket) for row in rows]
    once = [("prefill", "t16 c0 b1"), ("decode", "t4 c16 b1"), ("decode", "t4 c64 b4")]
    assert buckets == once * 2
    assert told == rows and {row.key.device for row in rows} == {"cpu"}
    assert all(row.actual_s >= 0.0 and row.modelled_s > 0.0 for row in rows)


def test_no_prompt_is_asked_twice_and_every_answer_has_its_length() -> None:
    backend = Recording()
    measure(FLEET, {"cpu/0": backend}, "m", MODELS, rounds=2, shapes=SHAPES)
    backend.close()
    assert len({request.prompt_tokens for request in backend.asked}) == len(backend.asked) == 11
    assert {request.sampling.max_tokens for request in backend.asked} == {5, 9}
    assert all(request.sampling.ignore_eos for request in backend.asked)


def test_slow_steps_are_measured_as_slow() -> None:
    class Slow(FakeRunner):
        def execute(self, output: SchedulerOutput, num_steps: int = 1) -> Mapping[str, Sampled]:
            time.sleep(0.004)
            return super().execute(output, num_steps)

    backend = EngineBackend(
        lambda model: Slow(num_output_tokens=lambda request: 99), lambda model: encode
    )
    rows = measure(FLEET, {"cpu/0": backend}, "m", MODELS, rounds=1, shapes=((16, 6, 1),))
    backend.close()
    prefill, decode = rows
    assert prefill.actual_s >= 0.004 and decode.actual_s >= 5 * 0.004


def test_an_engine_that_fails_is_not_measured() -> None:
    def load(model: str) -> FakeRunner:
        raise GanglineError("no weights")

    backend = EngineBackend(load, lambda model: encode)
    with pytest.raises(GanglineError, match="no weights"):
        measure(FLEET, {"cpu/0": backend}, "m", MODELS, shapes=SHAPES)
    backend.close()


def test_stored_jobs_that_ran_alone_are_read(builder: Any, store: Store) -> None:
    p = builder("q")
    program = p.done(p.llm("draft", p.inputs[0]))
    with Executor({"cpu/0": FakeBackend()}, no_tools, store=store) as executor:
        for question in ("one", "two"):
            executor.run(Job("w", program, {"q": question}, device="cpu/0"))
    rows = stored_runs(store, FLEET, MODELS)
    assert sorted(key.op for key, _, _ in rows) == ["decode", "decode", "prefill", "prefill"]


def test_stored_jobs_that_overlapped_are_left_out(
    builder: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = builder("q")
    program = p.done(p.llm("draft", p.inputs[0]))
    with Executor({"cpu/0": FakeBackend()}, no_tools, store=store) as executor:
        for question in ("one", "two", "three"):
            executor.run(Job("w", program, {"q": question}, device="cpu/0"))
    begins = {row.id: (0.0, 0.5, 9.0)[index] for index, row in enumerate(store.jobs()[::-1])}
    real = store.events

    def at(job_id: str, after: int = 0) -> list[Event]:
        """The first two jobs overlap by half a second."""
        events = real(job_id, after)
        return [
            replace(event, at_s=begins[job_id] + index / len(events))
            for index, event in enumerate(events)
        ]

    monkeypatch.setattr(store, "events", at)
    assert len(stored_runs(store, FLEET, MODELS)) == 2
