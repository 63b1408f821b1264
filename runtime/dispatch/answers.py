"""Answers of people to a job's questions: which one is meant, and whether it fits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gangline.ir.errors import ConflictError, InputError
from gangline.runtime.json_schema import problem
from gangline.runtime.plain_json import storable

Interrupts = Sequence[Mapping[str, Any]]


def accepted(asked: Interrupts, interrupt: str, value: Any, job_id: str) -> Any:
    """Give an answer back if it fits the question it is for.

    Raises:
        ConflictError: the job does not ask this (any more).
        InputError: the value does not fit the question's JSON Schema.
    """
    found = next((row for row in asked if row["id"] == interrupt), None)
    if found is None:
        raise ConflictError(
            f"Job {job_id} does not ask {interrupt!r}",
            where=f"job {job_id}",
            next_step=f"It asks: {', '.join(row['id'] for row in asked) or 'nothing now'}.",
        )
    wrong = _unfit(value, found["schema"])
    if wrong:
        raise InputError(
            f"The answer does not fit: {wrong}",
            where=interrupt,
            next_step=_wanted(found),
        )
    return value


def the_only(asked: Interrupts, job_id: str) -> str:
    """Give the id of the one open question; ConflictError if there are none or several."""
    if len(asked) != 1:
        listed = "; ".join(f"{row['id']}: {row['question']}" for row in asked)
        raise ConflictError(
            f"Job {job_id} asks {len(asked) or 'no'} questions",
            where=f"job {job_id}",
            next_step=f"Say which one is answered: {listed}" if asked else "It needs no answer.",
        )
    return str(asked[0]["id"])


def read_answer(text: str, schema: Mapping[str, Any]) -> Any:
    """Read what a person typed: as JSON where that fits the schema, else as plain text.

    Raises:
        InputError: neither fits.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if problem(value, schema) and not problem(text, schema):
        return text
    wrong = problem(value, schema)
    if wrong:
        raise InputError(f"The answer does not fit: {wrong}", next_step=_wanted({"schema": schema}))
    return value


def _unfit(value: Any, schema: Any) -> str:
    try:
        storable(value)
    except ValueError as error:
        return f"the value cannot be stored: {error}"
    return problem(value, schema)


def _wanted(row: Mapping[str, Any]) -> str:
    choices = row["schema"].get("enum")
    if choices is not None:
        return f"Choose one of: {', '.join(json.dumps(choice) for choice in choices)}."
    return f"Give a value of this JSON Schema: {json.dumps(row['schema'])}"
