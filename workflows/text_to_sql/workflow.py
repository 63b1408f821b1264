"""The workflow: draft under the schema's grammar, check, run, repair."""

from __future__ import annotations

from gangline.ir.errors import InputError
from gangline.workflows.combinators import loop, record
from gangline.workflows.decorators import llm, tool, workflow
from gangline.workflows.values import Database

from . import prompts, settings
from .attempt import Answer, Attempt, follow, try_query
from .grammar import schema_grammar_text
from .hints import find_hints
from .render import render
from .sandbox import default_sandbox
from .schema_reader import read_schema


@tool(effects="none", timeout=5.0)
def check_question(question: str) -> str:
    """Give the question without blanks around it; InputError when nothing is asked."""
    asked = " ".join(question.split())
    if not asked:
        raise InputError(
            "The question is empty",
            where="question",
            next_step='Ask something, for example question="How many customers are there?".',
        )
    if len(asked) > settings.MAX_QUESTION_CHARS:
        raise InputError(
            f"The question is longer than {settings.MAX_QUESTION_CHARS} characters",
            where="question",
            next_step="Ask in fewer words.",
        )
    return asked


@tool(effects="read", timeout=30.0)
def show_schema(db: Database) -> str:
    """Give the schema as the model reads it, with the dialect in its first line."""
    schema = read_schema(db)
    name = {"sqlite": "SQLite", "postgres": "PostgreSQL"}[schema.dialect]
    return f"-- {name}\n{render(schema)}"


@tool(effects="read", timeout=30.0)
def show_hints(question: str, db: Database) -> str:
    """Name the values of the database that the question speaks of; empty if none."""
    return find_hints(question, db, read_schema(db), default_sandbox())


@tool(effects="read", timeout=30.0)
def schema_grammar(db: Database) -> str:
    """Give the Lark grammar of the queries this database can answer."""
    return schema_grammar_text(read_schema(db))


@tool(effects="read", timeout=60.0)
def attempt(db: Database, sql: str) -> Attempt:
    """Check and run one query; what goes wrong is in the result, never raised."""
    return try_query(sql, db, read_schema(db), default_sandbox())


@tool(effects="read", timeout=60.0)
def attempt_repair(db: Database, sql: str, earlier: Attempt) -> Attempt:
    """Check and run a repaired query and choose between it and the one before."""
    return follow(earlier, attempt.fn(db, sql))


@llm(
    model=settings.MODEL,
    max_tokens=settings.MAX_TOKENS,
    grammar=schema_grammar,
    template=prompts.DRAFT,
)
def draft(question: str, schema: str, hints: str, db: Database) -> str:
    """Write a first query."""
    raise NotImplementedError


@llm(
    model=settings.MODEL,
    max_tokens=settings.MAX_TOKENS,
    grammar=schema_grammar,
    template=prompts.REPAIR,
)
def repair(
    question: str,
    schema: str,
    hints: str,
    db: Database,
    sql: str,
    problem: str,
    seed: int,
    temperature: float,
) -> str:
    """Write a query again, knowing what was wrong with it."""
    raise NotImplementedError


@workflow(deadline=60.0)  # no default budget: what a step costs depends on the fleet
def text_to_sql(question: str, db: Database) -> Answer:
    """Answer a question about a database with one query and its rows."""
    asked = check_question(question)
    schema = show_schema(db)
    hints = show_hints(asked, db)

    def again(last: Attempt) -> Attempt:
        heat = last.trips * settings.REPAIR_TEMPERATURE
        sql = repair(
            asked,
            schema,
            hints,
            db,
            last.sql,
            last.problem,
            seed=last.attempts,
            temperature=heat,
        )
        return attempt_repair(db, sql, last)

    first = attempt(db, draft(asked, schema, hints, db))
    last = loop(again, first, until=lambda a: a.settled, max_trips=settings.MAX_REPAIRS)
    return record(
        Answer,
        sql=last.sql,
        columns=last.columns,
        rows=last.rows,
        truncated=last.truncated,
        attempts=last.attempts,
        error=last.error,
    )
