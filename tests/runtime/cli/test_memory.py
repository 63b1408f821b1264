"""`gangline memory`: spaces and entries as tables and documents, forgotten and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gangline.runtime.cli import app
from gangline.runtime.store import open_store
from gangline.runtime.store.memory_rows import Write

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def db(tmp_path: Path) -> str:
    """A store with two tenants' memory."""
    path = str(tmp_path / "home" / "jobs.sqlite")
    with open_store(path) as store:
        rows = (("local", "b", "blue [bold]sky[/bold]"), ("local", "a", {"n": 1}), ("x", "s", "no"))
        for tenant, key, value in rows:
            write = Write(f"{tenant}/{key}", "job")
            store.memory.remember(tenant, "notes", value, write, 5.0, key=key).result()
        store.memory.observe("local", "log", "began", None, Write("j/o", "j"), 5.0).result()
    return path


def run(*arguments: str, code: int = 0) -> None:
    assert app.run(["memory", *arguments]) == code


def document(capsys: Capture, *arguments: str, code: int = 0) -> Any:
    run(*arguments, "--json", code=code)
    return json.loads(capsys.readouterr().out)


def test_list(db: str, capsys: Capture) -> None:
    rows = document(capsys, "list", "--db", db)["data"]
    assert [(row["tenant"], row["space"], row["kind"], row["entries"]) for row in rows] == [
        ("local", "log", "log", 1),
        ("local", "notes", "entries", 2),
        ("x", "notes", "entries", 1),
    ]
    assert len(document(capsys, "list", "--db", db, "--tenant", "x")["data"]) == 1
    run("list", "--db", db)
    assert "notes" in capsys.readouterr().out
    run("list", "--db", f"{db}.new")
    assert "Nothing is remembered" in capsys.readouterr().out


def test_show(db: str, capsys: Capture) -> None:
    rows = document(capsys, "show", "notes", "--db", db)["data"]
    assert [(row["key"], row["value"]) for row in rows] == [
        ("a", {"n": 1}),
        ("b", "blue [bold]sky[/bold]"),
    ]
    found = document(capsys, "show", "notes", "--find", 'SKY" OR *', "--db", db)["data"]
    assert [row["key"] for row in found] == ["b"]
    assert document(capsys, "show", "notes", "a", "--db", db)["value"] == {"n": 1}
    page = document(capsys, "show", "notes", "--after", "a", "--limit", "1", "--db", db)["data"]
    assert [row["key"] for row in page] == ["b"]
    run("show", "notes", "--db", db)
    assert "[bold]" in capsys.readouterr().out  # text of others is no markup
    other = document(capsys, "show", "notes", "--tenant", "x", "--db", db)["data"]
    assert [row["key"] for row in other] == ["s"]


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("show", "nothing"), 1, "not_found"),
        (("show", "notes", "s"), 1, "not_found"),
        (("show", "notes", "a", "--find", "x"), 2, "usage"),
        (("show", "No Space"), 2, "input"),
        (("forget", "notes"), 2, "usage"),
        (("forget", "notes", "s"), 1, "not_found"),
        (("forget", "nothing", "--yes"), 1, "not_found"),
    ],
)
def test_what_is_wrong(
    db: str, capsys: Capture, arguments: tuple[str, ...], code: int, error: str
) -> None:
    told = document(capsys, *arguments, "--db", db, code=code)
    assert told["error"]["code"] == error and told["error"]["next_step"]


def test_forget_and_export(db: str, capsys: Capture) -> None:
    run("export", "--db", db)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["tenant"], line["key"]) for line in lines] == [
        ("local", "000000000001"),
        ("local", "a"),
        ("local", "b"),
        ("x", "s"),
    ]
    assert document(capsys, "forget", "notes", "a", "--db", db)["forgotten"] == 1
    assert document(capsys, "forget", "notes", "--yes", "--db", db)["forgotten"] == 1
    left = document(capsys, "export", "--db", db)["data"]
    assert [line["key"] for line in left] == ["000000000001", "s"]
