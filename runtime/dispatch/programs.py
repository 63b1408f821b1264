"""Programs and plans as objects and as JSON, each turned into the other once.

A server runs few programs many times. Their JSON is shared by all events that carry it, and
must not be changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gangline.ir.program import Program
from gangline.ir.specs.event import Event
from gangline.ir.specs.plan import Plan
from gangline.runtime.kept import Kept

MAX_KEPT = 128
"""Most documents, and most objects, whose other form is kept."""

_documents: Kept[Mapping[str, Any]] = Kept(MAX_KEPT)
_programs: Kept[Program] = Kept(MAX_KEPT)
_plans: Kept[Plan] = Kept(MAX_KEPT)


def program_document(program: Program) -> Mapping[str, Any]:
    """Give a program's JSON."""
    document = _documents.of(Program.to_json, program)
    _programs.put(program, document)
    return document


def plan_document(plan: Plan) -> Mapping[str, Any]:
    """Give a plan's JSON."""
    document = _documents.of(Plan.to_json, plan)
    _plans.put(plan, document)
    return document


def as_json(queued: Event) -> Event:
    """Give a job.queued event whose program is JSON, for whoever is told of it."""
    program = queued.data["program"]
    if not isinstance(program, Program):
        return queued
    return replace(queued, data={**queued.data, "program": program_document(program)})


def program_of(document: Program | Mapping[str, Any]) -> Program:
    """Give the program that the data of a job.queued event names."""
    return document if isinstance(document, Program) else _programs.of(Program.from_json, document)


def plan_of(document: Plan | Mapping[str, Any]) -> Plan:
    """Give the plan that an event's data names."""
    return document if isinstance(document, Plan) else _plans.of(Plan.from_json, document)
