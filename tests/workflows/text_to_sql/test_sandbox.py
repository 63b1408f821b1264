"""The sandbox gives rows for honest queries and nothing at all to hostile ones."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from gangline.ir.errors import DatabaseError
from gangline.workflows.text_to_sql.sandbox import Limits, Sandbox

QUICK = Limits(timeout_s=0.3, max_rows=100, max_bytes=100_000)
ENDLESS = "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t)"
ENDLESS_BLOBS = (
    "WITH RECURSIVE t(x, y) AS (SELECT 1, randomblob(900000) UNION ALL SELECT x + 1,"
    " randomblob(900000) FROM t) SELECT * FROM t ORDER BY y"
)
CROSS_JOIN = "SELECT count(*) FROM " + ", ".join(
    f'customer c{i}, "order" o{i}, item i{i}' for i in range(9)
)
HOSTILE = (
    "INSERT INTO customer VALUES (9, 'x', 'y', NULL)",
    "UPDATE customer SET name = 'x'",
    "DELETE FROM customer",
    "DROP TABLE customer",
    "CREATE TABLE evil (x)",
    "CREATE TEMP TABLE evil AS SELECT 1",
    "CREATE VIEW evil AS SELECT 1",
    "CREATE TRIGGER evil AFTER INSERT ON customer BEGIN SELECT 1; END",
    "CREATE INDEX evil ON customer (name)",
    "CREATE VIRTUAL TABLE evil USING fts5(x)",
    "ALTER TABLE customer RENAME TO evil",
    "REPLACE INTO customer VALUES (1, 'x', 'y', NULL)",
    "WITH a AS (SELECT 1) DELETE FROM customer",
    "WITH a AS (SELECT 1) INSERT INTO customer SELECT 7, 'x', 'y', NULL",
    "INSERT INTO customer VALUES (9, 'x', 'y', NULL) RETURNING id",
    "ATTACH DATABASE 'evil.sqlite' AS evil",
    "ATTACH DATABASE ':memory:' AS evil",
    "DETACH DATABASE main",
    "PRAGMA user_version = 7",
    "PRAGMA writable_schema = ON",
    "PRAGMA journal_mode = WAL",
    "PRAGMA query_only = OFF",
    "SELECT * FROM pragma_table_info('customer')",
    "SELECT * FROM pragma_database_list",
    "VACUUM",
    "VACUUM INTO 'evil.sqlite'",
    "REINDEX",
    "ANALYZE",
    "BEGIN EXCLUSIVE",
    "COMMIT",
    "SAVEPOINT evil",
    "SELECT 1; DROP TABLE customer",
    "SELECT 1;;DELETE FROM customer;--",
    "SELECT 1 /* a */; /* b */ DELETE FROM customer /* c */",
    "-- SELECT\nDELETE FROM customer",
    "/* SELECT */ DROP TABLE customer",
    "/*",
    "EXPLAIN DELETE FROM customer",
    "SELECT load_extension('evil')",
    "SELECT writefile('evil', 'x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT edit('x')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT zeroblob(2000000000)",
    "SELECT length(randomblob(2000000000))",
    "SELECT printf('%.*c', 2000000000, 'x')",
    "SELECT replace(hex(zeroblob(400000)), '0', '0000000000')",
    "SELECT group_concat(hex(zeroblob(400000))) FROM customer a, customer b, customer c",
    f"{ENDLESS} SELECT x FROM t ORDER BY x",
    f"{ENDLESS} SELECT count(*) FROM t",
    f"{ENDLESS} SELECT max(randomblob(900000)) FROM t",
    ENDLESS_BLOBS,
    CROSS_JOIN,
    "SELECT 'a\x00b'",
    "SELECT '" + "a" * 1_000_000 + "'",
    "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
    "SELECT 1" + " + 1" * 4_000,
    " UNION ALL ".join(["SELECT 1"] * 900),
    "SELECT " + "-" * 50 + "1",
    "SELECT 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' LIKE '" + "%a" * 400 + "b'",
    "SELECT * FROM sqlite_dbpage",
    "\ud800",
    "",
    ";",
)


def fingerprint(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_there_are_enough_hostile_statements() -> None:
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("sql", HOSTILE, ids=lambda sql: ascii(sql)[:40])
def test_hostile_statements_have_no_effect(sql: str, shop: str, sandbox: Sandbox) -> None:
    before = fingerprint(Path(shop).parent)
    started = time.monotonic()
    outcome = sandbox.run(shop, sql, QUICK)
    assert time.monotonic() - started < 5.0
    assert fingerprint(Path(shop).parent) == before
    assert len(outcome.rows) <= QUICK.max_rows
    harmless = sql.startswith(("SELECT --", "SELECT 'aaaa", "-- SELECT\nSELECT"))
    assert harmless or not outcome.ok, outcome.rows[:1]
    assert outcome.ok or outcome.error


def test_hostile_statements_take_bounded_memory(shop: str) -> None:
    # In a process of its own: the peak is of all children a process ever had.
    code = (
        "import json, resource, sys\n"
        "from gangline.workflows.text_to_sql.sandbox import Limits, Sandbox\n"
        "shop, statements = json.load(sys.stdin)\n"
        "pool = Sandbox(max_children=1, memory_bytes=300 * 1024 * 1024)\n"
        "for sql in statements: pool.run(shop, sql, Limits(0.3, 100, 100_000))\n"
        "pool.close()\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)\n"
    )
    text = json.dumps([shop, HOSTILE])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    assert 10e6 < int(done.stdout) < 400 * 1024 * 1024


def test_gives_columns_rows_and_plain_values(shop: str, sandbox: Sandbox) -> None:
    sql = "SELECT id, name AS who, NULL, 1.5, x'0a' FROM customer WHERE id < 3 ORDER BY id;"
    outcome = sandbox.run(shop, sql)
    assert outcome.ok and not outcome.truncated
    assert outcome.columns == ("id", "who", "NULL", "1.5", "x'0a'")
    assert outcome.rows == ((1, "Ada", None, 1.5, "0a"), (2, "Bob", None, 1.5, "0a"))


def test_row_and_byte_limits_truncate(shop: str, sandbox: Sandbox) -> None:
    sql = "SELECT a.id FROM customer a, customer b, customer c"
    by_rows = sandbox.run(shop, sql, Limits(max_rows=4))
    assert (len(by_rows.rows), by_rows.truncated) == (4, True)
    exact = sandbox.run(shop, sql, Limits(max_rows=27))
    assert (len(exact.rows), exact.truncated) == (27, False)
    by_bytes = sandbox.run(shop, "SELECT hex(zeroblob(400)) FROM item", Limits(max_bytes=1000))
    assert (len(by_bytes.rows), by_bytes.truncated) == (1, True)


def test_names_the_error_in_the_databases_words(shop: str, sandbox: Sandbox) -> None:
    outcome = sandbox.run(shop, "SELECT nope FROM customer")
    assert (outcome.kind, outcome.error) == ("failed", "no such column: nope")


def test_undecodable_text_is_ignored(shop: str, sandbox: Sandbox) -> None:
    connection = sqlite3.connect(shop)
    connection.execute("UPDATE customer SET name = CAST(x'41ff42' AS TEXT) WHERE id = 1")
    connection.commit()
    connection.close()
    assert sandbox.run(shop, "SELECT name FROM customer WHERE id = 1").rows == (("AB",),)


def test_views_can_be_read(shop: str, sandbox: Sandbox) -> None:
    assert sandbox.run(shop, "SELECT id FROM big_order").rows == ((2,),)


def test_a_missing_file_is_not_created(tmp_path: Path, sandbox: Sandbox) -> None:
    with pytest.raises(DatabaseError) as caught:
        sandbox.run(str(tmp_path / "none.sqlite"), "SELECT 1")
    assert caught.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_a_lost_child_is_replaced(shop: str) -> None:
    pool = Sandbox(max_children=1)
    stuck = "SELECT '" + "a" * 40 + "' LIKE '" + "%a" * 300 + "b'"
    slow = pool.run(shop, f"SELECT count(*) FROM customer WHERE ({stuck})", Limits(timeout_s=0.1))
    endless = pool.run(shop, f"{ENDLESS} SELECT count(*) FROM t", Limits(timeout_s=0.1))
    assert endless.kind == "timeout"
    assert slow.kind in ("", "timeout")
    assert pool.run(shop, "SELECT 1").rows == ((1,),)
    pool.close()


def test_a_child_ends_a_slow_query_itself_and_lives_on(shop: str) -> None:
    pool = Sandbox(max_children=1)
    pool.run(shop, "SELECT 1")
    (before,) = pool._idle
    assert pool.run(shop, f"{ENDLESS} SELECT count(*) FROM t", QUICK).kind == "timeout"
    assert pool._idle == [before]
    pool.close()


def test_warm_calls_are_quick_and_threads_share_the_pool(shop: str, sandbox: Sandbox) -> None:
    sandbox.run(shop, "SELECT 1")
    sql = "SELECT count(*) FROM customer"
    times = [sandbox.run(shop, sql).seconds for _ in range(20)]
    assert sorted(times)[5] < 0.05  # 0.5 ms on a quiet machine

    found: list[object] = []

    def ask(number: int) -> None:
        found.append(sandbox.run(shop, f"SELECT {number}").rows[0][0])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == sorted(range(12), key=str)


def test_a_database_being_written_in_wal_mode_can_be_read(shop: str, sandbox: Sandbox) -> None:
    writer = sqlite3.connect(shop, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO customer VALUES (4, 'Dan', 'Chur', NULL)")
    assert sandbox.run(shop, "SELECT count(*) FROM customer").rows == ((4,),)
    writer.close()
    assert sandbox.run(shop, "SELECT count(*) FROM customer").rows == ((4,),)
    assert [path.name for path in Path(shop).parent.iterdir()] == ["shop.sqlite"]
