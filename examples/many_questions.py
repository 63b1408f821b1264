"""Several questions about one text: the model reads the text once, while a tool picks questions.

    gangline run examples/many_questions.py:reading -i text="A team is 8 to 16 dogs."

The text is the long part of the prompt and does not depend on the questions. Its KV cache is a
value: it is computed while `questions` runs, and every answer goes on from it.
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import gangline as gl

ASKED = {"dogs": "How many dogs are there?", "km": "How far do they go?"}


@gl.tool(effects="read")
def questions(text: str) -> list[str]:
    """Pick what is worth asking about a text."""
    return [asked for word, asked in ASKED.items() if word in text] or ["What is it about?"]


@gl.llm(model="smollm2-135m", max_tokens=40, system="You answer in one short sentence.")
def answer(text: str, question: str) -> str:
    """Text: {text}

    Question: {question}
    Answer:"""


@gl.workflow
def reading(text: str) -> list[str]:
    read = answer.cache(text=text)
    return gl.map(lambda question: answer(question=question, cache=read), questions(text))
