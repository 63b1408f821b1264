"""The bundled tools: exact where they can be, bounded, and closed to what a model may write."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.ir.errors import InputError
from gangline.runtime.example_database import make_example_database
from gangline.workflows.cancel_token import CancelToken
from gangline.workflows.tool_agent import calculator, settings, tools, units


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("-2 ** 2", -4),
        ("2 ** 3 ** 2", 512),
        ("2 ^ -1", 0.5),
        ("7 / 2", 3.5),
        ("6 / 3", 2),
        ("7 // 2 + 7 % 4", 6),
        ("-7 % 4", 1),
        ("sqrt(1764) + max(1, 2, 3) - abs(-4)", 41),
        ("round(pi, 2)", 3.14),
        ("1e3 + .5", 1000.5),
        ("2 - -3", 5),
        ("10 ** 300", 10**300),
        ("1 ** 99999999999", 1),
        ("(-1) ** 99999999999", -1),
        ("0 ** 0", 1),
    ],
)
def test_expressions(expression: str, value: float) -> None:
    assert calculator.evaluate(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        *("", " ", "2 +", "(2", "2)", "2 3", "two", "sqrt", "sqrt()", "sqrt(-1)", "log(0)", "1/0"),
        *("1 % 0", "1.5 // 0", "max()", "max(1)", "round(1, 2, 3)", "9 ** 9 ** 9", "10 ** 400"),
        *("1e308 * 10", "9.9 ** 9999", "(-8) ** 0.5", "1e999", "__import__('os')", "a.b", "1;2"),
        *("exp(1000)", "1" * 400, "2" * 501, "(" * 60 + "1" + ")" * 60, "-" * 60 + "1", "$1 + 2"),
    ],
)
def test_what_has_no_value_is_refused(expression: str) -> None:
    with pytest.raises(InputError):
        calculator.evaluate(expression)


@given(st.text(alphabet="0123456789+-*/%^().,e sqrtpi", max_size=30))
def test_any_text_has_a_value_or_is_refused(text: str) -> None:
    try:
        value = calculator.evaluate(text)
    except InputError:
        return
    assert isinstance(value, int | float)


@pytest.mark.parametrize(
    ("value", "first", "second", "result"),
    [
        (42, "km", "mi", 26.097590074),
        (100, "F", "C", 37.7777777778),
        (0, "C", "K", 273.15),
        (-40, "C", "F", -40),
        (3.5, "kg", "lb", 7.71617917647),
        (2.5, "TB", "GB", 2500),
        (72, "km/h", "m/s", 20),
        (1, "day", "min", 1440),
    ],
)
def test_units(value: float, first: str, second: str, result: float) -> None:
    assert units.converted(value, first, second) == pytest.approx(result, rel=1e-11)
    assert units.converted(result, second, first) == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_units_of_two_kinds_do_not_fit() -> None:
    with pytest.raises(InputError, match="km is a length and kg is a mass"):
        units.converted(1, "km", "kg")


def test_every_unit_has_a_worth() -> None:
    from typing import get_args

    known = {unit for kind in units.KINDS.values() for unit in kind} | {"C", "F", "K"}
    assert set(get_args(units.Unit)) == known


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite"
    return str(make_example_database(path, num_orders=200, num_customers=50))


def test_lookups(db: str) -> None:
    total = tools.count_orders.fn(db)
    assert total == 200
    parts = [tools.count_orders.fn(db, status=s) for s in ("completed", "returned", "cancelled")]
    assert sum(parts) == total
    assert sum(tools.count_orders.fn(db, year=year) for year in (2023, 2024, 2025)) == total
    assert tools.count_orders.fn(db, country="austria") == tools.count_orders.fn(db, "Austria")
    product = tools.find_product.fn("ridge", db)
    assert product.category == "Tents" and product.price > 0


@pytest.mark.parametrize(
    "name", ["'; DROP TABLE orders; --", "%", "_", "\\", "x' OR '1'='1", "zz\x00q"]
)
def test_what_a_model_writes_is_no_sql(db: str, name: str) -> None:
    for lookup in (tools.find_customer, tools.find_product):
        with pytest.raises(InputError):
            lookup.fn(name, db)
    assert tools.count_orders.fn(db, country=name) == 0
    assert tools.count_orders.fn(db) == 200


def test_the_slow_search_ends_when_nobody_waits(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SEARCH_S", 60.0)
    token = CancelToken()
    threading.Timer(0.05, token.cancel).start()
    with token.active():
        assert tools.search_catalogue.fn("tent", db) == []


def test_a_search_reads_names_and_categories(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SEARCH_S", 0.0)
    found = tools.search_catalogue.fn("tents ridge", db)
    assert found and all("Ridge" in row.name for row in found)
    assert [row.price for row in found] == sorted(row.price for row in found)
    assert Path(db).exists()


def test_a_plural_finds_the_singular(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "SEARCH_S", 0.0)
    ropes = tools.search_catalogue.fn("ropes", db)
    assert ropes and ropes == tools.search_catalogue.fn("rope", db)
    found = tools.find_product.fn("Cirrus Duffels", db)
    assert found == tools.find_product.fn("cirrus duffel", db) and found.name == "Cirrus Duffel"
    assert tools.find_product.fn("Fjord Compass", db).name == "Fjord Compass"
    assert tools.find_product.fn("GPS", db).name.endswith("GPS Watch")
