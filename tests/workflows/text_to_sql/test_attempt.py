"""Checking, running, voting, following up, and the values named after a question."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from gangline.workflows.text_to_sql.attempt import Attempt, follow, try_query
from gangline.workflows.text_to_sql.hints import find_hints, is_named
from gangline.workflows.text_to_sql.prompts import NO_ROWS
from gangline.workflows.text_to_sql.sandbox import Sandbox
from gangline.workflows.text_to_sql.schema_reader import read_schema


def ran(sql: str, *rows: Any, trips: int = 0) -> Attempt:
    given = [list(row) for row in rows]
    problem = "" if rows else NO_ROWS
    return Attempt(sql=sql, ok=True, rows=given, settled=bool(rows), problem=problem, trips=trips)


def failed(sql: str) -> Attempt:
    return Attempt(sql=sql, ok=False, error="bad", problem="bad")


def test_a_right_query_gives_rows(shop: str, sandbox: Sandbox) -> None:
    made = try_query("SELECT name FROM customer", shop, read_schema(shop), sandbox)
    assert (made.ok, made.settled, made.problem, len(made.rows)) == (True, True, "", 3)


def test_a_repaired_query_is_the_one_that_runs(shop: str, sandbox: Sandbox) -> None:
    sql = 'SELECT name FROM customer WHERE city = "bern"'
    made = try_query(sql, shop, read_schema(shop), sandbox)
    assert made.sql == "SELECT name FROM customer WHERE city = 'Bern'"
    assert made.rows == [["Ada"], ["Cleo O'Hara"]]


def test_errors_are_data(shop: str, sandbox: Sandbox) -> None:
    schema = read_schema(shop)
    for sql, said in (
        ("SELECT nam FROM customer", "did you mean name?"),
        ("SELECT load_extension('x')", "not authorized"),
        ("DROP TABLE customer", "only a SELECT"),
    ):
        made = try_query(sql, shop, schema, sandbox)
        assert not made.ok and not made.settled and said in made.error == made.problem
    none = try_query("SELECT id FROM customer WHERE id = 9", shop, schema, sandbox)
    assert (none.ok, none.settled, none.problem) == (True, False, NO_ROWS)


def test_following_up_keeps_the_better_query() -> None:
    fixed = follow(failed("a"), ran("b", (1,)))
    assert (fixed.sql, fixed.settled, fixed.attempts, fixed.trips) == ("b", True, 2, 1)
    worse = follow(failed("a"), failed("b"))
    assert (worse.sql, worse.settled) == ("b", False)
    assert follow(failed("a"), failed("a")).settled
    assert follow(ran("a"), failed("b")).sql == "a"
    assert follow(ran("a"), ran("b")).sql == "a"
    found = follow(ran("a"), ran("b", (1,)))
    assert (found.sql, found.settled) == ("b", True)
    assert follow(ran("a"), ran("b")).settled


def test_hints_name_values_of_the_question(shop: str, sandbox: Sandbox) -> None:
    schema = read_schema(shop)
    question = "Which of the PAID orders has cleo o'hara of Bernau?"
    line = find_hints(question, shop, schema, sandbox)
    assert line == (
        "Values in the database: customer.name = 'Cleo O''Hara', \"order\".status = 'paid'.\n"
    )
    assert find_hints("How many are there?", shop, schema, sandbox) == ""
    assert find_hints("'; DROP TABLE customer; --", shop, schema, sandbox) == ""


def test_a_long_question_and_a_wide_table_have_hints_too(tmp_path: Path, sandbox: Sandbox) -> None:
    db = str(tmp_path / "wide.sqlite")
    connection = sqlite3.connect(db)
    connection.execute(f"CREATE TABLE wide ({', '.join(f'c{i} TEXT' for i in range(30))})")
    connection.execute("INSERT INTO wide (c17) VALUES ('Geneva')")
    connection.commit()
    connection.close()
    question = "Who lives in Geneva? " + "it's urgent " * 320
    assert "wide.c17 = 'Geneva'" in find_hints(question, db, read_schema(db), sandbox)


def test_only_whole_words_count() -> None:
    assert is_named("New York", "ships from new york?")
    assert not is_named("York", "Yorkshire")
    assert not is_named("the", "the ships")
    assert not is_named("7", "7 ships") and is_named("2014", "in 2014")
    assert not is_named(None, "none")
