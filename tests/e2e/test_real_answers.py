"""The main job with the real model: right answers, and a second question that reuses the first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gangline.runtime.api import open_session
from gangline.runtime.example_database import make_example_database
from gangline.runtime.machine.models import find, is_present
from gangline.runtime.session import Session
from gangline.runtime.store import Store
from gangline.workflows.text_to_sql import text_to_sql

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_example_database(tmp_path_factory.mktemp("shop") / "retailer.sqlite")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    if not is_present(find("qwen2.5-coder-1.5b")):
        pytest.skip("needs the model: gangline models pull qwen2.5-coder-1.5b")
    with Store(tmp_path / "jobs.sqlite") as store, open_session(None, None, store) as session:
        yield session


def rows_of(database: Path, sql: str) -> list[list[Any]]:
    with closing(sqlite3.connect(database)) as db:
        return sorted(list(row) for row in db.execute(sql))


def test_two_questions_are_answered_and_share_the_schema(shop: Path, session: Session) -> None:
    asked = {
        "How many customers are there in each country?": (
            "SELECT country, count(*) FROM customer GROUP BY country"
        ),
        "How many orders were cancelled?": (
            "SELECT count(*) FROM orders WHERE status = 'cancelled'"
        ),
    }
    cached = []
    for question, right in asked.items():
        result = session.run(text_to_sql, {"question": question, "db": str(shop)})
        assert result.status == "succeeded", result.error
        assert sorted(result.output["rows"]) == rows_of(shop, right), result.output["sql"]
        cached.append(next(s.cached_tokens for s in result.steps if s.op == "prefill"))
        assert all(step.kernels for step in result.steps if step.op == "decode")
    # The schema is about 1,400 tokens; only the question differs.
    assert cached[0] == 0 and (cached[1] or 0) > 1000
