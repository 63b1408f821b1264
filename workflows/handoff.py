"""What agents hand to each other: `Handoff`, `Message` and `handoff`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from gangline.ir.errors import TraceError

from .hints import describe, fields
from .lifting import Lifter
from .sources import author_line
from .symbols import kind_of
from .tracing import current

S = TypeVar("S")

FINISH = "finish"
"""Whom an agent names when nobody is to go on."""


class Message(BaseModel):
    """One thing that an agent, or whoever asked, has said."""

    sender: str
    text: str


class Handoff(BaseModel, Generic[S]):
    """A state, and the name of the agent that gets it next (`finish`: nobody)."""

    state: S
    to: str


class Turn(BaseModel, Generic[S]):
    """What a supervised loop carries: the state, who was named last, and who has worked so far."""

    state: S
    to: str
    done: list[str]


def handoff(to: str, state: S) -> Handoff[S]:
    """Say that the agent named `to` goes on with `state`; what agents of a `gl.network` return."""
    tracer = current()
    found = tracer.lift(state)
    who = tracer.checked(to, str, "`to` of gl.handoff is")
    made: Handoff[S] = handed(who, found, kind_of(found))
    return made


def handed(to: Any, state: Any, kind: Any) -> Any:
    """Record a Handoff whose state has the annotation `kind`."""
    return Lifter(current()).record(Handoff[kind], {"state": state, "to": to})


def state_kind(annotation: Any) -> Any:
    """Give the annotation of the state of a Handoff; TraceError for any other type."""
    known = fields(annotation) or {}
    if set(known) != {"state", "to"}:
        raise TraceError(
            f"{describe(annotation)} is no gl.Handoff",
            where=author_line(),
            next_step="Return gl.handoff(to=..., state=...).",
        )
    return known["state"]
