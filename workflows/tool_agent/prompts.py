"""The words the model reads. What is the same for every question comes first, so that the engine
finds it in its prefix cache: the tools, an example, then the question; a second plan begins as
the first does."""

from __future__ import annotations

_TASK = """\
Write a plan of calls that answers the question. One call per line, numbered from 1.
$1 stands for the result of line 1 (in text: ${{1}}; a member of it: $1.price, in text ${{1.price}}).
Call only what the question asks for, each call once, with values that stand in the question. The
last line is join().

{tools}

{examples}

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

EXAMPLES = (
    (
        "How many more miles are 40 km than 12 nautical miles, and how many orders were returned?",
        """\
1. convert(value=40, unit_from="km", unit_to="mi")
2. convert(value=12, unit_from="nmi", unit_to="mi")
3. count_orders(status="returned")
4. calculate(expression="${1} - ${2}")
5. join()""",
    ),
    (
        "Which mats are there, and what do 4 Cirrus Duffels and one Delta Shell cost?",
        """\
1. search_catalogue(words="mat")
2. find_product(name="Cirrus Duffel")
3. find_product(name="Delta Shell")
4. calculate(expression="4 * ${2.price} + ${3.price}")
5. join()""",
    ),
    (
        "What is 7 times the square root of 20?",
        """\
1. calculate(expression="7 * sqrt(20)")
2. join()""",
    ),
)
"""Questions for the bundled tools with their plans: one of each kind, the plainest last."""
