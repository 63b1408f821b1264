"""The benchmark of the cost model: targets pick their rows, the peer is a roofline, text holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import cost_model
from benchmarks.fit_cost_model import roofline
from benchmarks.fit_cost_model.data import find_shared_data


def row(**values: Any) -> dict[str, Any]:
    """One row of a score with what every row has."""
    plain = {"module": "gemm", "table": "gemm/l40s", "held_out": "L40S", "dtype": "bf16"}
    return {**plain, "how": "left out", "rows": 10, "median_error": 0.05, **values}


def test_a_target_takes_its_own_rows_and_says_when_it_is_missed() -> None:
    rows = [
        row(median_error=0.04),
        row(held_out="B200-SXM-180", median_error=0.07),
        row(held_out="T4", median_error=0.9),
        row(dtype="fp8", median_error=0.3),
    ]
    found = {item["target"]: item for item in cost_model.against_targets(rows)}
    plain = found["gemm bf16, device left out"]
    assert plain["median_error"] == pytest.approx(0.055) and plain["worst_error"] == 0.07
    assert plain["met"] and not found["gemm fp8, device left out"]["met"]
    assert "linear ops (vidur), device left out" not in found


def test_rows_in_sample_are_not_rows_left_out() -> None:
    kept = {"module": "attention", "table": "attention_decode", "dtype": "kv16"}
    rows = [
        row(**kept, how="in sample", median_error=0.01),
        row(**kept, how="left out", median_error=0.3),
    ]
    (found,) = cost_model.against_targets(rows)
    assert found["median_error"] == 0.3 and not found["met"]


def test_text_shows_every_row_and_every_target() -> None:
    rows = [row(coverage=0.9, roofline_error=0.123), row(dtype="fp8")]
    document = {"rows": rows, "targets": cost_model.against_targets(rows)}
    text = cost_model.text(document)
    assert text.count("gemm/l40s") == 2 and "0.123" in text and "met" in text


def test_a_roofline_finds_the_constants_that_made_its_rows() -> None:
    draws = np.random.default_rng(2)
    compute, memory = (10.0 ** draws.uniform(-7, -2, 300) for _ in range(2))
    seconds = np.maximum(compute / 0.6, memory / 0.8) + 5e-6
    work = roofline.Work(("t", "d", "f"), "pool", "d", compute, memory, seconds)
    fitted = roofline._fit([work])
    assert fitted["compute"] == pytest.approx(0.6, rel=0.01)
    assert fitted["memory"] == pytest.approx(0.8, rel=0.01)
    assert fitted["launch_s"] == pytest.approx(5e-6, rel=0.02)


def test_a_roofline_stands_beside_left_out_rows_of_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        row(module="collective", table="x.csv", held_out="nvlink/ada", op="all_reduce"),
        row(module="collective", table="x.csv", held_out="nvlink/ada", op="all_gather"),
        row(module="collective", table="x.csv", held_out="nvlink/ada", op="all_reduce")
        | {"how": "in sample"},
    ]
    peers = {("x.csv", "nvlink/ada", "all_reduce"): 0.4}
    monkeypatch.setattr(roofline, "peer_errors", lambda name: peers)
    found = cost_model._beside_peer("collective", rows)
    assert [item.get("roofline_error") for item in found] == [0.4, None, None]


@pytest.mark.skipif(find_shared_data() is None, reason="the shared measurements are absent")
def test_peers_are_named_as_the_scores_name_their_rows() -> None:
    from benchmarks.fit_cost_model import attention, collective

    links = {(rows.table, rows.link, rows.kind) for rows in collective.load()}
    assert {work.key for work in roofline.collective_work()} == links
    calls = {
        (f"attention_{phase}", rows.spec.type, rows.width)
        for phase in attention.TABLES
        for rows in attention.load(phase)
    }
    assert {work.key for work in roofline.attention_work()} == calls
