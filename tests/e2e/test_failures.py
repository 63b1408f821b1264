"""Whatever a user gets wrong: one paragraph or one document, a next step, the right exit code."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gangline.runtime.cli import app
from gangline.runtime.machine import models

Capture = pytest.CaptureFixture[str]

ASK = ("run", "text_to_sql", "-i", "question=How many customers?")
SMALL = ("-i", "db=small.sqlite")
FILES = {
    "not_a_database.txt": "This is a letter, and no database at all.\n" * 100,
    "unknown_device.toml": '[[device]]\nname = "a"\ntype = "H999"\nusd_per_hour = 1.0\n',
    "unknown_key.toml": '[[device]]\nname = "a"\ntype = "cpu"\nusd_per_hour = 1.0\ncolour = "red"\n',
    "not_toml.toml": "[[device\n",
    "no_python.py": "def (:\n",
    "list.json": "[1, 2]",
    "raises.py": """
import gangline as gl


@gl.tool(effects="none")
def divide(by: int) -> float:
    return 1 / by


@gl.workflow
def wf(by: int) -> float:
    return divide(by)
""",
    "unbounded.py": """
import gangline as gl


@gl.workflow
def wf(n: int) -> int:
    while n > 0:
        n = n - 1
    return n
""",
}

CASES = {
    # name: (arguments, exit code, error code, what the paragraph must name)
    "missing database": ((*ASK, "-i", "db=gone.sqlite"), 1, "database", "gone.sqlite"),
    "not a database": ((*ASK, "-i", "db=not_a_database.txt"), 1, "database", "not_a_database.txt"),
    "negative budget": ((*ASK, *SMALL, "--budget-usd", "-1"), 2, "input", "budget_usd"),
    "budget that is no number": ((*ASK, *SMALL, "--budget-usd", "nan"), 2, "input", "budget_usd"),
    "empty question": (("run", "text_to_sql", "-i", "question= ", *SMALL), 2, "input", "question"),
    "unknown model": ((*ASK, *SMALL, "--model", "gpt-17"), 1, "model", "gpt-17"),
    "unknown device": ((*ASK, *SMALL, "--fleet", "unknown_device.toml"), 2, "config", "H999"),
    "unknown key": ((*ASK, *SMALL, "--fleet", "unknown_key.toml"), 2, "config", "colour"),
    "not a fleet": ((*ASK, *SMALL, "--fleet", "not_toml.toml"), 2, "config", "not_toml.toml"),
    "missing fleet": ((*ASK, *SMALL, "--fleet", "gone.toml"), 2, "input", "gone.toml"),
    "unknown workflow": (("run", "text_to_sqll"), 2, "usage", "text_to_sql"),
    "missing file": (("run", "gone.py:wf"), 2, "usage", "gone.py"),
    "no workflow there": (("run", "raises.py:wff"), 2, "usage", "wf"),
    "not Python": (("run", "no_python.py:wf"), 2, "usage", "no_python.py"),
    "wrong use": (("run", "unbounded.py:wf", "-i", "n=3"), 1, "trace", "unbounded.py:7"),
    "a tool that raises": (("run", "raises.py:wf", "-i", "by=0"), 1, "step", "divi"),
    "an input of a wrong type": (("run", "raises.py:wf", "-i", "by=two"), 2, "input", "by"),
    "an input without a value": ((*ASK, "-i", "db"), 2, "usage", "name=value"),
    "an unknown input": ((*ASK, *SMALL, "-i", "qestion=?"), 2, "input", "qestion"),
    "a missing input": (ASK, 2, "input", "db"),
    "inputs of no object": (
        ("run", "raises.py:wf", "--input-json", "list.json"),
        2,
        "input",
        "list",
    ),
    "a deadline that is none": ((*ASK, *SMALL, "--deadline", "soon"), 2, "usage", "soon"),
    "an objective that is none": (("plan", "text_to_sql", "--slo", "4s"), 2, "usage", "p95=4s"),
    "no way to be in time": (("plan", "text_to_sql", "--slo", "p95=1ms"), 1, "infeasible", "0.001"),
    "no money": ((*ASK, *SMALL, "--budget-usd", "1e-12"), 1, "budget", "--budget-usd"),
    "no such command": (("runn",), 2, "usage", "run"),
    "no such option": ((*ASK, "--fast"), 2, "usage", "--fast"),
    "no argument": (("run",), 2, "usage", "gangline run --help"),
    "no such stage": (("explain", "text_to_sql", "--stage", "x"), 2, "usage", "timeline"),
    "no such job": (("jobs", "show", "zzz"), 1, "store", "gangline jobs list"),
    "no such model to pull": (("models", "pull", "smolm2"), 1, "model", "smollm2-135m"),
    "no pairs": (("eval", "text_to_sql", "--pairs", "gone", "--db-dir", "."), 2, "input", "gone"),
}


@pytest.fixture(autouse=True)
def files(home: Path) -> None:
    for name, text in FILES.items():
        (home / name).write_text(text)


@pytest.mark.parametrize("case", CASES)
def test_one_paragraph(case: str, scripted: None, capsys: Capture) -> None:
    arguments, exit_code, code, word = CASES[case]
    assert app.run(arguments) == exit_code
    out, err = capsys.readouterr()
    assert err.count("error [") == 1
    paragraph = err[err.index("error [") :]
    assert paragraph.startswith(f"error [{code}] ")
    assert word in paragraph
    lines = paragraph.strip().splitlines()
    assert len(lines) >= 2 and all(lines), "a paragraph, with a next step on a line of its own"
    assert "Traceback" not in out + err


def test_a_terminal_wraps_an_error_as_one_paragraph(
    scripted: None, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    app.run(CASES["unknown model"][0])
    paragraph = capsys.readouterr().err.partition("error [")[2]
    assert max(map(len, paragraph.splitlines())) <= 40


@pytest.mark.parametrize("group", [(), ("models",), ("jobs",)])
def test_a_bare_command_shows_its_help_and_nothing_else(
    group: tuple[str, ...], capsys: Capture
) -> None:
    assert app.run(group) == 2
    shown = "".join(capsys.readouterr())
    assert "Usage: " + " ".join(("gangline", *group)) in shown
    assert "error [" not in shown


@pytest.mark.parametrize("case", CASES)
def test_one_document(case: str, scripted: None, capsys: Capture) -> None:
    arguments, exit_code, code, word = CASES[case]
    assert app.run([*arguments, "--json"]) == exit_code
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["status"] == "failed"
    assert document["error"]["code"] == code
    assert word in json.dumps(document["error"], ensure_ascii=False)
    assert document["error"]["next_step"]
    assert err == ""


@pytest.mark.parametrize("place", [0, 1, 2, 4])
def test_debug_anywhere_adds_the_traceback(place: int, scripted: None, capsys: Capture) -> None:
    arguments = [*ASK, *SMALL, "--model", "gpt-17", "--json"]
    arguments.insert(place, "--debug")
    assert app.run(arguments) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "model"
    assert err.startswith("Traceback") and "ModelError" in err


def test_debug_keeps_the_exit_code_of_wrong_use(capsys: Capture) -> None:
    assert app.run(["run", "gone.py:wf", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_one_flipped_byte_in_the_weights(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """No scripted model here: the real engine meets the file and refuses it."""
    content = bytes(range(256)) * 16
    weights = home / "weights.gguf"
    weights.write_bytes(content[:-1] + b"\x00")
    row = tomllib.loads(models.ROWS.read_text())["model"][-1]
    plain = {key: value for key, value in row.items() if not isinstance(value, list)}
    plain |= {"name": "flipped", "file_bytes": len(content)}
    plain |= {"sha256": hashlib.sha256(content).hexdigest()}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    lines += ["[[model.source]]", 'kind = "path"', f"path = {json.dumps(str(weights))}"]
    (home / "models.toml").write_text("[[model]]\n" + "\n".join(lines) + "\n")
    monkeypatch.setenv("GANGLINE_MODELS", str(home / "models.toml"))
    arguments = [
        "run",
        "examples/research_brief.py:brief",
        "-i",
        "topic=dogs",
        "--model",
        "flipped",
    ]
    assert app.run([*arguments, "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "corrupt_weights"
    assert error["where"] == str(weights) and "models pull flipped" in error["next_step"]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as users do, in a process of its own."""
    line = [sys.executable, "-m", "gangline", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=dict(os.environ), check=False)


def test_the_command_itself_fails_as_it_should(home: Path) -> None:
    """Exit codes, streams and the absence of a traceback, as a shell sees them."""
    done = command(
        "run", "text_to_sql", "-i", "question=How many?", "-i", "db=gone.sqlite", "--json"
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["error"]["code"] == "database"


def test_help_loads_nothing_heavy() -> None:
    """`--help` stays instant: it is what people wait for most often."""
    heavy = "('torch', 'iree', 'scipy', 'numpy', 'pydantic', 'transformers', 'networkx', 'sqlglot')"
    code = (
        "import sys; from gangline.runtime.cli.app import run; assert run(['--help']) == 0; "
        f"sys.exit(sorted(set(sys.modules) & set({heavy})) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "" and done.returncode == 0, done.stderr
