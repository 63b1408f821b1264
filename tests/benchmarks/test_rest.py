"""The REST benchmark counts what it says, finds peers, and judges by the floor of its own run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import rest
from benchmarks.rest_servers import KINDS, python_of

COLD = {"first_answer_s": 0.5, "wall_s": 0.8, "rss_mb": 80.0}


def ours(p50_ms: float) -> dict[str, Any]:
    return {
        "one_at_a_time": {"p50_ms": p50_ms, "p99_ms": 20.0},
        "in_flight_32": {"per_s": 501.0},
        "submits": {"per_s": 1999.0},
    }


def test_targets_move_with_the_floor_of_the_run() -> None:
    met = {name: row["met"] for name, row in rest.targets(ours(4.4), 0.25, COLD).items()}
    assert met["p50_ms"] and met["jobs_per_s"] and met["first_answer_s"]
    assert not met["submits_per_s"]
    assert not rest.targets(ours(4.6), 0.25, COLD)["p50_ms"]["met"]


def test_syncs_are_counted_in_what_strace_wrote(tmp_path: Path) -> None:
    log = tmp_path / "syncs.txt"
    assert rest.num_syncs(log) == 0
    log.write_text("7 fdatasync(3) = 0\n8 fsync(4 <unfinished ...>\n8 <... fsync resumed>) = 0\n")
    assert rest.num_syncs(log) == 2


def test_a_peer_is_where_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def environment(name: str) -> Path:
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.touch()
        return python

    first, second = environment("first"), environment("second")
    kind = KINDS["ray-serve"]
    monkeypatch.setenv("GANGLINE_BENCH_RAY", str(tmp_path / "first"))
    assert python_of(kind, {}) == str(first)
    assert python_of(kind, {"ray-serve": str(tmp_path / "second")}) == str(second)
    monkeypatch.setenv("GANGLINE_BENCH_RAY", str(tmp_path / "absent"))
    assert python_of(kind, {}) is None


def test_the_floor_is_full(tmp_path: Path) -> None:
    taken = rest.commits(tmp_path, 5)
    assert len(taken) == 5 and min(taken) > 0
