"""The baseline text_to_sql is measured against: one unconstrained greedy draft, nothing else.

The schema is the database's own CREATE TABLE text; no examples, no grammar, no check, no second
attempt. Same model, same engine, same answer type, so that `gangline eval` scores it too:

    gangline eval benchmarks/single_draft.py:single_draft --pairs FILE --db-dir DIR
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import gangline as gl
from gangline.workflows.text_to_sql.sandbox import default_sandbox


class Answer(BaseModel):
    """What the evaluator reads."""

    sql: str
    columns: list[str] = []
    rows: list[list[Any]] = []
    error: str = ""


@gl.tool(effects="read")
def create_tables(db: gl.Database) -> str:
    """Give the CREATE TABLE statements as the database keeps them."""
    query = "SELECT sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    with closing(sqlite3.connect(f"{Path(db).resolve().as_uri()}?mode=ro", uri=True)) as file:
        return ";\n".join(sql for (sql,) in file.execute(query) if sql)


@gl.llm(model="qwen2.5-coder-1.5b", max_tokens=224)
def draft(schema: str, question: str) -> str:
    """{schema}

    Write one SQLite query that answers the question. Answer with SQL only.
    Question: {question}"""


@gl.tool(effects="read")
def execute(db: gl.Database, text: str) -> Answer:
    """Take the first statement out of the model's answer and run it."""
    fenced = re.search(r"```(?:sql|sqlite)?\s*(.*?)(?:```|$)", text, re.DOTALL | re.IGNORECASE)
    sql = (fenced[1] if fenced else text).strip().split(";")[0].strip()
    outcome = default_sandbox().run(db, sql)
    rows = [list(row) for row in outcome.rows]
    return Answer(sql=sql, columns=list(outcome.columns), rows=rows, error=outcome.error)


@gl.workflow
def single_draft(question: str, db: gl.Database) -> Answer:
    """Answer with the first thing the model says."""
    return execute(db, draft(create_tables(db), question))
