"""A single agent: one model that looks things up until it can answer.

gangline run examples/agents/single.py:clerk -i question="When are you open on Sunday?"
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

import gangline as gl

MODEL = "qwen2.5-coder-1.5b"

HANDBOOK = {
    "opening hours": "The shop is open 9 to 18 on weekdays, and 10 to 14 on Sundays.",
    "returns": "Anything may be returned within 30 days.",
    "delivery": "Delivery takes 2 days and is free from 50 euros on.",
}


class Case(BaseModel):
    """What the agent knows so far."""

    question: str
    notes: list[str]
    answer: str = ""


@gl.tool(effects="read")
def look_up(topic: str) -> list[str]:
    """Give what the handbook says on a topic."""
    return [text for name, text in HANDBOOK.items() if name == topic]


@gl.llm(model=MODEL, max_tokens=16)
def choose(question: str, notes: list[str]) -> Literal["look_up", "reply"]:
    """Question: {question}
    Notes: {notes}
    If the notes hold the answer, say "reply". If not, say "look_up"."""


@gl.llm(model=MODEL, max_tokens=16)
def pick_topic(question: str) -> Literal["opening hours", "returns", "delivery"]:
    """Which chapter of the handbook answers this question? {question}"""


@gl.llm(model=MODEL, max_tokens=48)
def reply(question: str, notes: list[str]) -> str:
    """Notes: {notes}
    Answer in one short sentence, from the notes only: {question}"""


@gl.agent(role="answers questions about the shop")
def clerk(question: str) -> str:
    """Look things up in the handbook, then answer."""

    def act(case: Case) -> Case:
        return gl.switch(
            choose(case.question, case.notes),
            {
                "look_up": lambda: gl.replace(
                    case, notes=case.notes + look_up(pick_topic(case.question))
                ),
                "reply": lambda: gl.replace(case, answer=reply(case.question, case.notes)),
            },
        )

    case = gl.record(Case, question=question, notes=[])
    return gl.loop(act, case, until=lambda case: case.answer != "", max_trips=4).answer
