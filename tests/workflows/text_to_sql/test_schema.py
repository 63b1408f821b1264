"""Schemas as they are read, and as a model is shown them."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from gangline.ir.errors import DatabaseError
from gangline.workflows.text_to_sql.location import locate, masked, redacted
from gangline.workflows.text_to_sql.render import render
from gangline.workflows.text_to_sql.reserved import identifier
from gangline.workflows.text_to_sql.schema import Column, ForeignKey, Schema, Table
from gangline.workflows.text_to_sql.schema_reader import read_schema

SHOWN = """\
CREATE TABLE customer (
  id INTEGER PRIMARY KEY,
  name TEXT, -- 'Ada', 'Bob', 'Cleo O''Hara'
  city TEXT, -- 'Bern', 'Basel'
  born DATE -- '1990-01-02', ...
);
CREATE TABLE "order" (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER,
  total REAL,
  "order date" TEXT, -- '2024-05-01', '2024-05-09', '2024-06-01'
  status TEXT, -- 'paid', 'open'
  FOREIGN KEY (customer_id) REFERENCES customer (id)
);
"""


def test_reads_tables_columns_keys_and_values(shop: str) -> None:
    schema = read_schema(shop)
    assert [table.name for table in schema.tables] == ["customer", "order", "item", "big_order"]
    customer, order, item, view = schema.tables
    assert [column.name for column in customer.columns if column.primary_key] == ["id"]
    assert customer.column("CITY") == Column("city", "TEXT", False, ("Bern", "Basel"), True)
    assert order.foreign_keys == (ForeignKey(("customer_id",), "customer", ("id",)),)
    assert item.foreign_keys == (ForeignKey(("order_id",), "order", ("id",)),)
    assert [column.name for column in item.columns if column.primary_key] == ["order_id", "line"]
    assert [column.samples for column in view.columns] == [()] * 5
    assert [table.name for table in schema.owners("id")] == ["customer", "order", "big_order"]


def test_reading_changes_nothing_and_sees_changes(shop: str) -> None:
    before = hashlib.sha256(Path(shop).read_bytes()).hexdigest()
    assert read_schema(shop) is read_schema(shop)
    assert hashlib.sha256(Path(shop).read_bytes()).hexdigest() == before
    assert os.listdir(Path(shop).parent) == [Path(shop).name]
    connection = sqlite3.connect(shop)
    connection.execute("CREATE TABLE later (x TEXT)")
    connection.commit()
    connection.close()
    assert read_schema(shop).table("later") is not None


def test_renders_for_a_model(shop: str) -> None:
    assert render(read_schema(shop)).startswith(SHOWN)


def test_a_large_schema_keeps_to_the_budget_and_its_tables() -> None:
    columns = tuple(Column(f"column_{i}", "TEXT", i == 0, ("some value",)) for i in range(40))
    tables = tuple(Table(f"table_{i}", columns) for i in range(60))
    schema = Schema("sqlite", tables)
    assert len(render(schema, 10**6)) > 90_000
    for budget in (60_000, 12_000):
        text = render(schema, budget)
        assert len(text) <= budget
        assert all(f"table_{i}" in text for i in range(60))
        assert "column_0" in text


def test_postgres_folds_names_that_are_not_quoted() -> None:
    assert identifier("Name", "postgres") == '"Name"' and identifier("name", "postgres") == "name"


def test_names_are_quoted_only_where_needed() -> None:
    names = ("plain", "Größe", "two words", "2nd", 'a"b', "order", "")
    assert [identifier(name, "sqlite") for name in names] == [
        "plain",
        '"Größe"',
        '"two words"',
        '"2nd"',
        '"a""b"',
        '"order"',
        '""',
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no database"),
        (b"", "empty"),
        (b"PK\x03\x04 this is a zip file", "not a SQLite database"),
        (b"SQLite format 3\x00" + b"\xff" * 200, "cannot be read"),
    ],
)
def test_what_is_no_database_is_said_so(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "x.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatabaseError, match=said) as caught:
        read_schema(str(path))
    assert caught.value.next_step and str(path) in caught.value.where
    assert path.exists() == (content is not None)


def test_a_folder_an_empty_database_and_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "none.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()
    for db, said in ((str(tmp_path), "folder"), (str(path), "no tables"), ("mysql://h/d", "mysql")):
        with pytest.raises(DatabaseError, match=said):
            read_schema(db)


def test_passwords_are_never_shown() -> None:
    url = "postgresql://ada:s3cret@host:5432/shop?sslmode=require"
    assert locate(url).shown == "postgresql://ada@host:5432/shop?sslmode=require"
    assert "s3cret" not in redacted("postgresql://host/shop?user=a&password=s3cret")
    assert masked("invalid token: s3cret%", "postgresql://a:s3cret%@h/d") == "invalid token: ***"


@pytest.mark.parametrize(
    "db",
    [
        "mysql://ada:s3cret@host/shop",
        "mysql://ada:s3cret@[host/shop",
        "postgresql://ada:my s3cret@host/shop",
        "postgresql://ada:my/s3cret@host/shop",
        "postgresql://ada:my?/s3cret@host/shop",
        "host=shop user=ada password=s3cret",
    ],
)
def test_a_malformed_database_url_shows_no_password(db: str) -> None:
    with pytest.raises(DatabaseError) as caught:
        read_schema(db)
    assert "s3cret" not in str(caught.value) and "my" not in caught.value.where.split("@")[-1]
    assert caught.value.next_step


def test_text_that_is_not_utf8_is_read(shop: str) -> None:
    connection = sqlite3.connect(shop)
    connection.execute("UPDATE customer SET city = CAST(x'42ff' AS TEXT) WHERE id = 1")
    connection.commit()
    connection.close()
    found = read_schema(shop).tables[0].column("city")
    assert found is not None and "B" in found.samples
