"""Rules of plans written at run time: what an expand says of the tools and agents it may use."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from gangline.ir.errors import VerifyError
from gangline.ir.ops import EFFECTS, PLANNED_AGENT, PLANNED_TOOL, TOOL_LABELS

from .facts import Facts, OpFacts, Rule

EXPANDS = ("agent.expand", "stage.expand")


def expands_name_their_plan(facts: Facts) -> Iterator[VerifyError]:
    """An expand names its plan first."""
    for found in facts.of(*EXPANDS):
        if found.names[:1] != ["plan"]:
            yield found.error(f"{found.name} does not name its plan first")


def planned_rows_are_whole(facts: Facts) -> Iterator[VerifyError]:
    """The tools of an expand are rows that say all there is to say, each under its own name."""
    for found in facts.of(*EXPANDS):
        rows = found.attrs.get("tools")
        if not (isinstance(rows, list) and rows and all(map(_is_planned, rows))):
            yield found.error(f"the tools of {found.name} are no list of tools")
        elif len({row["name"] for row in rows}) < len(rows):
            yield found.error(f"two tools of {found.name} have one name")


def givens_are_given(facts: Facts) -> Iterator[VerifyError]:
    """What the author fills is among the named operands."""
    for found in facts.of(*EXPANDS):
        wanted = {name for row in planned_rows(found) for name in row["given"]}
        for name in sorted(wanted - set(found.names)):
            yield found.error(f"{found.name} does not give {name!r} to its tools")


def grants_are_of_writers(facts: Facts) -> Iterator[VerifyError]:
    """Only tools of the expand that write are granted, as `name` or `name:times`."""
    for found in facts.of(*EXPANDS):
        writers = {row["name"] for row in planned_rows(found) if row["effects"] == "write"}
        granted = found.attrs.get("granted")
        for grant in granted if isinstance(granted, list) else ():
            name, _, times = str(grant).partition(":")
            if name not in writers or (
                ":" in str(grant) and not (times.isascii() and times.isdigit())
            ):
                yield found.error(f"{found.name} grants {grant!r}, which is no tool that writes")


def lines_are_read_as_tokens(facts: Facts) -> Iterator[VerifyError]:
    """A stage reads the tokens of a decode where its plan comes in lines, and only there."""
    for found in facts.of("stage.expand"):
        plan = found.operands[0] if found.operands else None
        tokens = [value for value in found.operands if facts.kind(value) == "tokens"]
        in_lines = found.attrs.get("form") == "lines"
        if any(value != plan for value in tokens) or (tokens and not in_lines):
            yield found.error("stage.expand reads tokens as its plan in lines, and only then")


def planned_rows(found: OpFacts) -> list[dict[str, Any]]:
    """Give the rows of an expand that are whole."""
    rows = found.attrs.get("tools")
    return [row for row in rows if _is_planned(row)] if isinstance(rows, list) else []


def planned_agents(found: OpFacts) -> list[dict[str, Any]]:
    """Give the rows of the nested agents that a plan of an expand may call."""
    return [row for row in planned_rows(found) if "agent" in row]


def _is_planned(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    called = "agent" if "agent" in row else "tool"
    labels = row.get("labels", [])
    return (
        row.keys() - {"labels"} == (PLANNED_AGENT if called == "agent" else PLANNED_TOOL)
        and _is_text(row[called])
        and _is_text(row["name"])
        and row["effects"] in EFFECTS
        and isinstance(row["parameters"], dict)
        and all(isinstance(schema, dict | bool) for schema in row["parameters"].values())
        and _are_texts(row["required"])
        and set(row["required"]) <= set(row["parameters"])
        and _are_texts(row["given"])
        and not set(row["given"]) & set(row["parameters"])
        and isinstance(labels, list)
        and all(label in TOOL_LABELS for label in labels)
        and (called == "agent" or _can_be_called(row))
    )


def _can_be_called(row: dict[str, Any]) -> bool:
    """Tell whether a tool's row has the limits that a tool stage has, of their kinds."""
    timeout, retries = row["timeout_s"], row["retries"]
    return (
        isinstance(timeout, int | float)
        and not isinstance(timeout, bool)
        and 0 <= timeout < math.inf
        and isinstance(retries, int)
        and not isinstance(retries, bool)
        and retries >= 0
        and isinstance(row["idempotent"], bool)
        and isinstance(row["signature"], str)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


RULES: tuple[Rule, ...] = (
    expands_name_their_plan,
    planned_rows_are_whole,
    givens_are_given,
    grants_are_of_writers,
    lines_are_read_as_tokens,
)
