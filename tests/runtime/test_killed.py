"""A process is killed while a plan is carried out; another goes on, and nothing is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from gangline.runtime.api import close_sessions, resume_job, retry_job
from gangline.runtime.store import Store

FLOW = """
import os, time
import gangline as gl


def note(path: str, word: str) -> None:
    with open(path, "a") as file:
        file.write(word + "\\n")


@gl.tool(effects="read")
def plan(path: str) -> list[dict]:
    note(path, "plan")
    first = [{"id": f"s{n}", "tool": "work", "arguments": {"name": f"s{n}"}} for n in range(3)]
    last = {"id": "end", "tool": "work", "arguments": {"name": {"$ref": "s2"}}}
    return [*first, last]


@gl.tool(effects="read")
def work(path: str, name: str) -> str:
    time.sleep(0.03)
    note(path, name)
    return name + "x"


@gl.tool(effects="write")
def send(path: str, text: str) -> str:
    note(path, "send")
    return text


@gl.workflow
def flow(path: str) -> str:
    made = gl.expand(plan(path), tools=[work], given={"path": path})
    again = gl.ask("Send it?", choices=["yes", "no"])
    return gl.branch(again == "yes", lambda: send(path, made["end"]), lambda: "not sent")
"""


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "flow.py").write_text(FLOW)
    close_sessions()
    yield f"{tmp_path / 'flow.py'}:flow"
    close_sessions()


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def stored() -> bool:
    with Store() as store:
        return bool(store.jobs())


@pytest.mark.parametrize("enough", [1, 2, 4, 5])
def test_nothing_recorded_runs_twice(flow: str, tmp_path: Path, enough: int) -> None:
    path = tmp_path / "calls"
    command = [sys.executable, "-m", "gangline", "run", flow, "-i", f"path={path}"]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        ends = time.monotonic() + 60.0
        while len(lines(path)) < enough:
            assert time.monotonic() < ends and process.poll() is None
            time.sleep(0.002)
        # A safe tool may run before its job is stored: such a job was never promised to anybody.
        while not stored():
            assert time.monotonic() < ends and process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    with Store() as store:
        (row,) = store.jobs()
        recorded = {e.step_id for e in store.events(row.id) if e.type == "step.completed"}
    before = Counter(lines(path))
    asked = retry_job(row.id)
    assert asked.status == "input_required", asked.error
    done = resume_job(row.id, "", "yes")
    assert done.output == "s2xx", done.error
    calls = Counter(lines(path))
    assert calls["send"] == 1
    for step_id, word in (("plan", "plan"), *((f"expand/s{n}", f"s{n}") for n in range(3))):
        more = calls[word] - before[word]
        assert more == (0 if step_id in recorded else 1), "recorded: not run again; else once"
    assert {step.status for step in done.steps} == {"succeeded"}
