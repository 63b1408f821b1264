"""A process is killed while a model writes a plan; another goes on, and no line runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from gangline.backends.fake import FakeBackend
from gangline.runtime.api import close_sessions, retry_job
from gangline.runtime.store import Store

FLOW = """
import gangline as gl


@gl.tool(effects="read")
def do_line(path: str, name: str) -> str:
    with open(path, "a") as file:
        file.write(name + "\\n")
    return name


@gl.llm(model="m", max_tokens=400)
def plan(path: str) -> str:
    '''Plan {path}.'''


@gl.workflow
def flow(path: str) -> dict:
    return gl.expand(plan(path), tools=[do_line], given={"path": path}, form="lines")
"""
RUN = """
import sys
from concurrent.futures import Future
from gangline.backends.fake import FakeEncoder
from gangline.ir.specs.request import Finished, FirstToken, Submit, TokenDelta
from gangline.runtime.api import run_job
from gangline.workflows.registry import load

LINES = ['1. do_line(name="a")', '2. do_line(name="b")', '3. do_line(name="$1$2")', "4. join()"]


class Halting:
    '''Writes some lines of the plan, and then nothing more.'''

    alive = True

    def __init__(self, count):
        self.count = count

    def start(self, emit):
        self.emit = emit

    def prepare(self, model):
        loaded = Future()
        loaded.set_result(None)
        return loaded

    def encoder(self, model):
        return FakeEncoder().encode

    def send(self, message):
        if isinstance(message, Submit):
            self.emit(FirstToken(message.request_id, 0.0, 1, 0))
            for line in LINES[: self.count]:
                self.emit(TokenDelta(message.request_id, 0.0, line + "\\n", 1))

    def close(self):
        pass


name, count, path = sys.argv[1:]
run_job(load(name), {"path": path}, backends={"cpu/0": Halting(int(count))}, source=name)
"""


def words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def planned() -> list[str]:
    with Store() as store:
        rows = store.jobs()
        events = store.events(rows[0].id) if rows else []
    return [event.data["step"]["id"] for event in events if event.type == "step.planned"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_line_that_is_recorded_runs_twice(tmp_path: Path, count: int) -> None:
    flow, path = tmp_path / "flow.py", tmp_path / "calls"
    flow.write_text(FLOW)
    close_sessions()
    command = [sys.executable, "-c", RUN, f"{flow}:flow", str(count), str(path)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        ends = time.monotonic() + 60.0
        while len(planned()) < count or len(words(path)) < count or not jobs():
            assert time.monotonic() < ends and process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    with Store() as store:
        (row,) = store.jobs()
        recorded = {e.step_id for e in store.events(row.id) if e.type == "step.completed"}
    before = Counter(words(path))
    text = '1. do_line(name="a")\n2. do_line(name="b")\n3. do_line(name="$1$2")\n4. join()'
    done = retry_job(row.id, backends={"cpu/0": FakeBackend(lambda prompt: text)})
    assert done.output == {"1": "a", "2": "b", "3": "ab"}, done.error
    calls = Counter(words(path))
    for number, word in (("1", "a"), ("2", "b"), ("3", "ab")):
        more = calls[word] - before[word]
        assert more == (0 if f"expand/{number}" in recorded else 1)
    assert planned() == ["1", "2", "3"]
    close_sessions()


def jobs() -> int:
    with Store() as store:
        return len(store.jobs())
