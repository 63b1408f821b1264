"""The example database: a realistic business, equal on every machine, whole or absent."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gangline.runtime import example_database
from gangline.runtime.example_database import make_example_database


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> sqlite3.Connection:
    path = make_example_database(tmp_path_factory.mktemp("shop") / "shop.sqlite")
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


def tables(db: sqlite3.Connection) -> list[str]:
    query = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
    return [name for (name,) in db.execute(query)]


def test_a_dozen_tables_and_about_100_000_rows(shop: sqlite3.Connection) -> None:
    names = tables(shop)
    rows = sum(shop.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names)
    assert len(names) == 12
    assert 90_000 < rows < 130_000


def test_every_reference_points_to_a_row(shop: sqlite3.Connection) -> None:
    assert shop.execute("PRAGMA foreign_key_check").fetchall() == []


def test_totals_add_up(shop: sqlite3.Connection) -> None:
    wrong = shop.execute(
        "SELECT count(*) FROM orders o WHERE abs(total - (SELECT sum(quantity * unit_price)"
        " FROM order_item i WHERE i.order_id = o.order_id)) > 0.01"
    ).fetchone()
    assert wrong == (0,)


def test_nobody_orders_before_joining(shop: sqlite3.Connection) -> None:
    early = (
        "SELECT count(*) FROM orders JOIN customer USING (customer_id) WHERE ordered_on < joined_on"
    )
    assert shop.execute(early).fetchone() == (0,)


def test_one_seed_makes_one_content(tmp_path: Path) -> None:
    def content(name: str, seed: int) -> list[str]:
        path = make_example_database(tmp_path / name, seed=seed, num_orders=300, num_customers=50)
        return list(sqlite3.connect(path).iterdump())

    assert content("a", 1) == content("b", 1)
    assert content("a", 1) != content("c", 2)


def test_a_failure_leaves_no_half_written_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(example_database, "_fill", fail)
    with pytest.raises(OSError, match="disk full"):
        make_example_database(tmp_path / "shop.sqlite")
    assert not (tmp_path / "shop.sqlite").exists()
