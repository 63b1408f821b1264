"""The words the model reads. What stays the same between questions comes first, so that the
engine finds it in its prefix cache: the schema, then the question.

There are no instructions: the schema, the question and `SQL:` say what is wanted, the grammar
holds the form, and every sentence of advice that was tried cost a small model accuracy
(docs/decisions/0008-text-to-sql-asks-plainly.md)."""

from __future__ import annotations

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
