"""The words the model reads. What is the same for every question comes first, so that the engine
finds it in its prefix cache: the tools, an example, then the question; a second plan begins as
the first does."""

from __future__ import annotations

_TASK = """\
Write a plan of calls that answers the question. One call per line, numbered from 1.
$1 stands for the result of line 1 (in text: ${{1}}, a member of it: $1.name).
Call only what the question asks for, with values that stand in it. The last line is join().

{tools}

Question: {example}
Plan:
{example_plan}

Question: {question}
"""

PLAN = f"{_TASK}Plan:\n"

AGAIN = f"""{_TASK}\
Calls so far:
{{report}}
Some of them failed. Plan without the calls that failed, or with better ones; leave out what gave
a result.
Plan:
"""

ANSWER = """\
Answer the question in one or two sentences, with the results of these calls and nothing else.

Calls:
{results}

Question: {question}
Answer:"""
