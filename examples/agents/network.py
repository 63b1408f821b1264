"""A network: peers that hand a conversation to each other, with nobody above them.

gangline run examples/agents/network.py:desk -i question="I was charged twice."
"""

# mypy: disable-error-code="empty-body"
from __future__ import annotations

from typing import Literal

import gangline as gl

MODEL = "qwen2.5-coder-1.5b"

Talk = list[gl.Message]


@gl.tool(effects="write", idempotent=True)
def open_ticket(queue: str, talk: Talk, idempotency_key: str = "") -> str:
    """Note that a person has to look at this. (A real tool would write to a ticket system.)"""
    return f"{queue}-{len(talk)}"


@gl.llm(model=MODEL, max_tokens=16)
def sort_question(talk: Talk) -> Literal["billing", "technical"]:
    """A customer wrote: {talk}
    Is it about money (billing) or about a device (technical)?"""


@gl.llm(model=MODEL, max_tokens=48)
def answer_billing(talk: Talk) -> str:
    """You look after bills. The talk so far: {talk}
    Answer the customer in one sentence."""


@gl.llm(model=MODEL, max_tokens=16)
def after_billing(talk: Talk, answer: str) -> Literal["technical", "finish"]:
    """Talk: {talk}
    Billing answered: {answer}
    Is a technician needed as well? Say "technical" if so, or "finish"."""


@gl.llm(model=MODEL, max_tokens=48)
def answer_technical(talk: Talk) -> str:
    """You are a technician. The talk so far: {talk}
    Answer the customer in one sentence."""


@gl.llm(model=MODEL, max_tokens=16)
def after_technical(talk: Talk, answer: str) -> Literal["billing", "finish"]:
    """Talk: {talk}
    The technician answered: {answer}
    Is money to be paid back? Say "billing" if so, or "finish"."""


# An agent of a network says who goes on with what. The state is a list of messages here, so a
# text that is handed over is added to it as the agent's message.
@gl.agent(role="sorts questions")
def triage(talk: Talk) -> gl.Handoff[Talk]:
    return gl.handoff(to=sort_question(talk), state=talk)


@gl.agent(role="bills and refunds")
def billing(talk: Talk) -> gl.Handoff[str]:
    answer = answer_billing(talk)
    ticket = open_ticket("billing", talk)
    return gl.handoff(to=after_billing(talk, answer), state=answer + " Ticket " + ticket + ".")


@gl.agent(role="devices that do not work")
def technical(talk: Talk) -> gl.Handoff[str]:
    answer = answer_technical(talk)
    return gl.handoff(to=after_technical(talk, answer), state=answer)


@gl.workflow
def desk(question: str) -> list[gl.Message]:
    """Answer a customer; whoever is asked may pass the customer on."""
    talk = [gl.record(gl.Message, sender="customer", text=question)]
    return gl.network([triage, billing, technical], talk, first=triage, max_trips=5)
