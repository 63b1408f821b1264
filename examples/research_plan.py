"""A model plans its own research, a person looks at the plan, and only then are notes taken.

    gangline run examples/research_plan.py:research -i topic="sled dogs"

The plan is data: it may name the two tools below and nothing else.
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

import gangline as gl

FACTS = {
    "sled dogs": ["A team is 8 to 16 dogs.", "They run 20 km an hour."],
    "racing": ["The longest race is 1,600 km."],
}


class Findings(BaseModel):
    approved: bool
    notes: dict[str, list[str]]


class Step(BaseModel):
    id: str
    tool: str
    arguments: dict[str, Any]  # {"$ref": "id"} stands for the result of another step


@gl.tool(effects="read")
def find(topic: str) -> list[str]:
    """Look a topic up."""
    return FACTS.get(topic, [])


@gl.tool(effects="none")
def shorten(text: str) -> list[str]:
    """Keep the first words of a text."""
    return text.split()[:4]


@gl.llm(model="smollm2-135m", max_tokens=200)
def plan(topic: str) -> list[Step]:
    """Plan research on {topic}. Use the tools find(topic) and shorten(text)."""


@gl.tool(effects="none")
def shown(steps: list[Step]) -> str:
    """Write a plan down for a person."""
    calls = (f"{step.id}: {step.tool} {step.arguments}" for step in steps)
    return "Carry out this plan?\n" + "\n".join(calls)


@gl.tool(effects="none")
def nothing() -> dict[str, list[str]]:
    """Give no notes."""
    return {}


@gl.workflow
def research(topic: str) -> Findings:
    steps = plan(topic)
    approved = gl.ask(shown(steps), returns=bool)
    notes = gl.branch(
        approved,
        lambda: gl.expand(steps, tools=[find, shorten], max_steps=8),
        lambda: nothing(),
    )
    return gl.record(Findings, approved=approved, notes=notes)
