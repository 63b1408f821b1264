"""The event that a person's answer becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .advance import Draft
from .commands import Step
from .policing import NO, denied


def answer_event(
    asked: Mapping[str, Any], step: Step, value: Any, ended: Mapping[str, Any]
) -> Draft:
    """Draft what is recorded of an answer that fits its question.

    Args:
        asked: the question, as `Dispatcher.interrupts` gives it.
        step: the step that asks, or about which is asked.
        ended: what a step event says of the step if it ends now.
    """
    findings, is_ask = asked.get("findings"), step.stage.op == "ask"
    if findings and value == NO:
        error = denied(findings, step.where).to_json()
        told = {"usd": 0.0, "error": error, "retryable": False, "denied": True}
        return "step.failed", step.id, {**ended, **told}
    if findings and not is_ask:
        return "step.retrying", step.id, {"attempt": step.attempt, "approved": True}
    if not is_ask and "rerun" in value:
        return "step.retrying", step.id, {"attempt": step.attempt + 1, "confirmed": True}
    return (
        "step.completed",
        step.id,
        {
            **ended,
            "usd": 0.0,
            "value": value if is_ask else value["result"],
        },
    )
