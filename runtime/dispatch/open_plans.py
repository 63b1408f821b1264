"""Plans that are being read while a decode writes them: what of them is to be recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.errors import GanglineError, PolicyError, StepError
from gangline.ir.plan_policy import PlanCheck
from gangline.ir.specs.finding import refused

from .commands import AskPerson, CheckPlan, ReadPlan, Step
from .dispatcher import Dispatcher
from .plan_reader import PlanReader
from .planned_steps import checked_plan
from .policing import SCHEMA, documents, question

PlanNews = tuple[str, Step, Mapping[str, Any]]
"""An event to record: its type, the expand step, and its data."""


@dataclass(slots=True, eq=False)
class _Open:
    step: Step
    reader: PlanReader
    check: PlanCheck
    pieces: list[str] = field(default_factory=list)


class OpenPlans:
    """The plans of one job that are not whole yet, by the decode step that writes them.

    What the methods yield is to be recorded as it comes: the next line may depend on it.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._open: dict[str, dict[str, _Open]] = {}

    def clear(self) -> None:
        """Forget all; a job that goes on begins to read anew."""
        self._open.clear()

    def reads(self, writer: str) -> bool:
        """Say whether anything reads what this decode writes."""
        return writer in self._open

    def check(self, command: CheckPlan) -> PlanNews | AskPerson:
        """Check a plan that is there as a whole; a person may have to decide on it."""
        step, known = command.step, command.step.stage.attributes
        try:
            steps = checked_plan(command.plan, known["tools"], known["max_steps"], step.where)
        except StepError as error:
            return _ended(step, [], error)
        policing = self._dispatcher.policing
        found = documents(policing.plan_findings(step.stage, steps))
        if found and policing.refuses:
            return _ended(step, [], refused(found, step.where))
        if found and step.id not in policing.approved:
            return AskPerson(step, question(step.id, found), SCHEMA, found)
        return _ended(step, steps, None)

    def begin(self, command: ReadPlan) -> Iterator[PlanNews]:
        """Read a plan from its beginning; all of it, if it is written."""
        found = _Open(command.step, *self._begun(command.step))
        if command.text is None:
            self._open.setdefault(command.writer, {})[command.step.id] = found
        else:
            yield from self._told(found, command.text, True)

    def restart(self, writer: str) -> None:
        """Take note that a decode begins, maybe once more: its text comes from the beginning."""
        for found in self._open.get(writer, {}).values():
            found.reader, found.check = self._begun(found.step)
            found.pieces = []

    def feed(self, writer: str, text: str) -> Iterator[PlanNews]:
        """Take more of what a decode writes."""
        for found in list(self._open.get(writer, {}).values()):
            found.pieces.append(text)
            yield from self._told(found, text, False)

    def finish(self, writer: str, text: str) -> Iterator[PlanNews]:
        """Take the whole text, of which more or less may have come in pieces before."""
        for found in self._open.pop(writer, {}).values():
            seen = "".join(found.pieces)
            if not text.startswith(seen):  # what came in pieces was not the text
                found.reader, found.check = self._begun(found.step)
                seen = ""
            yield from self._told(found, text[len(seen) :], True)

    def _begun(self, step: Step) -> tuple[PlanReader, PlanCheck]:
        known = step.stage.attributes
        recorded = self._dispatcher.planned(step.id)
        check = self._dispatcher.policing.plan_check(step.stage)
        for line in recorded:
            check.add(line)
        return PlanReader(known["tools"], known["max_steps"], step.where, recorded), check

    def _told(self, found: _Open, text: str, is_all: bool) -> Iterator[PlanNews]:
        reader = found.reader
        error: GanglineError | None = None
        try:
            for step in reader.feed(text):
                yield self._line(found, step)
            if is_all and not reader.ended:
                for step in reader.finish():
                    yield self._line(found, step)
        except (StepError, PolicyError) as fault:
            error = fault
        if error is not None or reader.ended:
            self._close(found)
            steps = self._dispatcher.planned(found.step.id)
            yield _ended(found.step, steps, error, reader.notes)

    def _line(self, found: _Open, step: Mapping[str, Any]) -> PlanNews:
        """Give a line to record; PolicyError where the policy refuses it."""
        findings = documents(found.check.add(step))
        # An agent is no step of its own that could wait for a person.
        agents = {row["name"] for row in found.step.stage.attributes["tools"] if "agent" in row}
        if findings and (self._dispatcher.policing.refuses or step["tool"] in agents):
            raise refused(findings, found.step.where)
        data = {"step": step, "findings": findings} if findings else {"step": step}
        return "step.planned", found.step, data

    def _close(self, found: _Open) -> None:
        # What is written after the end of a plan is not read.
        for readers in self._open.values():
            readers.pop(found.step.id, None)


def _ended(
    step: Step,
    steps: Sequence[Mapping[str, Any]],
    error: GanglineError | None,
    notes: Sequence[str] = (),
) -> PlanNews:
    """Give the end of an expand step: its plan, as far as it is sound, or its failure."""
    if error is not None and step.stage.attributes.get("on_error") != "keep":
        return "step.failed", step, {"error": error.to_json(), "retryable": False}
    value: dict[str, Any] = {"steps": list(steps)}
    if error is not None:
        value["error"] = error.to_json()
    if notes:
        value["notes"] = list(notes)
    return "step.completed", step, {"value": value}
