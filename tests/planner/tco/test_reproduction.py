"""The TCO study of arXiv 2507.19635: golden figures, the page's tables, and its sentences."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.heterogeneous_tco import (
    VARIANTS,
    Assumptions,
    Phase,
    cases,
    gaudi3_break_even,
    pair_traffic,
    phases,
    rounded,
    study,
    transfers,
)
from benchmarks.heterogeneous_tco_page import FITTED, PAGE, TABLE_3, tables
from gangline.planner.costs.kv_transfer import GBIT
from gangline.planner.costs.shape import find_shape
from gangline.planner.optimiser.fleet_sizing import (
    Entries,
    FleetProblem,
    PathRows,
    solve_fleet,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "heterogeneous_tco.json"
STATED = {name: variant for name, variant in VARIANTS.items() if name != FITTED}
PRINTED = "as printed"


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return study(STATED)


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return tables()


def test_all_ordered_pairs_of_all_cases_are_as_committed(figures: dict[str, Any]) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len(golden) == 5 and all(len(found) == 16 for found in golden.values())
    assert all(len(pairs) == 36 for found in golden.values() for pairs in found.values())
    assert rounded(figures) == golden


def test_the_page_shows_the_tables(made: dict[str, str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, table in made.items():
        shown = re.search(
            rf"<!-- table: {re.escape(name)} -->\n(.*?)\n<!-- end -->", text, re.DOTALL
        )
        assert shown, f"the page has no table {name!r}"
        if name != FITTED:
            assert shown[1] == table, f"run python -m benchmarks.heterogeneous_tco --write: {name}"
            continue
        ours, theirs = (re.findall(r"\d+\.\d+", part) for part in (table, shown[1]))
        assert np.array(ours, float) == pytest.approx(np.array(theirs, float), rel=0.5)


def test_the_blocks_of_the_page_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})  # noqa: S102 (the repository's own page)


def test_the_sentences_about_what_was_reproduced(figures: dict[str, Any]) -> None:
    printed, dense = figures[PRINTED], figures["dense FLOPS"]
    for case in cases():
        pairs, ours = printed[case.name], dense[case.name]
        decode_heavy = case.lengths == "512/4096"
        level = pairs["H100::Gaudi3"] / pairs["B200::B200"]
        if decode_heavy:
            assert 0.88 < level < 1.07
        elif case.dtype == "FP8":
            assert level < 0.95
        else:
            # Ahead in FP16 with the sparse H100 only.
            assert level > 1.0
            assert ours["H100::Gaudi3"] < 0.9 * ours["B200::B200"]
    mixed = [max((v, p) for p, v in printed[c.name].items() if v)[1] for c in cases()]
    assert sum(pair.split("::")[0] != pair.split("::")[1] for pair in mixed) == 10


def test_the_sentences_about_what_was_not(figures: dict[str, Any]) -> None:
    best = {
        variant: max(v for found in figures[variant].values() for v in found.values() if v)
        for variant in (PRINTED, "dense FLOPS")
    }
    assert best[PRINTED] == pytest.approx(2.12, abs=0.01)
    assert best["dense FLOPS"] == pytest.approx(2.66, abs=0.01)
    for case in cases():
        pairs = figures[PRINTED][case.name]
        assert pairs["B200::Gaudi3"] / pairs["B200::B200"] == pytest.approx(1.0, abs=0.1)
        assert any(v > pairs["B200::Gaudi3"] for p, v in pairs.items() if v and "MI300x" in p)


def test_which_assumption_decides(figures: dict[str, Any]) -> None:
    alone, dense, old = (
        figures[name]
        for name in ("operating cost alone", "dense FLOPS", "FP8 weights on older parts")
    )
    ahead = [
        alone[c.name]["B200::B200"] / alone[c.name]["B200::Gaudi3"]
        for c in cases()
        if c.lengths == "512/4096"
    ]
    assert (min(ahead), max(ahead)) == pytest.approx((1.29, 1.49), abs=0.005)
    gain = max(
        dense[c.name]["Gaudi3::Gaudi3"] / figures[PRINTED][c.name]["Gaudi3::Gaudi3"]
        for c in cases()
    )
    assert gain == pytest.approx(1.7, abs=0.05)
    eights = [case.name for case in cases() if case.dtype == "FP8"]
    assert all(figures[PRINTED][name]["H100::A100"] is None for name in eights)
    assert all(old[name]["H100::A100"] < 1.0 for name in eights)


def test_gaudi3_break_even_prices() -> None:
    found = [gaudi3_break_even(c, "B200::Gaudi3", "B200::B200", Assumptions()) for c in cases()]
    prices = [price for price in found if price is not None]
    assert len(prices) == 16
    assert 10400 < min(prices) < 12500 < max(prices) < 13900
    # At that price the pairs are level indeed.
    case = next(cases())
    assert prices[0] is not None
    level = study({"x": Assumptions(usd={"Gaudi3": prices[0]})})["x"][case.name]
    assert level["B200::Gaudi3"] == pytest.approx(level["B200::B200"])


def test_an_sla_never_makes_a_phase_cheaper() -> None:
    for case in cases():
        if case.sla == "latency":
            bound, free = (
                phases(c, Assumptions()) for c in (case, replace(case, sla="throughput"))
            )
            for name in bound:
                for strict, loose in zip(bound[name], free[name], strict=True):
                    assert strict is None or loose is not None
                    assert strict is None or loose is None or strict.device_s >= loose.device_s


def test_the_worked_example_by_the_sizing_program() -> None:
    """The optimiser chooses plan B at 0.095; at 160 ms it would choose C, at 0.06, not 0.07."""
    plans = list(TABLE_3.values())
    assert [round(usd, 3) for _, usd in plans] == [0.11, 0.095, 0.06]
    empty = np.array([], dtype=np.int64)
    problem = FleetProblem(
        num_parts=1,
        covers=Entries.of([(0, way, ms) for way, (ms, _) in enumerate(plans)]),
        loads=Entries.of([]),
        pool_device=empty,
        pool_size=np.array([]),
        watts=np.array([]),
        tiers=(),
        paths=PathRows([{0: 1.0, 1: -1.0}], 1, 1, 1, 120.0),
        fixed_usd=np.array([usd for _, usd in plans]),
    )
    chosen = solve_fleet(problem, max_gap=0.0)
    assert chosen is not None
    assert chosen.shares.tolist() == pytest.approx([0.0, 1.0, 0.0])
    assert chosen.usd_per_hour == pytest.approx(0.095)
    assert problem.paths is not None
    for limit, expected in ((110.0, 0.11), (160.0, 0.06), (100.0, None)):
        found = solve_fleet(replace(problem, paths=replace(problem.paths, deadline_s=limit)))
        assert (found.usd_per_hour if found else None) == (expected and pytest.approx(expected))


def test_the_papers_kv_claim_by_hand() -> None:
    """70B in FP16, 32K tokens, TTFT 0.25 s: 10.7 GB, 344 Gbit/s out, 4295 in at 20 ms."""
    size = find_shape("Llama-3.1-70B").kv_bytes(32768, "fp16")
    prefill = Phase(device_s=0.0, seconds=0.25, tp=1, batch=1.0)
    found = pair_traffic(size, 512, prefill, replace(prefill, seconds=0.02))
    assert found.kv_bytes == pytest.approx(10.737e9, rel=1e-3)
    assert found.egress_peak / GBIT == pytest.approx(343.6, rel=1e-3)
    assert found.ingress_peak / GBIT == pytest.approx(4295, rel=1e-3)
    assert found.ingress_mean == pytest.approx(found.kv_bytes / (512 * 0.02))


def test_400_gbit_carry_every_pair_but_not_the_literal_ingress() -> None:
    for case in cases():
        if case.sla == "latency":
            served = [moved for moved in transfers(case, Assumptions()).values() if moved]
            assert served
            assert all(moved.fits(400 * GBIT) for moved in served)
