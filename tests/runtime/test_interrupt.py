"""Ctrl-C in a real process leaves a job that another process shows and continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from gangline.runtime.executor import Executor
from gangline.runtime.history import job_document, list_jobs
from gangline.runtime.store import Store

SCRIPT = """
import json, sys, threading
from pathlib import Path
from gangline.ir.program import Program
from gangline.runtime.executor import Executor
from gangline.runtime.job import Job
from gangline.runtime.store import Store

class Wait:
    signature, is_async, accepts_idempotency_key = "", False, False
    def call(self, arguments):
        sys.stdout.write("waiting\\n")
        sys.stdout.flush()
        threading.Event().wait()

program = Program.from_json(json.loads(sys.argv[2]))
with Store(Path(sys.argv[1])) as store, Executor({}, {"wait": Wait()}.get, store=store) as executor:
    executor.run(Job("w", program, {}))
"""


def test_interrupt(builder: Any, plain_tool: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("GANGLINE_HOME", str(tmp_path / "home"))

    p = builder()
    program = p.done(p.tool("wait"))
    path = tmp_path / "home" / "jobs.sqlite"
    command = [sys.executable, "-c", SCRIPT, str(path), json.dumps(program.to_json())]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors and process.returncode != 0
    with Store(path) as store:
        (row,) = list_jobs(limit=10, after=None, status="running")["data"]
        document = job_document(row["id"][-8:])
        assert [step["status"] for step in document["steps"]] == ["running"]
        tool = plain_tool(lambda: "done")
        with Executor({}, {"wait": tool}.get, store=store) as executor:
            assert executor.resume(row["id"]).output == "done"
