"""The words the model reads. What stays the same between questions comes first, so that the
engine finds it in its prefix cache: instructions, schema, then the question."""

from __future__ import annotations

SYSTEM = """\
You write one SQL query that answers a question about a database.
Use only the tables and columns of the schema. Select only what the question asks for, in the \
order it asks, and nothing more. Join tables only where the question needs them."""

DRAFT = """\
{schema}

{hints}Question: {question}
SQL:"""

REPAIR = """\
{schema}

{hints}Question: {question}
SQL: {sql}
This query is wrong: {problem}.
Corrected SQL:"""

NO_ROWS = "it gives no rows; the joins or the values it compares with may not be right"

HINTS = "Values in the database: {values}.\n"
