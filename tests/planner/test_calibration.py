"""Corrections by bucket: local, robust, following drift, and honest about what they know."""

from __future__ import annotations

import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.ir.errors import ConfigError
from gangline.planner.calibration import Calibration, Key, bucket_of, weighted_median

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "calibration.json"
SHORT, LONG = (Key("card", "decode", "m", bucket) for bucket in ("t16 c256 b1", "t16 c4096 b8"))


def noisy(key: Key, ratio: float, count: int, seed: int = 0) -> list[tuple[Key, float, float]]:
    noise = np.exp(0.05 * np.random.default_rng(seed).normal(size=count))
    return [(key, float(ratio * factor), 1.0) for factor in noise]


def mixed() -> Calibration:
    """Two sizes of work whose errors point in opposite directions, run in turns."""
    rows = zip(noisy(SHORT, 0.5, 30, 1), noisy(LONG, 4.0, 30, 2), strict=True)
    return Calibration().observed(row for pair in rows for row in pair)


def factor(calibration: Calibration, key: Key) -> float:
    found = calibration.correction(key)
    assert found is not None
    return found.factor


def test_every_bucket_has_a_correction_of_its_own() -> None:
    """One factor for all sizes would be a factor of 2.8 off on both."""
    known = mixed()
    assert factor(known, SHORT) == pytest.approx(0.5, rel=0.15)
    assert factor(known, LONG) == pytest.approx(4.0, rel=0.15)


def test_the_error_after_is_much_smaller_than_before() -> None:
    (report,) = mixed().errors()
    assert report.num_runs == 59  # nothing was known when the first one ran
    assert report.before > 0.7
    assert report.after < 0.15


def test_a_drifting_device_is_followed() -> None:
    """A throttling card: actual over modelled grows from 1 to 3 over 60 runs."""
    runs = [(SHORT, 3.0 ** (index / 59), 1.0) for index in range(60)]
    known = Calibration().observed(runs)
    (report,) = known.errors()
    assert report.after < 0.35 * report.before
    assert factor(known, SHORT) == pytest.approx(3.0, rel=0.15)


def test_outliers_do_not_swing_it() -> None:
    calm = Calibration().observed(noisy(SHORT, 2.0, 20))
    shaken = calm.observed([(SHORT, 500.0, 1.0), (SHORT, 0.001, 1.0), (SHORT, 900.0, 1.0)])
    assert factor(shaken, SHORT) == pytest.approx(factor(calm, SHORT), rel=0.05)


def test_an_unseen_bucket_falls_back_to_its_model_then_to_the_device() -> None:
    known = Calibration().observed(noisy(SHORT, 2.0, 20))
    assert factor(known, LONG) == pytest.approx(2.0, rel=0.1)
    assert factor(known, Key("card", "decode", "other", "b")) == pytest.approx(2.0, rel=0.1)
    assert known.correction(Key("card", "prefill", "m", SHORT.bucket)) is None
    assert known.correction(Key("other", "decode", "m", SHORT.bucket)) is None


def test_an_unseen_bucket_is_trusted_less_than_a_seen_one() -> None:
    known = mixed()
    seen, unseen = known.correction(SHORT), known.correction(Key("card", "decode", "m", "t1 c1 b1"))
    assert seen is not None and unseen is not None
    assert unseen.high / unseen.low > 2.0 * seen.high / seen.low
    assert unseen.low * unseen.factor < 0.6 and unseen.high * unseen.factor > 3.5


def test_one_run_is_pulled_towards_what_the_others_say() -> None:
    known = Calibration().observed([*noisy(SHORT, 2.0, 20), (LONG, 20.0, 1.0)])
    assert 2.5 < factor(known, LONG) < 18.0


def test_nine_of_ten_runs_lie_within_the_interval() -> None:
    known = Calibration().observed(noisy(SHORT, 2.0, 48, 3))
    found = known.correction(SHORT)
    assert found is not None
    low, high = found.factor * found.low, found.factor * found.high
    inside = [low <= actual <= high for _, actual, _ in noisy(SHORT, 2.0, 400, 4)]
    assert 0.85 < np.mean(inside) <= 1.0


def test_equal_runs_are_not_taken_for_certainty() -> None:
    found = Calibration().observed([(SHORT, 2.0, 1.0)] * 40).correction(SHORT)
    assert found is not None
    assert found.low <= 1 / 1.1 + 1e-9 and found.high >= 1.1 - 1e-9


def test_runs_without_seconds_teach_nothing() -> None:
    bad = [(SHORT, 0.0, 1.0), (SHORT, 1.0, 0.0), (SHORT, math.inf, 1.0), (SHORT, math.nan, 1.0)]
    assert not Calibration().observed(bad).runs


def test_it_survives_json_and_follows_its_schema() -> None:
    known = mixed()
    document = json.loads(json.dumps(known.to_json()))
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert Calibration.from_json(document) == known


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"version": 99, "buckets": []},
        {"version": 1},
        {"version": 1, "buckets": [{"device": "x"}]},
        {"version": 1, "buckets": [{**dict.fromkeys(("device", "op", "model", "bucket"), "x"),
                                    "runs": [{"log_ratio": "nan", "log_missed": None}]}]},
    ],
)  # fmt: skip
def test_a_damaged_document_is_refused(document: object) -> None:
    with pytest.raises(ConfigError, match="calibration"):
        Calibration.from_json(document)


def test_what_is_stored_stands_before_what_a_profile_knows_of_the_same_model() -> None:
    stored = Calibration().observed(noisy(SHORT, 2.0, 20))
    other = Key("card", "decode", "n", SHORT.bucket)
    profile = Calibration.of([*noisy(SHORT, 9.0, 20), *noisy(other, 5.0, 20)])
    both = stored.joined(profile)
    assert factor(both, SHORT) == pytest.approx(2.0, rel=0.2)
    assert factor(both, other) == pytest.approx(5.0, rel=0.2)


@given(st.floats(1.0, 1e6), st.floats(0.0, 1e6), st.floats(1.0, 512.0))
def test_buckets_are_no_wider_than_their_powers(new: float, context: float, batch: float) -> None:
    fields = [int(part[1:]) for part in bucket_of(new, context, batch).split()]
    assert fields[0] <= new < 4 * fields[0]
    assert fields[1] <= context < max(4 * fields[1], 1)
    assert fields[2] <= batch < 2 * fields[2]


def test_the_weighted_median_lies_in_the_middle_of_the_weight() -> None:
    assert weighted_median([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]) == 2.0
    assert weighted_median([1.0, 2.0], [1.0, 1.0]) == 1.5
    assert weighted_median([1.0, 2.0, 3.0], [1.0, 1.0, 5.0]) == 3.0
