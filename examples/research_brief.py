"""A research brief: find notes on a topic, read them at once, write a brief, improve it.

Run it from the repository's root:

    gangline run examples/research_brief.py:brief -i topic="sled dogs"

It needs no network: the notes are in this file, and the model is a small one. Read it from top
to bottom; each part of gangline appears once.
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

from pydantic import BaseModel

import gangline as gl

MODEL = "smollm2-135m"

NOTES = {
    "gangline": "A gangline is the central line that connects every dog of a team to the sled.",
    "lead dogs": "Lead dogs run in front. They set the pace and follow spoken commands.",
    "wheel dogs": "Wheel dogs run next to the sled. They are the strongest dogs of the team.",
    "rest": "A sled dog team rests about as long as it runs on a long race.",
    "solar panels": "A solar panel turns about a fifth of the light that reaches it into power.",
    "batteries": "Lithium iron phosphate batteries last for several thousand charge cycles.",
}


# 1. Types. What flows between steps is plain Python or a pydantic model.
class Brief(BaseModel):
    """What the workflow gives back."""

    topic: str
    text: str
    sources: list[str]
    words: int
    good: bool


# 2. Tools are Python functions that run as steps of their own. `effects` says what a step may
#    do to the world: "none" (a pure function), "read" or "write".
@gl.tool(effects="read", timeout=2.0)
def find_notes(topic: str) -> list[str]:
    """Give the names of up to three notes that share words with the topic, best first."""
    wanted = set(topic.lower().split())
    score = {name: len(wanted & _words(f"{name} {text}")) for name, text in NOTES.items()}
    return sorted((name for name in NOTES if score[name]), key=lambda name: -score[name])[:3]


def _words(text: str) -> set[str]:
    return {word.strip(".,") for word in text.lower().split()}


@gl.tool(effects="read")
def read_note(name: str) -> str:
    """Give the text of one note."""
    return NOTES[name]


@gl.tool(effects="none")
def check(topic: str, text: str, sources: list[str]) -> Brief:
    """Count words and decide whether a brief is good enough: 8 to 60 words, a full sentence."""
    text = text.strip()
    words = len(text.split())
    good = 8 <= words <= 60 and text.endswith(".")
    return Brief(topic=topic, text=text, sources=sources, words=words, good=good)


# 3. Model calls are functions too: the docstring is the prompt, parameters are its {fields}.
@gl.llm(model=MODEL, max_tokens=48, stop=("\n\n",))
def summarise(note: str) -> str:
    """Say this in one short sentence: {note}"""


@gl.llm(model=MODEL, max_tokens=80, stop=("\n\n",))
def write_brief(topic: str, facts: list[str]) -> str:
    """Facts: {facts}

    Write two sentences about {topic}. Use only the facts."""


@gl.llm(model=MODEL, max_tokens=80, temperature=0.7, stop=("\n\n",))
def rewrite(text: str, seed: int) -> str:
    """Rewrite this text in 10 to 40 words. End with a full stop.

    {text}"""


# 4. A workflow ties steps together. It runs once on symbols to find out the graph of steps;
#    gl.map, gl.branch and gl.loop stand for `for`, `if` and `while` over values that are not
#    known yet.
@gl.workflow(deadline=120.0, budget_usd=0.01)
def brief(topic: str) -> Brief:
    """Write a short brief about a topic from the notes of this file."""
    sources = find_notes(topic)
    return gl.branch(
        gl.length(sources) > 0,
        then=lambda: from_notes(topic, sources),
        orelse=lambda: check(topic, "There are no notes about this topic.", sources),
    )


# A workflow that another one calls is a nested agent.
@gl.workflow
def from_notes(topic: str, sources: list[str]) -> Brief:
    """Read the notes, write a brief, and improve it at most twice."""
    facts = gl.map(lambda name: summarise(read_note(name)), sources)  # all notes at once
    first = check(topic, write_brief(topic, facts), sources)
    return gl.loop(
        lambda draft: check(topic, rewrite(draft.text, seed=draft.words), sources),
        first,
        until=lambda draft: draft.good,
        max_trips=2,
    )


if __name__ == "__main__":
    print(brief.run("sled dogs").text)  # noqa: T201
