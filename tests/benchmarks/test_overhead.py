"""The overhead benchmark runs, compares within a round, and says what is missing."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import overhead
from benchmarks.overhead_entrants import PEERS, ROWS, Row


def test_a_quick_run_gives_every_figure_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert overhead.main(["--quick", "--rounds", "1", "--no-peers", "--no-scale", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["absent"]) == set(PEERS)
    own = [(row.shape, row.label) for row in ROWS if row.process in ("floor", "gangline")]
    assert [(row["shape"], row["entrant"]) for row in document["figures"]] == own
    assert not [row for row in document["figures"] if "error" in row]
    assert all(0 < row["fastest"] <= row["ms_per_step"] for row in document["figures"])
    chains = document["durable_chain_over_bare_commit"]
    assert chains["bare SQLite FULL commits"]["median"] == 1.0
    # How much, a quick run on a busy machine cannot tell; that each step is on disk, it can.
    shape = "durable chain, a commit per step"
    ours = [
        row for row in document["figures"] if row["shape"] == shape and "gangline" in row["entrant"]
    ]
    assert len(ours) == 2 and all(1.0 <= row["commits_per_step"] < 1.3 for row in ours)
    assert len(document["targets"]) == 6


def test_every_shape_in_which_a_peer_runs_has_a_figure_of_ours() -> None:
    ours = {row.shape for row in ROWS if row.process == "gangline"}
    assert ours == {row.shape for row in ROWS}


def test_figures_are_per_step_and_medians_over_rounds() -> None:
    row = Row("five-step jobs", "x", "gangline", "case", 10, 1)
    answers = [
        {"num": 10, "wall_s": wall, "cpu_s": wall / 2, "rss_peak_mb": 1.0, "commits": 5}
        for wall in (0.1, 0.5, 0.2)
    ]
    found = overhead.figure(row, answers)
    assert found["ms_per_step"] == pytest.approx(4.0)  # 0.2 s for 50 steps
    assert (found["fastest"], found["slowest"]) == (pytest.approx(2.0), pytest.approx(10.0))
    assert found["jobs_per_s"] == pytest.approx(50.0) and found["steps"] == 50
    assert found["commits_per_step"] == pytest.approx(0.1)
    assert overhead.figure(row, [*answers, {"error": "broke"}])["error"] == "broke"


def test_a_missing_peer_is_told_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overhead, "OWN", {})
    for name in PEERS:
        monkeypatch.setenv(f"GANGLINE_BENCH_{name.upper()}", str(tmp_path))
    python = tmp_path / "bin" / "python"
    with ExitStack() as stack:
        entrants, absent = overhead.start(str(tmp_path), True, stack)
    assert not entrants and "make bench-setup" in absent["ray"]
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    python.chmod(0o755)
    with ExitStack() as stack:
        entrants, absent = overhead.start(str(tmp_path), True, stack)
    assert not entrants and "code 3" in absent["ray"]


def test_scale_compares_ten_times_the_work_in_fresh_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = {"served": ("loop_served", 1_000, 10_000), "odd": ("no such case", 1_000, 10_000)}
    monkeypatch.setattr(overhead, "SCALE", cases)
    found = overhead.scaled(str(tmp_path), quick=True)
    assert found["served"]["steps"] == 200 and found["served"]["times_a_tenth_cpu"] > 0.0
    assert "KeyError" in found["odd"]["error"]
