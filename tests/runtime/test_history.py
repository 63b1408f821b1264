"""Predictions learn from finished jobs, and only from those."""

from __future__ import annotations

from pathlib import Path

import pytest

import gangline as gl
from gangline.backends.fake import FakeBackend
from gangline.ir.program import Program
from gangline.ir.specs.event import StepRecord
from gangline.runtime.api import run_workflow
from gangline.runtime.dispatch.job import JobResult
from gangline.runtime.history import History
from gangline.runtime.session import Session

PROGRAM = Program("w", (), (), (), text="module {}")


def make_result(seconds: float, status: str = "succeeded") -> JobResult:
    step = StepRecord("s", (), "tool", "s", "cpu/0", "succeeded", 0.0, seconds, 1.0, seconds)
    return JobResult("id", "w", status, steps=[step])


def seconds(history: History, program: Program = PROGRAM) -> float | None:
    profile = history.profile(program)
    amount = profile.stages["s"].seconds if profile else None
    return amount.mean if amount else None


def test_what_was_measured_is_kept_for_the_next_process(tmp_path: Path) -> None:
    History(tmp_path).learn(PROGRAM, make_result(2.0))
    History(tmp_path).learn(PROGRAM, make_result(4.0))
    assert seconds(History(tmp_path)) == pytest.approx(3.0)


def test_failed_jobs_teach_nothing(tmp_path: Path) -> None:
    History(tmp_path).learn(PROGRAM, make_result(2.0, "failed"))
    assert History(tmp_path).profile(PROGRAM) is None


def test_another_program_has_its_own_profile(tmp_path: Path) -> None:
    History(tmp_path).learn(PROGRAM, make_result(2.0))
    assert seconds(History(tmp_path), Program("w", (), (), (), text="module { }")) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"stages": {"s": {}}}'])
def test_a_damaged_file_counts_as_nothing_known(tmp_path: Path, content: str) -> None:
    history = History(tmp_path)
    history.learn(PROGRAM, make_result(2.0))
    (file,) = tmp_path.glob("*.json")
    file.write_text(content)
    assert history.profile(PROGRAM) is None
    history.learn(PROGRAM, make_result(5.0))
    assert seconds(history) == pytest.approx(5.0)


@gl.tool(effects="none")
def doubled(number: int) -> int:
    """Give twice a number."""
    return 2 * number


@gl.workflow
def twice(number: int) -> int:
    """Double a number."""
    return doubled(number)


def test_only_the_fleets_own_backends_teach(own_data_folder: Path) -> None:
    def learned() -> list[Path]:
        return list(own_data_folder.glob("profiles/twice-*.json"))

    run_workflow(twice, {"number": 2}, backends={"cpu/0": FakeBackend()})
    assert not learned()
    with Session() as session:
        assert session.run(twice, {"number": 2}).output == 4
    assert len(learned()) == 1
