"""Take a plan line by line, while it is being written: text in, checked steps out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gangline.ir.errors import StepError

from .plan_lines import PlanLine, read_line
from .planned_steps import MAX_PLAN_CHARS, PlanCheck, Row

_THOUGHT = "Thought:"
MAX_NOTES = 20


class PlanReader:
    """Read one plan, whose text comes in pieces.

    A plan may be written a second time, when its model call is made again after a crash. Lines
    that were recorded then stay as they are, whatever is written now: some of them have run.

    Args:
        recorded: the steps of lines that were taken before, in their order.

    Attributes:
        ended: whether the line `join()` has been read; what follows it is no plan.
        notes: what of the text did not count, for whoever looks at the job.
    """

    def __init__(
        self,
        tools: Sequence[Row],
        max_steps: int,
        where: str,
        recorded: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.ended = False
        self.notes: list[str] = []
        self._check = PlanCheck(tools, max_steps, where)
        self._where = where
        self._recorded = {int(step["id"]): step for step in recorded}
        for step in self._recorded.values():
            self._check.adopt(step)
        self._last_recorded = max(self._recorded, default=-1)
        self._last = -1
        self._num_lines = 0
        self._num_chars = 0
        self._open: list[str] = []

    def feed(self, text: str) -> Iterator[dict[str, Any]]:
        """Take more text; yield the steps of lines that it completes. StepError for a bad line.

        Read it to its end: lines are taken as the iterator goes on.
        """
        self._num_chars += len(text)
        if self._num_chars > MAX_PLAN_CHARS:
            raise StepError(
                f"The plan is longer than {MAX_PLAN_CHARS:,} characters", where=self._where
            )
        *complete, rest = text.split("\n")
        # Invariant: `_open` are the pieces of the line that is not complete yet.
        for piece in complete:
            line = "".join([*self._open, piece])
            self._open.clear()
            yield from self._line(line)
        self._open.append(rest)

    def finish(self) -> Iterator[dict[str, Any]]:
        """Take the end of the text; StepError if the plan is not complete."""
        line = "".join(self._open)
        self._open.clear()
        yield from self._line(line)
        if not self.ended:
            raise StepError(
                f"The plan ends after line {self._num_lines} without join()",
                where=self._where,
                next_step="Allow more tokens (max_tokens), or give the llm a grammar of plans.",
            )

    def _line(self, text: str) -> Iterator[dict[str, Any]]:
        self._num_lines += 1
        shown = text.strip()
        if self.ended or not shown or shown.startswith(_THOUGHT):
            return
        line = read_line(shown, f"{self._where}, line {self._num_lines} of the plan")
        if line.number <= self._last:
            raise StepError(
                f"Line {self._num_lines} of the plan has the number {line.number}, "
                f"which is not above {self._last}",
                where=self._where,
                next_step="Number the lines upwards: 1, 2, 3.",
            )
        self._last = line.number
        self.ended = line.is_join
        if line.number <= self._last_recorded:
            self._repeated(line)
        elif not line.is_join:
            yield self._check.take(line.as_step())

    def _repeated(self, line: PlanLine) -> None:
        """Leave what was recorded as it is; note where it now reads otherwise."""
        before = self._recorded.get(line.number)
        same = before is not None and (before["tool"], before["arguments"]) == (
            line.tool,
            line.arguments,
        )
        if not same and len(self.notes) < MAX_NOTES:
            self.notes.append(
                f"line {line.number} was written otherwise when the plan was made again; "
                "what was recorded first holds"
            )
