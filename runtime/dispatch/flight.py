"""A step that was issued and has not ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gangline.ir.program import Stage

from .interpreter import Activation
from .job_errors import unknown_effect

CONFIRM_SCHEMA: Mapping[str, Any] = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"rerun": {"const": True}},
            "required": ["rerun"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"result": {}},
            "required": ["result"],
            "additionalProperties": False,
        },
    ]
}
"""Answers about a write whose effect is not known: run it again, or take this as its result."""


@dataclass(slots=True, eq=False)
class Flight:
    """A step under way.

    `started` says that its step.started is in the log, at `since_s`; `uncertain` that its effect
    may have happened although it failed; `waiting` that it will be tried again. `interrupt` is
    the question a person is asked, of an ask that has started. `held` says that a person
    decides whether the step may run.
    """

    activation: Activation
    attempt: int
    reserved_usd: float
    writes: bool
    started: bool = False
    uncertain: bool = False
    waiting: bool = False
    since_s: float = 0.0
    interrupt: Mapping[str, Any] | None = None
    held: bool = False

    @property
    def asks(self) -> bool:
        """Say whether a person brings this step on."""
        return self.held or self.activation.stage.op == "ask"

    @property
    def waits(self) -> bool:
        """Say whether nothing is computed for this step: others, or a person, bring it on."""
        return self.waiting or self.activation.stage.op in ("ask", "expand")

    def keeps(self, error: Mapping[str, str], retryable: bool) -> bool:
        """Say whether this failure becomes the step's outcome: no attempt is left, and it may.

        A write of which nobody knows what it did is never passed over.
        """
        stage, planned = self.activation.stage, self.activation.planned
        if planned is None or not planned[0].keeps or self.lasting(error):
            return False
        return not retryable or stage.attributes.get("retries", 0) < self.attempt

    def lasting(self, error: Mapping[str, str]) -> bool:
        """Say whether the effect of a step that failed so may have happened."""
        stage = self.activation.stage
        is_late = error.get("code") == "timeout" and writes(stage)
        return is_late and not is_repeatable(stage)

    @property
    def unsafe(self) -> bool:
        """Say whether running the step again could repeat an effect (its process being gone)."""
        touched = self.started and not self.waiting
        repeatable = is_repeatable(self.activation.stage)
        return self.writes and not repeatable and (touched or self.uncertain)

    def question(self) -> Mapping[str, Any]:
        """Give what a person is asked about a step that is unsafe."""
        step_id = self.activation.id
        told = unknown_effect(self.activation.stage.attributes["tool"], step_id)
        text = f"{told.detail}. Run it again, or take which result?"
        return {"id": step_id, "question": text, "schema": CONFIRM_SCHEMA, "choices": None}


MEMORY_WRITES = frozenset({"store", "observe"})


def writes(stage: Stage) -> bool:
    """Say whether a step of this stage changes the world."""
    if stage.op in MEMORY_WRITES:
        return True
    return stage.op == "tool" and stage.attributes.get("effects", "write") == "write"


def is_repeatable(stage: Stage) -> bool:
    """Say whether running a step of this stage twice does no harm.

    The store notices that a step changes memory a second time.
    """
    return stage.op in MEMORY_WRITES or bool(stage.attributes.get("idempotent", False))
