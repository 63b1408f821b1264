"""A hierarchy: a supervisor whose agents are supervisors of teams.

gangline run examples/agents/hierarchical.py:handbook -i subject="dog sleds"
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

from pydantic import BaseModel

import gangline as gl

MODEL = "qwen2.5-coder-1.5b"

LIBRARY = {
    "dog sleds": ["A sled carries 200 kg.", "A sled carries 900 kg.", "Sleds are of ash wood."]
}


class Page(BaseModel):
    """A page of a handbook in the making."""

    subject: str
    facts: list[str]
    text: str


@gl.tool(effects="read")
def read_library(subject: str) -> list[str]:
    """Give all that the library says on a subject."""
    return LIBRARY.get(subject, [])


@gl.tool(effects="none")
def without_doubts(facts: list[str]) -> list[str]:
    """Keep the first fact of each kind: those with other words before the number."""
    kept = {fact.split(" ", 3)[0] + fact.split(" ", 3)[1]: fact for fact in reversed(facts)}
    return [fact for fact in facts if fact in kept.values()]


@gl.llm(model=MODEL, max_tokens=64)
def compose(subject: str, facts: list[str]) -> str:
    """Write one plain sentence on {subject} for each of these facts: {facts}"""


@gl.llm(model=MODEL, max_tokens=48)
def cut(text: str) -> str:
    """Say this in at most 20 words: {text}"""


# The agents that do the work.
@gl.agent(role="reads the library")
def search(page: Page) -> Page:
    return gl.replace(page, facts=read_library(page.subject))


@gl.agent(role="removes facts that contradict each other")
def check(page: Page) -> Page:
    return gl.replace(page, facts=without_doubts(page.facts))


@gl.agent(role="writes the text")
def draft(page: Page) -> Page:
    return gl.replace(page, text=compose(page.subject, page.facts))


@gl.agent(role="makes the text short")
def shorten(page: Page) -> Page:
    return gl.replace(page, text=cut(page.text))


# Who leads them.
@gl.llm(model=MODEL, max_tokens=16)
def lead_research(agents: str, done: list[str]) -> str:
    """Your team: {agents}
    Have worked so far: {done}
    Search once, check once, then finish. Who is next?"""


@gl.llm(model=MODEL, max_tokens=16)
def lead_writing(agents: str, done: list[str]) -> str:
    """Your team: {agents}
    Have worked so far: {done}
    Draft once, shorten once, then finish. Who is next?"""


@gl.agent(role="finds out what is true")
def researchers(page: Page) -> Page:
    return gl.supervise(lead_research, [search, check], page, max_trips=3, name="research")


@gl.agent(role="write the page from the facts")
def writers(page: Page) -> Page:
    return gl.supervise(lead_writing, [draft, shorten], page, max_trips=3, name="writing")


@gl.llm(model=MODEL, max_tokens=16)
def edit(page: Page, agents: str) -> str:
    """You lead two teams: {agents}
    The page: {page}
    First facts, then a text, then finish. Who is next?"""


@gl.workflow(deadline=300.0)
def handbook(subject: str) -> Page:
    """Write a page of a handbook."""
    empty = gl.record(Page, subject=subject, facts=[], text="")
    return gl.supervise(edit, [researchers, writers], empty, max_trips=4)
