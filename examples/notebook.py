"""A notebook that answers: it remembers what it is told, and recalls it in later jobs.

Run it from the repository's root, more than once:

    gangline run examples/notebook.py:notebook -i message="My lead dog is called Togo."
    gangline run examples/notebook.py:notebook -i message="Who is my lead dog?"

What it knows is in the job store: `gangline memory list` shows it.
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

from pydantic import BaseModel

import gangline as gl

MODEL = "qwen2.5-coder-1.5b"


class Page(BaseModel):
    """What one run gives back: the answer, and what it rests on."""

    answer: str
    recalled: list[gl.Entry]
    number: int


@gl.llm(model=MODEL, max_tokens=48)
def reply(notes: str, message: str) -> str:
    """You keep a person's notes. Answer in one short sentence, from the notes where you can.
    Notes:
    {notes}
    Message: {message}"""


@gl.tool(effects="none")
def as_lines(entries: list[gl.Entry]) -> str:
    """Write the entries down for the model, one a line."""
    return "\n".join(f"- {entry.value}" for entry in entries) or "- (none yet)"


@gl.workflow(deadline=60.0)
def notebook(message: str) -> Page:
    # Both look at what earlier jobs remembered: this message is not among it yet.
    alike = gl.recall(message, by="vector", model=MODEL, limit=3)
    answer = reply(as_lines(alike), message)
    gl.remember(message, model=MODEL)
    number = gl.observe({"message": message}, answer)
    return gl.record(Page, answer=answer, recalled=alike, number=number)


@gl.workflow
def diary(words: str) -> list[gl.Entry]:
    """Find what was said before, by its words."""
    return gl.recall(words, space="observations")
