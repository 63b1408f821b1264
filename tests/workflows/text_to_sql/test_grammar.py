"""The schema grammar takes what people write and refuses names that do not exist."""

from __future__ import annotations

from pathlib import Path

import pytest
from llguidance import LLMatcher, LLTokenizer

from gangline.workflows.text_to_sql.evaluate import Pair
from gangline.workflows.text_to_sql.grammar import MAX_BOUND_TABLES, schema_grammar_text
from gangline.workflows.text_to_sql.schema import Column, Schema, Table
from gangline.workflows.text_to_sql.schema_reader import read_schema

BYTES = LLTokenizer("byte")


def matcher(schema: Schema) -> LLMatcher:
    grammar = LLMatcher.grammar_from_lark(schema_grammar_text(schema))
    made = LLMatcher(BYTES, grammar, log_level=0)
    assert not made.is_error(), made.get_error()
    return made


def accepts(start: LLMatcher, sql: str) -> bool:
    state = start.deep_copy()
    tokens = BYTES.tokenize_str(sql)
    return bool(state.try_consume_tokens(tokens) == len(tokens) and state.is_accepting())


@pytest.fixture(scope="module")
def sales() -> LLMatcher:
    person = ("id", "name", "city", "Birth Year", "order", "count")
    bought = ("id", "person_id", "total", "day")
    tables = [("person", person), ("purchase", bought), ("Café", ("id", "größe"))]
    made = [Table(name, tuple(Column(column) for column in columns)) for name, columns in tables]
    return matcher(Schema("sqlite", tuple(made)))


def test_every_printable_character_may_be_in_a_name() -> None:
    name = "".join(map(chr, range(32, 127))) + "\té"
    table = Table(name, (Column("id"), Column("<|end|> a")))
    start = matcher(Schema("sqlite", (table,)))
    quoted = '"' + name.replace('"', '""') + '"'
    assert accepts(start, f'SELECT "<|end|> a", id FROM {quoted}')
    assert not accepts(start, f'SELECT "<|end|>" FROM {quoted}')


GOOD = (
    "SELECT name FROM person",
    "select Name from PERSON where CITY = 'Bern';",
    "SELECT *\nFROM person\nWHERE name LIKE '%a''b%' AND NOT city IS NULL",
    'SELECT "Birth Year", `order`, "order", count FROM person',
    "SELECT count(*), COUNT(DISTINCT city), count FROM person GROUP BY city HAVING COUNT(*) > 1",
    "SELECT person.name, purchase.total FROM person JOIN purchase ON person.id = purchase.person_id",
    "SELECT T1.name FROM person AS T1 LEFT OUTER JOIN purchase AS T2 ON T1.id = T2.person_id",
    "SELECT p.name, SUM(b.total) AS spent FROM person p, purchase b GROUP BY p.name"
    + " ORDER BY spent DESC NULLS LAST LIMIT 3 OFFSET 1",
    "SELECT name FROM person WHERE id IN (SELECT person_id FROM purchase WHERE total > 5.5)",
    "SELECT name FROM person WHERE NOT EXISTS (SELECT 1 FROM purchase WHERE person_id = person.id)",
    "SELECT name FROM person WHERE id = (SELECT max(id) FROM person) OR city NOT IN ('a', 'b')",
    "SELECT name FROM person EXCEPT SELECT city FROM person UNION ALL SELECT day FROM purchase",
    "SELECT AVG(cnt) FROM (SELECT COUNT(*) AS cnt FROM purchase GROUP BY person_id)",
    "SELECT CASE WHEN total > 9 THEN 'big' ELSE 'small' END, CAST(total AS REAL) / 2 FROM purchase",
    "SELECT CASE city WHEN 'a' THEN 1 END FROM person WHERE id BETWEEN 1 AND 2 + 3",
    "SELECT name || ' of ' || city, round(id * 1.5, 2), -id FROM person",
    "SELECT strftime('%Y', day), date(day, '-1 month') FROM purchase",
    "SELECT id, ROW_NUMBER() OVER (PARTITION BY city ORDER BY id DESC) AS rn FROM person",
    "SELECT SUM(total) OVER (ORDER BY day ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM purchase",
    "WITH t AS (SELECT person_id, sum(total) AS s FROM purchase GROUP BY person_id)"
    + " SELECT name, s FROM person JOIN t ON t.person_id = person.id WHERE s > (SELECT avg(s) FROM t)",
    'SELECT "größe" FROM "Café"',
    "SELECT 1 + 1",
    "SELECT (SELECT count(*) FROM person) * 1.0 / (SELECT count(*) FROM purchase) AS ratio",
    "SELECT DISTINCT day FROM purchase ORDER BY 1",
    "SELECT p.* FROM person p JOIN purchase ON p.id = person_id",
)
BAD = (
    "SELECT nope FROM person",
    "SELECT name FROM nope",
    "SELECT total FROM person",
    "SELECT person.total FROM person JOIN purchase ON person.id = purchase.person_id",
    "SELECT purchase.total FROM person",
    "SELECT T1.total FROM person AS T1",
    "SELECT T1.nope FROM person AS T1 JOIN purchase AS T2 ON T1.id = T2.person_id",
    "SELECT name FROM person WHERE total > 1",
    "SELECT name FROM person GROUP BY day",
    "SELECT name FROM person ORDER BY total",
    "SELECT name FROM person WHERE id IN (SELECT name FROM purchase)",
    "SELECT name FROM person WHERE id = (SELECT max(total) FROM person)",
    "SELECT namex FROM person",
    "SELECTname FROM person",
    "SELECT name FROMperson",
    "SELECT name city FROM person",
    "SELECT order FROM person",
    "SELECT load_extension('x') FROM person",
    "SELECT name FROM person; DROP TABLE person",
    "DELETE FROM person",
    "PRAGMA user_version",
    "SELECT name FROM person WHERE name = 'open",
    "SELECT name FROM person --",
    "SELECT FROM person",
    "",
)


@pytest.mark.parametrize("sql", GOOD)
def test_accepts(sales: LLMatcher, sql: str) -> None:
    assert accepts(sales, sql)


@pytest.mark.parametrize("sql", BAD)
def test_refuses(sales: LLMatcher, sql: str) -> None:
    assert not accepts(sales, sql)


def test_accepts_the_gold_queries(pairs: tuple[Pair, ...], db_dir: Path) -> None:
    """Golds are compared with each run of white space made one blank, nothing else changed."""
    matchers = {db: matcher(read_schema(str(db_dir / db))) for db in {pair.db for pair in pairs}}
    refused = [
        pair.id for pair in pairs if not accepts(matchers[pair.db], " ".join(pair.gold[0].split()))
    ]
    assert len(refused) <= 0.02 * len(pairs), refused


def test_every_gold_is_refused_over_another_database(pairs: tuple[Pair, ...], db_dir: Path) -> None:
    geography = matcher(read_schema(str(db_dir / "defog_geography.sqlite")))
    # Inside WITH any name is taken: the check looks at those.
    others = [pair for pair in pairs if pair.db != "defog_geography.sqlite"]
    others = [pair for pair in others if not pair.gold[0].startswith("WITH")]
    assert [pair.id for pair in others if accepts(geography, pair.gold[0])] == []


def test_postgres_spellings() -> None:
    columns = (Column("id"), Column("Name"), Column("day"))
    schema = matcher(Schema("postgres", (Table("person", columns),)))
    assert accepts(schema, 'SELECT "Name" FROM person WHERE "Name" ILIKE \'a%\'')
    assert accepts(schema, "SELECT EXTRACT(YEAR FROM day), day::text FROM person")
    assert accepts(schema, "SELECT date_trunc('month', day) AS month FROM person GROUP BY month")
    assert not accepts(schema, "SELECT Name FROM person")  # folds to name, which is not there
    assert not accepts(schema, 'SELECT id FROM person WHERE "Name" = "Ada"')


def test_a_schema_of_many_tables_still_compiles() -> None:
    columns = tuple(Column(f"column_{i}") for i in range(20))
    tables = tuple(Table(f"table_{i}", columns) for i in range(MAX_BOUND_TABLES + 60))
    schema = matcher(Schema("sqlite", tables))
    assert accepts(schema, "SELECT column_1 FROM table_99 WHERE table_99.column_2 = 1")
    assert not accepts(schema, "SELECT column_1 FROM table_100")


def test_the_text_is_the_same_every_time(shop: str) -> None:
    one = read_schema(shop)
    again = Schema(one.dialect, one.tables)
    assert schema_grammar_text(one) == schema_grammar_text(again)
