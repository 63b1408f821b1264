"""Ctrl-C in a real process leaves a job that another process shows and continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from gangline.runtime.execution.executor import Executor
from gangline.runtime.local_jobs import job_document, list_jobs
from gangline.runtime.store import Store

SCRIPT = """
import json, signal, sys, threading
from pathlib import Path
from gangline.ir.program import Program
from gangline.runtime.execution.executor import Executor
from gangline.runtime.dispatch.job import Job
from gangline.runtime.store import Store

# A shell that starts the tests in the background has its children ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

class Wait:
    signature, is_async, is_inline, accepts_idempotency_key = "", False, False, False
    def call(self, arguments):
        sys.stdout.write("waiting\\n")
        sys.stdout.flush()
        threading.Event().wait()

program = Program.from_json(json.loads(sys.argv[2]))
with Store(Path(sys.argv[1])) as store, Executor({}, {"wait": Wait()}.get, store=store) as executor:
    executor.run(Job("w", program, {}))
"""


def run_until(sent: signal.Signals, program: Any, path: Path) -> tuple[int, str]:
    """Run a job in another process, and send a signal once its tool is running."""
    command = [sys.executable, "-c", SCRIPT, str(path), json.dumps(program.to_json())]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        process.send_signal(sent)
        try:
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()  # a program that does not end must fail the test, not hang it
    return process.returncode, errors


def test_interrupt(builder: Any, plain_tool: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("GANGLINE_HOME", str(tmp_path / "home"))
    p = builder()
    path = tmp_path / "home" / "jobs.sqlite"
    code, errors = run_until(signal.SIGINT, p.done(p.tool("wait")), path)
    assert "KeyboardInterrupt" in errors and code != 0
    assert "gangline jobs retry" in errors  # the cause says how to go on
    (row,) = list_jobs(limit=10, after=None, status="running")["data"]
    document = job_document(row["id"][-8:])
    assert [step["status"] for step in document["steps"]] == ["running"]
    tools = {"wait": plain_tool(lambda: "done")}
    with Store(path) as store, Executor({}, tools.get, store=store) as executor:
        assert executor.resume(row["id"]).output == "done"


def test_kill_in_the_middle_of_a_write(builder: Any, plain_tool: Any, tmp_path: Path) -> None:
    p = builder()
    path = tmp_path / "home" / "jobs.sqlite"
    code, _ = run_until(signal.SIGKILL, p.done(p.tool("wait", effects="write")), path)
    assert code == -signal.SIGKILL
    tools = {"wait": plain_tool(lambda: "done")}
    with Store(path) as store, Executor({}, tools.get, store=store) as executor:
        (row,) = store.jobs()
        # The lease has not run out, but its owner is dead: no waiting.
        asked = executor.resume(row.id)
        assert asked.status == "input_required" and store.job(row.id).status == "input_required"
        assert asked.error is not None and "'wait'" in asked.error["detail"]
        assert executor.resume(row.id, rerun=frozenset({"wait"})).output == "done"
