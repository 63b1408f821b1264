from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gangline.workflows.text_to_sql.evaluate import Pair, load_pairs
from gangline.workflows.text_to_sql.sandbox import Sandbox

SHARED = Path(__file__).parents[4] / "shared" / "data" / "text2sql"

SHOP = """
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT, born DATE);
CREATE TABLE "order" (id INTEGER PRIMARY KEY, customer_id INTEGER REFERENCES customer,
                      total REAL, "order date" TEXT, status TEXT);
CREATE TABLE item (order_id INTEGER, line INTEGER, product TEXT, price REAL,
                   PRIMARY KEY (order_id, line), FOREIGN KEY (order_id) REFERENCES "order" (id));
CREATE VIEW big_order AS SELECT * FROM "order" WHERE total > 50;
INSERT INTO customer VALUES (1, 'Ada', 'Bern', '1990-01-02'), (2, 'Bob', 'Basel', '1985-05-06'),
                            (3, 'Cleo O''Hara', 'Bern', NULL);
INSERT INTO "order" VALUES (1, 1, 10.5, '2024-05-01', 'paid'), (2, 1, 99.0, '2024-05-09', 'open'),
                           (3, 2, 5.0, '2024-06-01', 'paid');
INSERT INTO item VALUES (1, 1, 'tea', 4.5), (1, 2, 'mug', 6.0), (2, 1, 'pot', 99.0);
"""


@pytest.fixture
def shop(tmp_path: Path) -> str:
    """Make a small database with an awkward table name, a view and a composite key."""
    path = tmp_path / "shop.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(SHOP)
    connection.close()
    return str(path)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    pool = Sandbox()
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def db_dir() -> Path:
    if not (SHARED / "pairs.jsonl").exists():
        pytest.skip("the shared text2sql data is not beside this checkout")
    return SHARED / "db"


@pytest.fixture(scope="session")
def pairs(db_dir: Path) -> tuple[Pair, ...]:
    return load_pairs(db_dir.parent / "pairs.jsonl")
