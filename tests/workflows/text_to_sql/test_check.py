"""What the check repairs, what it says, and that golds pass unharmed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gangline.workflows.text_to_sql.check import check
from gangline.workflows.text_to_sql.evaluate import Pair, judge
from gangline.workflows.text_to_sql.sandbox import Sandbox
from gangline.workflows.text_to_sql.schema import Column, ForeignKey, Schema, Table
from gangline.workflows.text_to_sql.schema_reader import read_schema

SCHEMA = Schema(
    "sqlite",
    (
        Table("stadium", tuple(Column(name) for name in ("id", "name", "capacity"))),
        Table(
            "singer",
            (
                Column("id"),
                Column("name", "TEXT"),
                Column("country", "TEXT", samples=("France", "USA"), complete=True),
                Column("city", "TEXT", samples=("Bern",)),
            ),
        ),
        Table(
            "concert",
            tuple(Column(name) for name in ("id", "stadium_id", "year")),
            (ForeignKey(("stadium_id",), "stadium", ("id",)),),
        ),
    ),
)
JOIN = "FROM concert AS T1 JOIN stadium AS T2 ON T1.stadium_id = T2.id"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM singer;",
        "SELECT COUNT(*) AS n FROM singer GROUP BY country ORDER BY n",
        "SELECT x.n FROM (SELECT COUNT(*) AS n FROM singer) AS x",
        "WITH a AS (SELECT country AS c FROM singer) SELECT c FROM a",
        "SELECT name FROM singer WHERE EXISTS (SELECT 1 FROM concert WHERE concert.id = singer.id)",
        "SELECT (SELECT max(year) FROM concert) - (SELECT min(capacity) FROM stadium)",
        "SELECT name FROM stadium UNION SELECT name FROM singer ORDER BY name",
        "SELECT rowid, * FROM singer",
    ],
)
def test_right_queries_stay_as_they_are(sql: str) -> None:
    checked = check(sql, SCHEMA)
    assert (checked.ok, checked.error, checked.sql) == (True, "", sql.rstrip(";"))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT nam FROM singer", "no column nam in singer; did you mean name?"),
        ("SELECT name FROM singr", "no table singr; did you mean singer?"),
        ("SELECT capacity FROM singer", "no column capacity in singer; it is in table stadium"),
        ("SELECT singer.name FROM stadium", "table singer is used but not in FROM"),
        ("SELECT z.year FROM singer AS t", "no table or alias z; FROM has t"),
        (f"SELECT id {JOIN}", "ambiguous: write T1.id or T2.id"),
        (f"SELECT T1.name {JOIN} JOIN singer AS T3", "no column name in concert"),
        (f"SELECT T2.country {JOIN}", "no column country in stadium; it is in table singer"),
        ("SELECT name FROM singer WHERE id > (SELECT max(yer) FROM concert)", "mean year?"),
        ("SELECT name FROM singer WHERE", "syntax error"),
        ("SELECT name FROM singer WHERE name = 'open", "not closed"),
        ("SELECT FROM singer", "SELECT list is empty"),
        ("SELECT 1; SELECT 2", "one statement"),
        ("DROP TABLE singer", "only a SELECT"),
        ("", "empty"),
        ("SELECT 'a\x00b'", "NUL"),
        ("SELECT " + "(" * 900 + "1" + ")" * 900, "nested too deeply"),
        ("SELECT " + "1 + " * 9_000 + "1", "longer than"),
    ],
)
def test_says_what_is_wrong(sql: str, said: str) -> None:
    checked = check(sql, SCHEMA)
    assert said in checked.error
    assert "\n" not in checked.error


@pytest.mark.parametrize(
    ("sql", "repaired"),
    [
        (f"SELECT T1.capacity {JOIN}", f"SELECT T2.capacity {JOIN}"),
        (
            "SELECT capacity, T1.name FROM concert AS T1 WHERE year = 2014",
            "SELECT stadium.capacity, stadium.name FROM concert AS T1 "
            + "JOIN stadium ON T1.stadium_id = stadium.id WHERE year = 2014",
        ),
        (
            "SELECT stadium.name FROM concert",
            "SELECT stadium.name FROM concert JOIN stadium ON concert.stadium_id = stadium.id",
        ),
        ("SELECT singer.name FROM singer AS s", "SELECT s.name FROM singer AS s"),
        (
            'SELECT id FROM singer WHERE city = "Rome"',
            "SELECT id FROM singer WHERE city = 'Rome'",
        ),
        (
            "SELECT id FROM singer WHERE country IN ('usa', 'FRANCE')",
            "SELECT id FROM singer WHERE country IN ('USA', 'France')",
        ),
    ],
)
def test_repairs_what_can_only_mean_one_thing(sql: str, repaired: str) -> None:
    checked = check(sql, SCHEMA)
    assert (checked.error, checked.sql) == ("", repaired)
    assert checked.repairs
    assert check(checked.sql, SCHEMA).repairs == ()


def test_values_of_columns_not_wholly_known_are_left_alone() -> None:
    sql = "SELECT id FROM singer WHERE city = 'bern'"
    assert check(sql, SCHEMA).sql == sql


def test_an_ambiguous_name_that_a_join_makes_equal_is_no_mistake() -> None:
    sql = "SELECT id FROM singer JOIN stadium ON singer.id = stadium.id"
    repaired = "SELECT singer.id FROM singer JOIN stadium ON singer.id = stadium.id"
    assert check(sql, SCHEMA).sql == repaired
    assert not check(sql.replace("JOIN", "LEFT JOIN"), SCHEMA).ok


@given(
    st.text(max_size=200) | st.text("SELECT FROMWHEREsinger.name(),'\"*=;-\\/`[]{}", max_size=80)
)
def test_never_raises(text: str) -> None:
    for sql in (text, f"SELECT {text}", f"SELECT name FROM singer WHERE {text}"):
        check(sql, SCHEMA)


def test_hostile_lengths_end_soon() -> None:
    parts = ("NOT ", "- ", "CASE WHEN 1 THEN ", "a.b.", "[", "{", "::int ", "SELECT 1 UNION ")
    started = time.monotonic()
    for part in parts:
        check("SELECT " + part * (15_000 // len(part)) + "1", SCHEMA)
    assert time.monotonic() - started < 20.0


def test_runs_of_joins_end_soon() -> None:
    begun = time.process_time()
    for tail in ("", " ON", " JOIN", " ON 1 = 1" * 9, " JOIN nowhere"):
        said = check("SELECT 1 FROM singer" + " JOIN singer" * 60 + tail, SCHEMA).error
        assert "no ON" in said
    assert time.process_time() - begun < 1.0
    joined = "".join(f" JOIN singer s{n} ON s{n}.name = s.name" for n in range(15))
    assert check(f"SELECT s.name FROM singer s{joined}", SCHEMA).ok


def test_one_table_twice_without_alias_is_said() -> None:
    assert "do not resolve" in check("SELECT name FROM singer, singer", SCHEMA).error


def test_golds_pass_and_give_the_same_result(
    pairs: tuple[Pair, ...], db_dir: Path, sandbox: Sandbox
) -> None:
    for pair in pairs:
        checked = check(pair.gold[0], read_schema(str(db_dir / pair.db)))
        assert checked.ok, (pair.id, checked.error)
        if checked.repairs:
            assert judge(pair, checked.sql, db_dir, sandbox=sandbox).correct, pair.id
