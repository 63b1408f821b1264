"""Registered databases: names instead of files, also in errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gangline.ir.errors import ConfigError, DatabaseError, InputError
from gangline.workflows.databases import DATABASES, Databases
from gangline.workflows.text_to_sql.location import locate
from gangline.workflows.text_to_sql.sandbox import Sandbox


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "private" / "shop.sqlite"
    path.parent.mkdir()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE item (id INTEGER)")
        database.execute("INSERT INTO item VALUES (7)")
    database.close()
    DATABASES.add("shop", str(path))
    yield path
    DATABASES.remove("shop")


def test_a_name_is_resolved_where_the_database_is_opened(shop: Path) -> None:
    found = locate("shop")
    assert found.target == str(shop.resolve()) and found.shown == "shop"
    sandbox = Sandbox()
    try:
        assert sandbox.run("shop", "SELECT id FROM item").rows == ((7,),)
    finally:
        sandbox.close()


def test_a_name_comes_before_a_file_of_that_name(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").write_bytes(b"not a database")
    assert locate("shop").target == str(shop.resolve())


def test_a_path_is_absolute_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    registry = Databases()
    registry.add("here", "a.sqlite")
    monkeypatch.chdir("/")
    assert registry.get("here") == str(tmp_path.resolve() / "a.sqlite")


def test_errors_show_the_name_and_not_the_place(shop: Path) -> None:
    shop.unlink()
    shop.mkdir()
    with pytest.raises(DatabaseError) as caught:
        locate("shop")
    assert "private" not in str(caught.value) and caught.value.where == "shop"


def test_an_unknown_name_is_refused_where_callers_are_not_trusted(shop: Path) -> None:
    assert DATABASES.require("shop") == "shop"
    with pytest.raises(InputError) as caught:
        DATABASES.require("/etc/passwd")
    assert "shop" in caught.value.next_step and "passwd" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "postgresql://x", "a b", "é", ".x", "x\n"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(ConfigError):
        Databases().add(name, "x")
