"""Calibration on disk: learned from jobs, safe among processes, kept whole or set aside."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.program import Program
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.event import StepRecord
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.ir.specs.model import ModelSpec
from gangline.planner.calibration import Calibration, Key
from gangline.planner.proposal import propose
from gangline.planner.situation import modelled_steps
from gangline.runtime.dispatch.job import JobResult
from gangline.runtime.history import CALIBRATION, History

KEY = Key("cpu", "decode", "m", "t16 c256 b1")
CPU = DeviceSpec(
    "cpu",
    "cpu",
    flops={"int8": 1e12},
    memory_bytes=64 * 10**9,
    memory_bytes_per_s=5e10,
    cores=2,
    source="probed",
)
FLEET = Fleet("f", (FleetDevice("box", CPU, usd_per_hour=1.0),))
MODELS = {
    "m": ModelSpec(
        "m", (), "", 0, "", "llama", 24, 2048, 16, 8, 128, 8192, 32000, 8192, True, 1_500_000_000
    )
}


def program(builder: Any) -> Program:
    p = builder("q")
    made: Program = p.done(p.llm("draft", p.inputs[0]))
    return made


def result(slower: float, made: Program, prompt: int = 400, output: int = 33) -> JobResult:
    """A job whose steps took `slower` times what the model says."""
    steps = []
    for op in ("prefill", "decode"):
        step = StepRecord(op, (), op, f"draft.{op}", "box/0", "succeeded", 0.0, 1.0, None, 1.0)
        steps.append(replace(step, prompt_tokens=prompt, cached_tokens=0, output_tokens=output))
    rows = modelled_steps(made, steps, FLEET, MODELS)
    timed = [
        replace(step, actual_s=slower * modelled)
        for step, (_, _, modelled) in zip(steps, rows, strict=True)
    ]
    return JobResult("id", "w", "succeeded", steps=timed)


def learned(history: History, builder: Any, *ratios: float, prompt: int = 400) -> None:
    made = program(builder)
    for ratio in ratios:
        history.learn(made, result(ratio, made, prompt), FLEET, MODELS)


def test_finished_jobs_correct_the_next_plan_of_any_workflow(tmp_path: Path, builder: Any) -> None:
    learned(History(tmp_path), builder, *[2.5] * 8)
    other = builder("q")
    unseen = other.done(other.tool("t", other.llm("other", other.inputs[0])))
    plain = propose(unseen, None, FLEET, MODELS)
    corrected = propose(unseen, None, FLEET, MODELS, calibration=History(tmp_path).calibration())
    for op in ("prefill", "decode"):
        before, after = plain.stage(f"other.{op}"), corrected.stage(f"other.{op}")
        assert after.seconds == pytest.approx(2.5 * before.seconds, rel=0.05)
        assert (before.source, after.source) == ("probed", "calibrated")
        assert after.high_s / after.low_s <= before.high_s / before.low_s


def test_long_prompts_and_short_ones_are_corrected_apart(tmp_path: Path, builder: Any) -> None:
    history = History(tmp_path)
    learned(history, builder, *[0.5] * 10, prompt=100)
    learned(history, builder, *[3.0] * 10, prompt=4000)
    errors = {report.op: report for report in history.calibration().errors()}
    assert errors["prefill"].after < 0.2 * errors["prefill"].before
    found = [
        correction.factor
        for key in history.calibration().runs
        if key.op == "prefill" and (correction := history.calibration().correction(key)) is not None
    ]
    assert sorted(found) == pytest.approx([0.5, 3.0], rel=0.2)


def test_failed_jobs_and_foreign_devices_teach_nothing(tmp_path: Path, builder: Any) -> None:
    made, history = program(builder), History(tmp_path)
    history.learn(made, replace(result(2.0, made), status="failed"), FLEET, MODELS)
    elsewhere = Fleet("g", (FleetDevice("other", CPU),))
    history.learn(made, result(2.0, made), elsewhere, MODELS)
    history.learn(made, result(2.0, made))
    assert not history.calibration().runs


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version": 7}', "\x00"])
def test_a_damaged_file_is_set_aside_and_not_lost(tmp_path: Path, content: str) -> None:
    history = History(tmp_path)
    history.calibrate([(KEY, 2.0, 1.0)])
    (tmp_path / CALIBRATION).write_text(content)
    assert history.calibration() == Calibration()
    assert (tmp_path / "calibration.damaged").read_text() == content
    assert history.calibrate([(KEY, 3.0, 1.0)]).runs[KEY][0].missed is None
    assert len(history.calibration().runs[KEY]) == 1


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(tmp_path)
    history.calibrate([(KEY, 2.0, 1.0)])

    def full(self: Path, *_: Any, **__: Any) -> int:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    history.calibrate([(KEY, 9.0, 1.0)])
    monkeypatch.undo()
    assert len(History(tmp_path).calibration().runs[KEY]) == 1
    assert not list(tmp_path.glob("*.part"))


def _write(folder: Path, number: int) -> None:
    for _ in range(5):
        History(folder).calibrate([(replace(KEY, model=f"m{number}"), 2.0, 1.0)])


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Without the lock each would write what it read before the others wrote."""
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write, args=(tmp_path, n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    runs = History(tmp_path).calibration().runs
    assert {key.model: len(rows) for key, rows in runs.items()} == {f"m{n}": 5 for n in range(4)}


def test_forget_begins_anew(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.calibrate([(KEY, 2.0, 1.0)])
    history.forget()
    assert not history.calibration().runs
    history.forget()


def test_the_file_is_the_documented_document(tmp_path: Path) -> None:
    History(tmp_path).calibrate([(KEY, 2.0, 1.0)])
    document = json.loads((tmp_path / CALIBRATION).read_text())
    assert document["buckets"][0]["device"] == "cpu"
