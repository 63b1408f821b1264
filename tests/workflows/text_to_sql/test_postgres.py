"""The same promises on PostgreSQL; the server tests run where one can be started."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gangline.ir.errors import DatabaseError
from gangline.workflows.text_to_sql.attempt import try_query
from gangline.workflows.text_to_sql.hints import find_hints
from gangline.workflows.text_to_sql.postgres_guard import refusal
from gangline.workflows.text_to_sql.sandbox import Limits, Sandbox
from gangline.workflows.text_to_sql.schema import Column, ForeignKey
from gangline.workflows.text_to_sql.schema_reader import read_schema
from tests.postgres_server import PostgresServer

ALLOWED = (
    "SELECT 1",
    "select count(*), max(x) from t where a in (1, 2) and b = 'it''s; fine -- really';",
    "WITH a AS (SELECT 1 AS x), b AS (SELECT x FROM a) SELECT * FROM b",
    "WITH a(x) AS (SELECT 1) SELECT * FROM a",
    "SELECT x FROM (VALUES (1), (2)) AS v(x)",
    "SELECT extract(year FROM d), d::date, CAST(x AS numeric(10, 2)) FROM t",
    'SELECT "Name" FROM "Person" WHERE lower("Name") LIKE \'a%\'',
    "SELECT row_number() OVER (PARTITION BY a ORDER BY b) FROM t",
    "(SELECT 1) UNION (SELECT 2)",
)
REFUSED = (
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_catalog.pg_read_file('/etc/passwd')",
    "SELECT \"pg_read_file\"('/etc/passwd')",
    "SELECT PG_READ_FILE ('/etc/passwd')",
    "WITH pg_read_file AS (SELECT 1) SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_creat(1)",
    "SELECT * FROM dblink('host=evil', 'SELECT 1') AS t(x int)",
    "SELECT query_to_xml('DELETE FROM t', true, true, '')",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT pg_sleep(100)",
    "SELECT pg_terminate_backend(1)",
    "SELECT pg_advisory_lock(1)",
    "SELECT nextval('s')",
    "SELECT evil.count(1)",
    "SELECT 1; DROP TABLE t",
    "SELECT 1 /* ; */; DELETE FROM t",
    "SELECT 1 -- x",
    "SELECT $$a$$",
    "SELECT $x$a$x$",
    "SELECT E'\\'' || pg_sleep(1) || '",
    "SELECT U&'\\0041'",
    'SELECT U&"pg_sl\\0065ep"(1)',
    "SELECT 'open",
    'SELECT "open',
    "INSERT INTO t VALUES (1)",
    "COPY t TO '/var/x'",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "DO 'BEGIN END'",
    "SET default_transaction_read_only = off",
    "EXPLAIN ANALYZE DELETE FROM t",
    "TABLE t",
    "",
)


@pytest.mark.parametrize("sql", ALLOWED)
def test_the_guard_lets_queries_through(sql: str) -> None:
    assert refusal(sql) == ""


@pytest.mark.parametrize("sql", REFUSED)
def test_the_guard_refuses_what_reaches_further(sql: str) -> None:
    assert refusal(sql)


def test_a_server_that_is_not_there_is_an_error_without_the_password() -> None:
    with pytest.raises(DatabaseError) as caught:
        read_schema("postgresql://ada:s3cret@127.0.0.1:1/shop")
    assert caught.value.next_step and "s3cret" not in str(caught.value.to_json())


SHOP = """
CREATE ROLE reader LOGIN PASSWORD 'reads';
CREATE TABLE customer (id integer PRIMARY KEY, name text NOT NULL, "City" varchar(20), born date);
CREATE TABLE purchase (id integer PRIMARY KEY, customer_id integer REFERENCES customer,
                       total numeric(10, 2));
CREATE TABLE secret (x text);
CREATE FUNCTION evil() RETURNS integer LANGUAGE sql SECURITY DEFINER
    AS 'INSERT INTO secret VALUES (''x'') RETURNING 1';
INSERT INTO customer VALUES (1, 'Ada', 'Bern', '1990-01-02'), (2, 'Bob', 'Basel', NULL);
INSERT INTO purchase VALUES (1, 1, 10.50), (2, 1, 99.00);
GRANT SELECT ON customer, purchase TO reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON purchase TO reader;
"""


@dataclass(frozen=True)
class Server:
    admin: str
    reader: str


@pytest.fixture(scope="module")
def server(postgres_server: PostgresServer) -> Server:
    """A shop in a database of its own, with an admin and a user who may read."""
    import psycopg

    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
    urls = [postgres_server.url(user, "shop") for user in ("admin", "reader")]
    with psycopg.connect(urls[0]) as connection:
        connection.execute(SHOP)
    return Server(*urls)


def test_reads_the_schema_a_user_may_see(server: Server) -> None:
    schema = read_schema(server.reader)
    assert [table.name for table in schema.tables] == ["customer", "purchase"]
    city = schema.tables[0].column("City")
    assert city == Column("City", "character varying", False, ("Basel", "Bern"), True)
    assert schema.tables[0].columns[0].primary_key
    assert schema.tables[1].foreign_keys == (ForeignKey(("customer_id",), "customer", ("id",)),)


def test_queries_give_plain_rows(server: Server, sandbox: Sandbox) -> None:
    sql = 'SELECT name, "City" AS c, born, NULL, total FROM customer LEFT JOIN purchase'
    outcome = sandbox.run(server.reader, f"{sql} ON customer_id = customer.id ORDER BY 1, 5;")
    assert outcome.error == ""
    assert outcome.columns == ("name", "c", "born", "?column?", "total")
    assert outcome.rows[0] == ("Ada", "Bern", "1990-01-02", None, 10.5)
    assert outcome.rows[2] == ("Bob", "Basel", None, None, None)


def test_limits_hold(server: Server, sandbox: Sandbox) -> None:
    many = "SELECT a FROM generate_series(1, 5000) AS a"
    cut = sandbox.run(server.reader, many, Limits(max_rows=7))
    assert (len(cut.rows), cut.truncated) == (7, True)
    slow = "SELECT count(*) FROM generate_series(1, 10000000) a, generate_series(1, 10000000) b"
    assert sandbox.run(server.reader, slow, Limits(timeout_s=0.3)).kind == "timeout"
    large = "SELECT repeat('x', 900000000)"
    kind = sandbox.run(server.reader, large, Limits(timeout_s=1.0)).kind
    assert kind in ("memory", "failed", "timeout", "died")


def test_hostile_statements_have_no_effect(
    server: Server, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without the guard: the server's own walls must hold alone for writes."""
    import psycopg

    writes = (
        "INSERT INTO purchase VALUES (9, 1, 1)",
        "WITH w AS (DELETE FROM purchase RETURNING id) SELECT * FROM w",
        "SELECT 1; DELETE FROM purchase",
        "SELECT * INTO taken FROM customer",
        "SELECT * FROM purchase FOR UPDATE",
        "SELECT evil()",
        "SELECT lo_creat(1)",
        "SELECT 1) TO '/var/x'; --",
        "COMMIT; DELETE FROM purchase",
        "SELECT x FROM secret",
    )
    state = "SELECT (SELECT sum(total) FROM purchase), (SELECT count(*) FROM secret)"
    with psycopg.connect(server.admin) as connection:
        before = connection.execute(state).fetchone()
    limits = Limits(timeout_s=2.0)
    for sql in (*writes, *REFUSED):
        assert not sandbox.run(server.reader, sql, limits).ok, sql
    monkeypatch.setattr("gangline.workflows.text_to_sql.sandbox.refusal", lambda sql: "")
    for sql in writes:
        outcome = sandbox.run(server.reader, sql, limits)
        assert not outcome.ok or sql == "SELECT lo_creat(1)", (sql, outcome)
    with psycopg.connect(server.admin) as connection:
        assert connection.execute(state).fetchone() == before
        kept = connection.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone()
        assert kept == (0,)


def test_a_superuser_is_refused(server: Server, sandbox: Sandbox) -> None:
    outcome = sandbox.run(server.admin, "SELECT 1")
    assert outcome.kind == "refused" and "plain user" in outcome.error


def test_check_and_hints_work_there_too(server: Server, sandbox: Sandbox) -> None:
    schema = read_schema(server.reader)
    line = find_hints("Who lives in bern?", server.reader, schema, sandbox)
    assert line == "Values in the database: customer.\"City\" = 'Bern'.\n"
    made = try_query(
        "SELECT name FROM customer WHERE \"City\" = 'bern'", server.reader, schema, sandbox
    )
    assert made.rows == [["Ada"]]
    wrong = try_query("SELECT nam FROM customer", server.reader, schema, sandbox)
    assert "did you mean name?" in wrong.error
