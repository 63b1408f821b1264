"""What a running job shows: each step from its start to its end."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gangline.ir.specs.event import Event
from gangline.runtime.cli.progress import JobProgress


def event(kind: str, step: str, **data: object) -> Event:
    return Event("job", 1, kind, 0.0, step, {"stage": step, "device": "cpu/0", **data})


def picture(progress: JobProgress) -> list[str]:
    """Give the names of the running steps, as drawn."""
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(progress._picture())
    return [line.split()[0] for line in console.export_text().splitlines()[1:]]


def test_a_prefill_is_over_when_its_decode_begins() -> None:
    progress = JobProgress("shop")
    for step in ("a.prefill", "map[0]/b.prefill", "a.decode"):
        progress(event("step.started", step))
    assert picture(progress) == ["map[0]/b.prefill", "a.decode"]
    progress(event("step.completed", "a.prefill", actual_s=1.0))
    progress(event("step.completed", "a.decode", actual_s=1.0))
    assert picture(progress) == ["map[0]/b.prefill"]


def test_without_a_terminal_each_step_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = JobProgress("shop")
    for step in ("a.tokenize", "a.prefill"):
        progress(event("step.started", step))
        progress(event("step.completed", step, actual_s=1.5))
    shown = capsys.readouterr().err.split()
    assert shown == ["a.prefill", "cpu/0", "1.50", "s", "done"]
