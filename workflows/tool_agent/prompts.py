"""The words the model reads. What is the same for every question comes first, so that the engine
finds it in its prefix cache: the tools, an example, then the question."""

from __future__ import annotations

PLAN = """\
Write a plan of calls that answers the question. One call per line, numbered from 1.
$1 stands for the result of line 1 (in text: ${{1}}, a member of it: $1.name).
Use only these tools. Call nothing twice. The last line is join().

{tools}

Question: {example}
Plan:
{example_plan}

Question: {question}
Plan:
"""

AGAIN = """\
Write a plan of calls that answers the question. One call per line, numbered from 1.
$1 stands for the result of line 1 (in text: ${{1}}, a member of it: $1.name).
Use only these tools. Call nothing twice. The last line is join().

{tools}

Question: {question}
A first plan went wrong:
{report}
Write a better plan, with only the calls that are still needed.
Plan:
"""

ANSWER = """\
Answer the question in one or two sentences, with the results of these calls and nothing else.

Calls:
{results}

Question: {question}
Answer:"""
