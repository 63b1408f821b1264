"""The body of `POST /v1/jobs`: from what a caller writes in Python to JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from gangline.ir.errors import InputError, UsageError

if TYPE_CHECKING:
    from gangline.workflows.workflow import Workflow


OPTIONS = (
    "deadline",
    "on_deadline",
    "budget_usd",
    "priority",
    "admit",
    "model",
    "metadata",
    "policy",
    "grants",
    "webhook",
    "job_id",
    "inputs",
)
"""Keywords that say how a job runs; every other keyword is an input of the workflow."""

_PLAIN = ("on_deadline", "budget_usd", "priority", "admit", "model", "metadata", "policy", "grants")


def job_body(workflow: Workflow[..., Any] | str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Write a job down; an option that is absent or None is left to the server.

    Args:
        workflow: a workflow the server has registered, or its name.
        given: inputs by name (models, dataclasses, enums and dates become JSON), and options:
            `deadline` in seconds from now, `on_deadline` (`late`, `expire`), `budget_usd`,
            `priority` (0 to 9, higher is sooner), `admit` (`always`, `feasible`), `model`,
            `metadata`, `policy` (a mapping, or a `gl.Policy`), `grants` (those of the server's
            that plans may use: tools, or texts such as `send:1`), `webhook` (a URL,
            or a mapping of `url`, `secret`, `events`), `job_id`, and `inputs`, a mapping for inputs that are named like an option.
    """
    options = {name: given[name] for name in OPTIONS if given.get(name) is not None}
    inputs = {name: value for name, value in given.items() if name not in OPTIONS}
    inputs |= options.pop("inputs", {})
    body: dict[str, Any] = {"workflow": _name(workflow), "input": _inputs(workflow, inputs)}
    if "job_id" in options:
        body["id"] = str(options["job_id"])
    if "deadline" in options:
        body["deadline_ms"] = options["deadline"] * 1000.0
    if "webhook" in options:
        hook = options["webhook"]
        body["webhook"] = {"url": hook} if isinstance(hook, str) else dict(hook)
    if "grants" in options:
        options["grants"] = [_grant(grant) for grant in options["grants"]]
    return body | {name: plain(options[name], name) for name in _PLAIN if name in options}


def _name(workflow: Workflow[..., Any] | str) -> str:
    name = workflow if isinstance(workflow, str) else getattr(workflow, "name", None)
    if not isinstance(name, str) or not name:
        raise UsageError(
            f"{workflow!r} is not a workflow",
            next_step="Give a workflow, or the name of one that the server has registered.",
        )
    return name


def _grant(grant: Any) -> str:
    """Write a grant as its text: of a tool its name, with `:N` where it counts."""
    return str(getattr(grant, "name", grant))


def _inputs(workflow: Workflow[..., Any] | str, inputs: Mapping[str, Any]) -> dict[str, Any]:
    # A workflow at hand knows its types, so that a wrong value is told before it is sent.
    checked = inputs if isinstance(workflow, str) else workflow.checked(inputs)
    return {name: plain(value, name) for name, value in checked.items()}


def plain(value: Any, where: str) -> Any:
    """Give a value as JSON; InputError if it has no JSON form."""
    match value:
        case None | bool() | int() | float() | str():
            return value.value if isinstance(value, Enum) else value
        case Mapping():
            return {str(key): plain(inner, where) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(inner, where) for inner in value]
        case Enum():
            return plain(value.value, where)
        case datetime() | date():
            return value.isoformat()
        case UUID() | PurePath():
            return str(value)
    if callable(document := getattr(value, "to_json", None)):
        return document()
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value), where)
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json")
    raise InputError(
        f"A value of type {type(value).__name__} cannot be sent as JSON",
        where=where,
        next_step="Give plain values: text, numbers, lists, mappings, dataclasses or models.",
    )
