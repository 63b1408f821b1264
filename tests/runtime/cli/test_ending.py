"""How a command ends: on Ctrl-C, while threads are at work, and with a query that failed."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import JobError
from gangline.runtime import api
from gangline.runtime.cli import app
from gangline.runtime.cli.run_command import print_output

Capture = pytest.CaptureFixture[str]

FLOW = """
import gangline as gl


@gl.workflow
def same(text: str) -> str:
    return text
"""


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt from JobError("Job 17 was interrupted", next_step="Retry 17.")


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "flow.py").write_text(FLOW)
    monkeypatch.setattr(api, "run_job", interrupted)
    return f"{tmp_path / 'flow.py'}:same"


def test_ctrl_c_tells_how_to_go_on(flow: str, capsys: Capture) -> None:
    assert app.run(["run", flow, "-i", "text=a"]) == 130
    out, err = capsys.readouterr()
    assert out == "" and "Job 17 was interrupted" in err and "Retry 17." in err


def test_ctrl_c_as_a_document(flow: str, capsys: Capture) -> None:
    assert app.run(["run", flow, "-i", "text=a", "--json"]) == 130
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "failed" and document["error"]["next_step"] == "Retry 17."


@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_a_command_leaves_the_logs_of_its_process_alone(
    flow: str, debug: list[str], capsys: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("gangline")
    before = logger.handlers[:], logger.level, logger.propagate
    assert app.run(["run", flow, "-i", "text=a", *debug]) == 130
    assert (logger.handlers, logger.level, logger.propagate) == before
    logger.warning("said afterwards")
    assert "said afterwards" in caplog.text


def test_ctrl_c_outside_a_job(flow: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def stop(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gangline.workflows.registry.load", stop)
    assert app.run(["run", flow]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(("daemon", "shown"), [("True", "out\n"), ("False", "out\natexit\n")])
def test_a_thread_at_work_cannot_change_the_exit_code(daemon: str, shown: str) -> None:
    """Where a daemon is left, the interpreter must not be taken down around it."""
    script = (
        "import atexit, threading; from gangline.runtime.cli import leave;"
        "atexit.register(print, 'atexit'); wait = threading.Event();"
        f"{daemon} and threading.Thread(target=wait.wait, daemon=True).start();"
        "print('out'); leave(3)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, shown, "")


def test_nobody_reads_what_is_left() -> None:
    script = (
        "import sys, threading; from gangline.runtime.cli import leave;"
        "threading.Thread(target=threading.Event().wait, daemon=True).start();"
        "sys.stdin.read(); print('out'); leave(3)"
    )
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", script]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=buffered) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.close()
        assert (process.stderr.read(), process.wait(30)) == (b"", 3)


def test_a_query_without_a_result_says_why(capsys: Capture) -> None:
    answer = {"sql": "SELECT x", "columns": [], "rows": [], "error": "there is no column x"}
    print_output(answer)
    assert "there is no column x" in capsys.readouterr().out


def test_a_cut_result_says_so(capsys: Capture) -> None:
    print_output({"sql": "SELECT 1", "columns": ["1"], "rows": [[1]], "truncated": True})
    assert "more rows" in capsys.readouterr().out
