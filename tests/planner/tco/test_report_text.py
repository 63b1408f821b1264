"""The terminal's report and the sums in it, which a reader can check by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gangline.planner.tco.arithmetic import fleet_lines, hourly_lines, number
from gangline.planner.tco.document import Simulated
from gangline.planner.tco.financing import Own, Rent, Reserve
from gangline.planner.tco.report_text import report_text, table

from .report_cases import document, evaluated

share = st.floats(0.0, 1.0)
positive = st.floats(0.01, 1e5)


@settings(max_examples=60, deadline=None)
@given(
    capex=positive, watts=st.floats(10.0, 2000.0), years=st.floats(0.5, 10.0),
    rate=st.floats(0.0, 0.3), rule=st.sampled_from(["annuity", "compound", "none"]),
    residual=share, host=share, pue=st.floats(1.0, 2.0), used=st.floats(0.05, 1.0),
    upkeep=st.floats(0.0, 0.2),
)  # fmt: skip
def test_the_sums_of_owning_give_what_was_computed(
    capex: float, watts: float, years: float, rate: float, rule: str, residual: float,
    host: float, pue: float, used: float, upkeep: float,
) -> None:  # fmt: skip
    own = Own(years, rate, rule, 0.13, 0.7, pue, host, residual, upkeep, used)
    terms = own.hourly(capex, watts)
    lines = hourly_lines(terms, own, None, capex, watts)
    assert lines[-1].result == pytest.approx(terms.total)
    # Nine digits are shown, and the interest is a difference of large amounts.
    loss = 1e-6 * max(terms.total, capex / (years * 8760.0 * used))
    for line in lines:
        assert evaluated(line.arithmetic) == pytest.approx(line.result, rel=1e-6, abs=loss)


@given(usd=st.floats(0.001, 500.0), discount=st.floats(0.0, 0.9))
def test_the_sums_of_renting_give_what_was_computed(usd: float, discount: float) -> None:
    for form in (Rent(), Rent(spot=True, spot_discount=discount), Reserve(1.0, discount)):
        terms = form.hourly(usd)
        for line in hourly_lines(terms, form, usd, None, 500.0):
            assert evaluated(line.arithmetic) == pytest.approx(terms.total, rel=1e-6)
            assert line.result == terms.total


def test_a_quoted_price_is_no_discount_of_anything() -> None:
    spot = Rent(spot=True)
    (line,) = hourly_lines(Rent().hourly(0.4), spot, None, None, 500.0)
    assert line.arithmetic == "0.4"


@pytest.mark.parametrize("own", [False, True])
def test_the_sums_of_a_fleet_give_its_cost(own: bool) -> None:
    shown = document(own=own)
    lines = {line["name"]: line for line in shown["financing"]["lines"]}
    for line in lines.values():
        assert evaluated(line["arithmetic"]) == pytest.approx(line["result"], rel=1e-6)
    assert lines["fleet"]["result"] == shown["usd_per_hour"]
    assert lines["1,000 jobs"]["result"] == pytest.approx(shown["usd_per_1k_jobs"])
    assert lines["1,000,000 tokens"]["result"] == pytest.approx(shown["usd_per_mtok"])
    for device in shown["financing"]["devices"]:
        last = device["lines"][-1]["result"]
        rows = [row for row in shown["fleet"] if row["device"] == device["device"]]
        assert all(row["usd_per_hour"] == pytest.approx(row["count"] * last) for row in rows)


def test_a_fleet_without_tokens_has_no_price_of_them() -> None:
    rows = ({"device": "a", "role": "cpu", "count": 2, "usd_per_hour": 3.0},)
    assert [line.name for line in fleet_lines(rows, 3.0, 1.0, 0.0)] == [
        "a (cpu)", "fleet", "1,000 jobs",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [1e-7, 0.1 + 0.2, 123456789.0, 1.0, 25_000.0])
def test_numbers_are_written_without_exponents(value: float) -> None:
    assert "e" not in number(value)
    assert float(number(value)) == pytest.approx(value, rel=1e-6)


def test_the_terminal_shows_the_answer_and_what_would_change_it() -> None:
    shown = document()
    text = report_text(shown)
    for row in shown["fleet"]:
        assert any(row["device"] in line and row["role"] in line for line in text.splitlines())
    assert shown["sentence"] in text
    assert "simulated (200 jobs on 50 % of the fleet" in text
    for row in shown["break_even"]:
        assert row["then_best"] in text
    assert all(warning in text for warning in shown["warnings"])
    assert "low confidence" in text and "range from 1 to 6 USD" in text
    assert "not simulated" in report_text(document(simulated=False))


def test_the_answer_itself_says_that_it_rests_on_a_doubtful_price() -> None:
    weak = [
        name for name, row in document()["sources"]["prices"].items() if row["confidence"] == "low"
    ]
    used = {row["device"] for row in document()["fleet"]}
    named = used & set(weak)
    assert named
    _, _, said = document()["sentence"].partition("Check first: ")
    assert all(name in said for name in named)
    assert not any(name in said.split(" has low")[0] for name in used - named)


def test_cached_tokens_are_told_beside_the_price_of_a_token() -> None:
    shown = document()
    (group,) = [row for row in shown["demand"]["classes"] if row["kind"] == "llm"][:1]
    group.update(calls_per_job=1.0, cached_tokens=750.0)
    shown["demand"]["classes"] = [group]
    shown["demand"]["tokens_per_job"] = 1000.0
    assert "1,000 tokens a job, of which 75 % are taken from a prefix cache" in report_text(shown)


def test_load_stands_beside_busy() -> None:
    shown = document()
    shown["fleet"][0].update(busy=0.91, utilisation=0.37)
    line = next(line for line in report_text(shown).splitlines() if "91 %" in line)
    assert line.index("91 %") < line.index("37 %")


def test_columns_stand_under_their_names() -> None:
    lines = table(("device", "USD/h"), [("a", "1.00"), ("longer", "10.00")])
    assert lines == ["device  USD/h", "a        1.00", "longer  10.00"]


def test_the_interval_of_a_quantile_holds_it_nine_times_in_ten() -> None:
    import numpy as np

    rng, inside = np.random.default_rng(0), 0
    true = float(-np.log(0.05))  # p95 of the unit exponential
    for _ in range(400):
        found = Simulated(300, 1.0, 0, 1.0, 1.0, tuple(np.sort(rng.exponential(size=300))), {})
        low, high = found.interval(0.95)
        assert low <= found.quantile(0.95) <= high
        inside += low <= true <= high
    assert 0.85 <= inside / 400 <= 0.97


def test_a_verdict_within_its_own_error_is_said_to_be() -> None:
    shown = document(slo_s=11.5)
    low, high = shown["simulated"]["reached_interval_s"]
    assert low <= 11.5 < high
    assert any("own error" in warning for warning in shown["warnings"])
