"""Plans that are being read while a decode writes them: what of them is to be recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.errors import StepError

from .commands import CheckPlan, ReadPlan, Step
from .dispatcher import Dispatcher
from .plan_reader import PlanReader
from .planned_steps import checked_plan

PlanNews = tuple[str, Step, Mapping[str, Any]]
"""An event to record: its type, the expand step, and its data."""


@dataclass(slots=True, eq=False)
class _Open:
    step: Step
    reader: PlanReader
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

    def check(self, command: CheckPlan) -> PlanNews:
        """Check a plan that is there as a whole."""
        step, known = command.step, command.step.stage.attributes
        try:
            steps = checked_plan(command.plan, known["tools"], known["max_steps"], step.where)
        except StepError as error:
            return _ended(step, [], error)
        return _ended(step, steps, None)

    def begin(self, command: ReadPlan) -> Iterator[PlanNews]:
        """Read a plan from its beginning; all of it, if it is written."""
        found = _Open(command.step, self._reader(command.step))
        if command.text is None:
            self._open.setdefault(command.writer, {})[command.step.id] = found
        else:
            yield from self._told(found, command.text, True)

    def restart(self, writer: str) -> None:
        """Take note that a decode begins, maybe once more: its text comes from the beginning."""
        for found in self._open.get(writer, {}).values():
            found.reader, found.pieces = self._reader(found.step), []

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
                found.reader, seen = self._reader(found.step), ""
            yield from self._told(found, text[len(seen) :], True)

    def _reader(self, step: Step) -> PlanReader:
        known = step.stage.attributes
        recorded = self._dispatcher.planned(step.id)
        return PlanReader(known["tools"], known["max_steps"], step.where, recorded)

    def _told(self, found: _Open, text: str, is_all: bool) -> Iterator[PlanNews]:
        reader, error = found.reader, None
        try:
            for step in reader.feed(text):
                yield "step.planned", found.step, {"step": step}
            if is_all and not reader.ended:
                for step in reader.finish():
                    yield "step.planned", found.step, {"step": step}
        except StepError as fault:
            error = fault
        if error is not None or reader.ended:
            self._close(found)
            steps = self._dispatcher.planned(found.step.id)
            yield _ended(found.step, steps, error, reader.notes)

    def _close(self, found: _Open) -> None:
        # What is written after the end of a plan is not read.
        for readers in self._open.values():
            readers.pop(found.step.id, None)


def _ended(
    step: Step,
    steps: Sequence[Mapping[str, Any]],
    error: StepError | None,
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
