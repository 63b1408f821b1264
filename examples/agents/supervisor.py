"""A supervisor: one model decides which agent works on the report next.

gangline run examples/agents/supervisor.py:report -i topic="sled dogs"
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

from pydantic import BaseModel

import gangline as gl

MODEL = "qwen2.5-coder-1.5b"

FACTS = {
    "sled dogs": ["A team is 8 to 16 dogs.", "They run 20 km an hour."],
    "racing": ["The longest race is 1,600 km."],
}


class Report(BaseModel):
    """What the agents work on."""

    topic: str
    facts: list[str]
    text: str
    remarks: str


@gl.tool(effects="read")
def find_facts(topic: str) -> list[str]:
    """Look a topic up."""
    return FACTS.get(topic, [])


@gl.llm(model=MODEL, max_tokens=64)
def compose(topic: str, facts: list[str], remarks: str) -> str:
    """Facts: {facts}
    Remarks on the last version: {remarks}
    Write two sentences about {topic}. Use the facts."""


@gl.llm(model=MODEL, max_tokens=32)
def criticise(text: str) -> str:
    """Say in one short sentence what this text lacks, or "good": {text}"""


@gl.agent(role="finds facts")
def research(report: Report) -> Report:
    return gl.replace(report, facts=find_facts(report.topic))


@gl.agent(role="writes the text from the facts")
def write(report: Report) -> Report:
    return gl.replace(report, text=compose(report.topic, report.facts, report.remarks))


@gl.agent(role="criticises the text")
def review(report: Report) -> Report:
    return gl.replace(report, remarks=criticise(report.text))


# Its parameters are fields of the state; `agents` is filled with names and roles, `done` with who
# has worked so far. It answers under a grammar of the names and "finish".
@gl.llm(model=MODEL, max_tokens=16)
def lead(
    topic: str, facts: list[str], text: str, remarks: str, agents: str, done: list[str]
) -> str:
    """You lead a team that writes a report on {topic}:
    {agents}

    Facts: {facts}
    Text: {text}
    Remarks: {remarks}
    Have worked so far: {done}

    Facts come first, then a text, then remarks, then finish. Who is next?"""


@gl.workflow(deadline=120.0)
def report(topic: str) -> Report:
    """Write a report on a topic."""
    empty = gl.record(Report, topic=topic, facts=[], text="", remarks="")
    return gl.supervise(lead, [research, write, review], empty, max_trips=6)
