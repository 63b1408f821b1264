"""A graph of one's own: agents in parallel, a choice, a review, and a write at the end.

gangline run examples/agents/custom.py:announce -i news="Our shop opens at 8 from May on"
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

from typing import Literal

import gangline as gl

MODEL = "qwen2.5-coder-1.5b"

STYLES = ["friendly", "short", "formal"]
PUBLISHED: list[str] = []


@gl.llm(model=MODEL, max_tokens=48)
def phrase(style: str, news: str) -> str:
    """Announce this to customers in one {style} sentence: {news}"""


@gl.llm(model=MODEL, max_tokens=16)
def choose(texts: list[str]) -> Literal["first", "second", "third"]:
    """Which of these three texts would customers like best?
    {texts}"""


@gl.llm(model=MODEL, max_tokens=16)
def rate(text: str) -> Literal["fine", "promises", "prices"]:
    """Does this text make promises or name prices, or is it fine? {text}"""


@gl.llm(model=MODEL, max_tokens=48)
def soften(text: str, problem: str) -> str:
    """Rewrite this sentence without {problem}: {text}"""


@gl.tool(effects="write", idempotent=True)
def publish(text: str, idempotency_key: str = "") -> str:
    """Put a text on the notice board (here a list)."""
    PUBLISHED.append(text)
    return text


@gl.agent(role="writes an announcement in one style")
def author(style: str, news: str) -> str:
    return phrase(style, news)


@gl.agent(role="makes a text safe to publish")
def lawyer(text: str) -> str:
    verdict = rate(text)
    return gl.switch(
        verdict,
        {"fine": lambda: text},
        default=lambda: soften(text, verdict),
    )


@gl.agent(role="announces news", pattern="custom")
def announce(news: str) -> str:
    """Three authors at once, the best text, a lawyer's look at it, and publication."""
    texts = gl.map(lambda style: author(style, news), STYLES)
    best = gl.switch(
        choose(texts),
        {"first": lambda: texts[0], "second": lambda: texts[1], "third": lambda: texts[2]},
    )
    return publish(lawyer(best))
