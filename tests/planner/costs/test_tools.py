"""Tool durations: sketches keep quantiles, mean and tail; SQL and embedding behave like ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.fit_cost_model.data import find_shared_data
from gangline.ir.errors import ConfigError
from gangline.planner.catalogue import find_type
from gangline.planner.costs.constants import CONSTANTS_PATH
from gangline.planner.costs.tools import (
    Durations,
    embedding_s,
    sql_s,
    tool_distribution,
    tool_source,
)

NEEDS_DATA = pytest.mark.skipif(
    find_shared_data() is None, reason="the shared measurements are absent (GANGLINE_SHARED_DATA)"
)


def two_humps(count: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Draw durations as shells have them: quick listings, slow tests, a Pareto tail."""
    draws = np.random.default_rng(7)
    quick = 0.02 * np.exp(0.3 * draws.standard_normal(count))
    slow = 7.0 * np.exp(0.3 * draws.standard_normal(count))
    tail = 10.0 * (1.0 + draws.pareto(1.8, count))
    which = draws.random(count)
    return np.where(which < 0.5, quick, np.where(which < 0.95, slow, tail))


def test_a_sketch_keeps_both_humps_the_mean_and_the_tail() -> None:
    seconds = two_humps(20_000)
    fitted = Durations.fit(seconds)
    for share in (0.1, 0.3, 0.7, 0.9, 0.95, 0.99):
        assert float(fitted.quantile(share)) == pytest.approx(
            float(np.quantile(seconds, share)), rel=0.05
        )
    assert fitted.mean == pytest.approx(float(seconds.mean()), rel=0.05)
    assert float(fitted.quantile(0.999)) == pytest.approx(
        float(np.quantile(seconds, 0.999)), rel=0.4
    )
    # One log-normal of the same moments of the logarithm misses the median by far.
    plain = Durations.lognormal(float(np.exp(np.log(seconds).mean())), float(np.log(seconds).std()))
    assert plain.p95 > 2.0 * fitted.p95


def test_samples_follow_the_sketch_and_the_seed() -> None:
    fitted = tool_distribution("bash")
    draws = fitted.sample(np.random.default_rng(3), 200_000)
    assert np.array_equal(draws[:9], fitted.sample(np.random.default_rng(3), 200_000)[:9])
    assert draws.mean() == pytest.approx(fitted.mean, rel=0.1)
    for share in (0.25, 0.5, 0.95, 0.99):
        assert float(np.mean(draws <= fitted.quantile(share))) == pytest.approx(share, abs=0.005)
    assert draws.min() > 0.0 and draws.max() <= fitted.most_s
    assert fitted.sample(np.random.default_rng(3)).shape == ()


def test_quantiles_rise_without_a_jump_where_the_tail_begins() -> None:
    for kind in ("bash", "read", "edit", "grep", "any"):
        fitted = tool_distribution(kind)
        shares = np.linspace(0.0, 1.0, 4001)
        seconds = fitted.quantile(shares)
        assert np.all(np.diff(seconds) >= -1e-12)
        assert float(fitted.quantile(0.99 + 1e-9)) == pytest.approx(fitted.p99, rel=1e-3)
        assert float(fitted.quantile(1.0)) == pytest.approx(fitted.most_s)


def test_shells_are_slow_and_heavy_tailed_and_reads_are_quick() -> None:
    shell, read = tool_distribution("Shell"), tool_distribution("Read")
    assert shell.p50 > 100.0 * read.p50
    assert shell.p99 > 3.0 * shell.p50 and shell.mean > 0.5 * shell.p50
    assert tool_source("bash") == "measured"
    assert tool_source("teleport") == "spec"
    assert tool_distribution("teleport") == tool_distribution("any")


def test_one_duration_and_equal_durations_fit() -> None:
    for samples in ([0.5], [0.5] * 50):
        fitted = Durations.fit(samples)
        assert fitted.p50 == pytest.approx(0.5)
        assert fitted.mean == pytest.approx(0.5, rel=0.05)


def test_scaling_scales_every_quantile() -> None:
    fitted = tool_distribution("bash")
    slower = fitted.scaled(3.0)
    assert slower.mean == pytest.approx(3.0 * fitted.mean)
    assert slower.p99 == pytest.approx(3.0 * fitted.p99)


@pytest.mark.parametrize("samples", [[], [-1.0], [float("nan")], [float("inf")]])
def test_durations_that_cannot_be_are_refused(samples: list[float]) -> None:
    with pytest.raises(ConfigError, match="finite seconds"):
        Durations.fit(samples)


def test_lognormal_has_its_mean_and_quantiles() -> None:
    fitted = Durations.lognormal(2.0, 0.8)
    assert fitted.p50 == pytest.approx(2.0)
    assert fitted.p95 == pytest.approx(2.0 * np.exp(0.8 * 1.6449), rel=0.01)
    assert fitted.mean == pytest.approx(2.0 * np.exp(0.32), rel=0.05)


def test_sql_grows_with_rows_scanned_and_names_its_kinds() -> None:
    assert sql_s(1e7).p50 == pytest.approx(5.0, rel=0.01)
    assert sql_s(1e7, "join").p99 > sql_s(1e7, "scan").p99 > sql_s(1e7, "lookup").p99
    assert sql_s(1e9, "lookup").p50 == sql_s(1.0, "lookup").p50
    with pytest.raises(ConfigError, match="lookup, scan, join"):
        sql_s(10.0, "magic")


def test_embedding_is_an_encoder_pass() -> None:
    device = find_type("H100-SXM-80").spec
    seconds = embedding_s(device, "bf16", 512, batch=np.array([1, 256]))
    flop = 256 * 512 * 12 * 2 * (4 * 768**2 + 2 * 768 * 3072)
    assert 0.2 < flop / float(seconds[1]) / 9.89e14 < 0.8
    assert 1e-4 < float(seconds[0]) < float(seconds[1])
    # Attention grows with the square of a text: without it twice the text is twice the time.
    long = embedding_s(device, "bf16", np.array([16384, 32768]))
    assert long[1] > 2.5 * long[0]


@NEEDS_DATA
def test_constants_are_what_the_script_fits_and_hold_on_other_tasks() -> None:
    from benchmarks.fit_cost_model import tools as fit

    stated = json.loads((CONSTANTS_PATH / "tools.json").read_text(encoding="utf-8"))
    again = fit.fit()
    assert stated["kinds"]["bash"]["quantiles"] == pytest.approx(
        again["kinds"]["bash"]["quantiles"], rel=1e-5
    )
    rows = {row["op"]: row for row in fit.score()}
    assert rows["bash"]["mean_error"] < 0.2 and rows["bash"]["p50_error"] < 0.1
    assert rows["bash"]["largest_gap"] < 0.12
