"""`gangline jobs export|import|prune`."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from gangline.ir.errors import UsageError
from gangline.ir.specs.event import Event
from gangline.runtime.cli.app import run
from gangline.runtime.cli.jobs_keep import age_s
from gangline.runtime.store import Store


@pytest.fixture
def two_jobs() -> None:
    """One job that ended a week ago, one that ended now."""
    with Store() as store:
        for name, age in (("old", 7 * 86_400.0), ("new", 0.0)):
            at_s = time.time() - age
            store.create(Event(name, 1, "job.queued", at_s), "w", "me")
            store.append(name, [Event(name, 2, "job.completed", at_s, "", {})], 1)


def test_export_prune_import(two_jobs: None, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "jobs.jsonl"
    assert run(["jobs", "export", "--out", str(out), "--before", "1d"]) == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    kinds = [json.loads(line)["kind"] for line in out.read_text().splitlines()]
    assert kinds == ["gangline.jobs", "job", "events", "end"]
    assert run(["jobs", "prune", "--older-than", "1d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"pruned": 1}
    with Store() as store:
        assert [row.id for row in store.jobs()] == ["new"]
    assert run(["jobs", "import", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"jobs": 1, "present": 0, "unfinished": 0}
    db = f"sqlite:///{tmp_path / 'elsewhere' / 'jobs.sqlite'}"
    assert run(["jobs", "import", str(out), "--db", db]) == 0
    assert run(["jobs", "export", "--db", db, "--status", "succeeded"]) == 0
    assert '"id":"old"' in capsys.readouterr().out


def test_what_is_wrong_is_said(two_jobs: None, tmp_path: Path, capsys: Any) -> None:
    for arguments in (
        ["prune", "--older-than", "30"],
        ["prune", "--older-than", "1d", "--status", "done"],
        ["export", "--out", str(tmp_path / "no" / "where")],
        ["import", str(tmp_path / "nothing")],
        ["export", "--db", "mysql://me:s3cret@host/db"],
    ):
        assert run(["jobs", *arguments]) != 0
    told = capsys.readouterr()
    assert "s3cret" not in told.err + told.out
    assert list(tmp_path.iterdir()) == []


def test_ages() -> None:
    assert [age_s(text) for text in ("90s", "15m", "1.5h", "2d", "1w")] == [
        90.0,
        900.0,
        5400.0,
        172_800.0,
        604_800.0,
    ]
    for text in ("", "d", "-1d", "1y", "1 day"):
        with pytest.raises(UsageError):
            age_s(text)
