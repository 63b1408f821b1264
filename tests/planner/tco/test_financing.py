"""Hourly costs against sums done by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gangline.ir.errors import ConfigError
from gangline.planner.tco.financing import (
    PAPER_FULL,
    PAPER_OPERATING,
    Own,
    Rent,
    Reserve,
    parse_financing,
    parse_power_price,
)

PAPER_TABLE = {
    # price USD, TDP W, operating cost USD/h as printed in table 5 of arXiv 2507.19635
    "A40": (3000.0, 300.0, 0.15),
    "A100": (8000.0, 400.0, 0.25),
    "Gaudi3": (12500.0, 900.0, 0.49),
    "B200": (40000.0, 1000.0, 0.83),
}


@pytest.mark.parametrize("name", PAPER_TABLE)
def test_the_papers_operating_cost_is_energy_and_compounded_interest(name: str) -> None:
    price, watts, printed = PAPER_TABLE[name]
    assert PAPER_OPERATING.hourly(price, watts).total == pytest.approx(printed, abs=0.005)


def test_what_the_rule_does_not_give_of_the_papers_column() -> None:
    """MI300x misses by half a cent, H100 by five: its price would have to be 30,000."""
    assert PAPER_OPERATING.hourly(20000.0, 750.0).total == pytest.approx(0.514, abs=0.001)
    assert PAPER_OPERATING.hourly(25000.0, 700.0).total == pytest.approx(0.548, abs=0.001)


def test_the_principal_is_the_price_over_the_hours() -> None:
    full, operating = PAPER_FULL.hourly(40000.0, 1000.0), PAPER_OPERATING.hourly(40000.0, 1000.0)
    assert full.principal == pytest.approx(40000.0 / 35040.0)
    assert full.total - operating.total == pytest.approx(40000.0 / 35040.0)
    assert full.total == pytest.approx(1.1416 + 0.8288, abs=0.001)


def test_annuity_by_hand() -> None:
    """12,000 USD over one year at 12 %: 12 payments of 1066.19, 794.23 of them interest."""
    cost = Own(years=1.0, rate=0.12, usd_per_kwh=0.0).hourly(12000.0, 0.0)
    assert cost.principal == pytest.approx(12000.0 / 8760.0)
    assert cost.interest * 8760.0 == pytest.approx(12 * 1066.1855 - 12000.0, abs=0.01)


def test_every_term_by_hand() -> None:
    own = Own(
        years=2.0,
        rate=0.0,
        usd_per_kwh=0.1,
        load=0.5,
        pue=1.2,
        host_share=0.25,
        residual_share=0.2,
        upkeep_per_year=0.0438,
        utilisation=0.8,
    )
    cost = own.hourly(10000.0, 1000.0)
    assert cost.principal == pytest.approx(8000.0 / (17520.0 * 0.8))
    assert cost.power == pytest.approx(1.0 * 0.5 * 1.2 * 0.1)
    assert cost.host == pytest.approx(0.25 * cost.principal)
    assert cost.upkeep == pytest.approx(0.05)
    terms = cost.rent + cost.principal + cost.interest + cost.power + cost.host + cost.upkeep
    assert cost.total == pytest.approx(terms)
    shown = cost.to_json()
    assert shown["usd_per_hour"] == pytest.approx(cost.total)
    assert "interest" not in shown and shown["power"] == pytest.approx(0.06)


def test_a_residual_leaves_less_to_retire_but_bears_interest() -> None:
    whole, resold = (Own(residual_share=share).hourly(10000.0, 0.0) for share in (0.0, 0.3))
    assert resold.principal == pytest.approx(0.7 * whole.principal)
    assert resold.interest > whole.interest
    assert resold.total < whole.total


def test_renting() -> None:
    assert Rent().hourly(2.0).total == 2.0
    assert Rent(spot=True, spot_discount=0.6).hourly(2.0).total == pytest.approx(0.8)
    assert Reserve(years=3.0, discount=0.45).hourly(2.0).total == pytest.approx(1.1)


@pytest.mark.parametrize(
    "change",
    [{"years": 0.0}, {"years": -1.0}, {"rate": -0.1}, {"pue": 0.9}, {"residual_share": 1.2},
     {"residual_share": -0.1}, {"utilisation": 1.5}, {"load": 0.0}, {"usd_per_kwh": float("nan")},
     {"rule": "monthly"}],
)  # fmt: skip
def test_bad_terms_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(Own(), **change).hourly(1000.0, 100.0)


def test_bad_prices_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        Rent().hourly(-1.0)
    with pytest.raises(ConfigError, match="0 or more"):
        Own().hourly(-5.0, 100.0)
    with pytest.raises(ConfigError, match="discount"):
        Reserve(discount=1.5).hourly(1.0)


def test_financing_is_parsed() -> None:
    assert parse_financing("rent") == Rent()
    assert parse_financing("own,years=3,rate=0.05,rule=compound") == Own(
        years=3.0, rate=0.05, rule="compound"
    )
    assert parse_financing("paper-operating") == PAPER_OPERATING
    for text, said in (
        ("lease", "lease"),
        ("own,year=3", "year=3"),
        ("own,years=three", "three"),
        ("reserve,years", "years"),
    ):
        with pytest.raises(ConfigError, match=said):
            parse_financing(text, where="--financing")


def test_units_of_energy_prices() -> None:
    assert parse_power_price("0.12") == 0.12
    assert parse_power_price("85 USD/MWh") == pytest.approx(0.085)
    for text, said in (("0.1 EUR/kWh", "eur|EUR"), ("cheap", "cheap"), ("-1", "0 or more")):
        with pytest.raises(ConfigError, match=said):
            parse_power_price(text, where="power")


def test_an_interest_in_percent_is_not_taken_for_a_share() -> None:
    with pytest.raises(ConfigError, match="800 % a year") as caught:
        Own(rate=8.0).hourly(8000.0, 400.0)
    assert "0.08" in str(caught.value.next_step)
    assert Own(rate=1.0).hourly(8000.0, 400.0).interest > 0.0
