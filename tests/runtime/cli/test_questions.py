"""`gangline run` on a workflow that asks: at a terminal, and without one."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import ConflictError
from gangline.runtime.api import close_sessions, resume_job
from gangline.runtime.cli import app
from gangline.runtime.cli.questions import shown

Capture = pytest.CaptureFixture[str]
FLOW = """
import gangline as gl


@gl.workflow
def count(what: str) -> list[int]:
    return gl.map(lambda n: gl.ask("How many " + what + "?", returns=int), 2)
"""


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "flow.py").write_text(FLOW)
    close_sessions()  # a session of another test has another store
    yield f"{tmp_path / 'flow.py'}:count"
    close_sessions()


def test_without_a_terminal_the_job_waits(
    flow: str, capsys: Capture, validate: Callable[[str, Any], None]
) -> None:
    assert app.run(["run", flow, "-i", "what=dogs", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    validate("job_result", document)
    assert document["status"] == "input_required" and len(document["interrupts"]) == 2
    assert app.run(["run", flow, "-i", "what=dogs"]) == 1
    err = capsys.readouterr().err
    assert "How many dogs?" in err and "gangline jobs resume" in err

    with pytest.raises(ConflictError, match="2 questions"):
        resume_job(document["job_id"], "", 3)
    half = resume_job(document["job_id"], "map[1]/ask", 3)
    assert half.status == "input_required"
    assert resume_job(document["job_id"], "", 4).output == [4, 3]


def test_at_a_terminal_it_asks_until_an_answer_fits(flow: str) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "gangline", "run", flow, "-i", "what=dogs", "--json"]
    process = subprocess.Popen(
        command, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.close(slave)
    os.write(master, b"many\n3\n4\n")
    out, err = process.communicate(timeout=120)
    os.close(master)
    assert process.returncode == 0, err
    assert json.loads(out)["output"] == [3, 4]
    assert err.count("How many dogs?") == 2 and "is no integer" in err


def test_ctrl_d_leaves_the_job_waiting(flow: str) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "gangline", "run", flow, "-i", "what=dogs"]
    process = subprocess.Popen(
        command, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    os.close(slave)
    os.write(master, b"\x04")
    _, err = process.communicate(timeout=120)
    os.close(master)
    assert process.returncode == 130 and "gangline jobs resume" in err


def test_a_question_cannot_steer_the_terminal() -> None:
    assert shown("Go?\x1b[2J\r\n\u202e") == "Go?\ufffd[2J\ufffd\n\ufffd"
