"""`gangline keys`: shown once, kept as a hash, accepted by a server, revoked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gangline as gl
from gangline.ir.errors import AuthenticationError, ForbiddenError
from gangline.runtime.cli import app
from gangline.runtime.client import testing
from gangline.runtime.store import Store

Validate = Callable[[str, Any], None]
Run = Callable[..., Any]


@gl.tool(effects="read")
def same(number: int) -> int:
    return number


@gl.workflow
def identity(number: int) -> int:
    """Give a number back."""
    return same(number)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        found = app.run(["keys", *arguments])
        out, err = capsys.readouterr()
        assert found == code, f"{arguments} ended with {found}:\n{out}{err}"
        return json.loads(out) if "--json" in arguments else (out, err)

    return call


def test_a_key_is_shown_once_and_kept_as_a_hash(
    run: Run, validate: Validate, tmp_path: Path
) -> None:
    db = str(tmp_path / "jobs.sqlite")
    made = run(
        "create", "--tenant", "acme", "--scope", "read, submit", "--max-in-flight", "8",
        "--usd-per-day", "5", "--note", "for ann", "--db", db, "--json",
    )  # fmt: skip
    validate("key", made)
    assert made["scopes"] == ["submit", "read"]
    assert made["quota"] == {"max_in_flight": 8.0, "usd_per_day": 5.0}
    listed = run("list", "--db", db, "--json")
    validate("keys", listed)
    (row,) = listed["data"]
    assert row == {name: value for name, value in made.items() if name != "key"}
    for file in tmp_path.iterdir():
        assert made["key"].encode() not in file.read_bytes()
    assert made["key"] not in run("list", "--db", db)[0]


def test_only_the_key_is_on_stdout(run: Run) -> None:
    out, err = run("create", "--tenant", "acme")
    assert out.startswith("gl-")
    assert len(out.splitlines()) == 1
    assert out.strip() not in err


def test_a_server_takes_keys_until_they_are_revoked(run: Run, tmp_path: Path) -> None:
    db = tmp_path / "jobs.sqlite"
    ids = {
        scope: run("create", "--tenant", "t", "--scope", scope, "--db", str(db), "--json")
        for scope in ("submit,read", "read")
    }
    with testing.server(identity, store=db) as address:
        with gl.Client(address) as nobody, pytest.raises(AuthenticationError):
            nobody.workflows()
        with gl.Client(address, api_key=ids["submit,read"]["key"]) as ann:
            assert ann.submit(identity, number=3).result(timeout=30) == 3
        with gl.Client(address, api_key=ids["read"]["key"]) as bob:
            assert [job.status for job in bob.jobs()] == ["succeeded"]
            with pytest.raises(ForbiddenError):
                bob.submit(identity, number=3)
    run("revoke", ids["read"]["id"][-12:], "--db", str(db))
    with (
        testing.server(identity, store=db) as address,
        gl.Client(address, api_key=ids["read"]["key"]) as bob,
        pytest.raises(AuthenticationError),
    ):
        bob.workflows()


def test_revoking(run: Run, validate: Validate) -> None:
    made = run("create", "--tenant", "acme", "--json")
    gone = run("revoke", made["id"], "--json")
    validate("key", gone)
    assert gone["revoked_s"] >= gone["created_s"]
    validate("failure", run("revoke", "no-such-key", "--json", code=1))
    assert "revoked" in run("list")[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--tenant", ""),
        ("--tenant", "a\nb"),
        ("--tenant", " a"),
        ("--tenant", "x" * 101),
        ("--tenant", "a", "--scope", "root"),
        ("--tenant", "a", "--scope", ","),
        ("--tenant", "a", "--usd-per-day", "-1"),
        ("--tenant", "a", "--weight", "0"),
        ("--tenant", "a", "--max-in-flight", "nan"),
        ("--tenant", "a", "--usd-per-day", "inf"),
        (),
    ],
)
def test_what_is_refused(arguments: tuple[str, ...], run: Run, validate: Validate) -> None:
    validate("failure", run("create", *arguments, "--json", code=2))
    with Store() as store:
        assert store.keys() == []
