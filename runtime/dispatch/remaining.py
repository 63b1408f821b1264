"""What a plan expects after each stage: the seconds an engine uses to judge urgency."""

from __future__ import annotations

from gangline.ir.program import Program, Stage
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.runtime.kept import Kept

MAX_KEPT = 128
"""Most pairs of program and plan whose expectation is kept for their next job."""


class Expectation:
    """A plan's rows by stage name, and the expected seconds that follow each stage.

    The seconds follow the longest path of the data flow. Inside a loop a stage counts once per
    expected visit; items of a map run side by side and count once; of a branch the longer side.
    """

    def __init__(self, program: Program, plan: Plan | None) -> None:
        self._program = program
        self._rows = {row.stage: row for row in plan.stages} if plan else {}
        self._after: dict[int, float] = {}
        self._readers = {
            value: stage.name
            for stage in program.stages
            if stage.op == "prefill"
            for value in stage.operands
        }
        if self._rows:
            self._weigh(0, 0.0, in_loop=False)

    def row(self, stage: Stage) -> StagePlan | None:
        """Find the plan's row for a stage, if there is one.

        A step that was planned at run time has the row of the stage that expanded it.
        """
        row = self._rows.get(stage.name)
        return row if row is not None else self._rows.get(stage.attributes.get("of", ""))

    def serving_device(self, tokenize: Stage) -> str:
        """Give the device of the prefill that reads a tokenize stage's tokens; `` if none."""
        reader = self._readers.get(tokenize.results[0], "") if tokenize.results else ""
        row = self._rows.get(reader)
        return row.device if row else ""

    def after(self, stage: Stage) -> float:
        """Give the expected seconds from the end of this stage to the end of the job."""
        return self._after.get(stage.id, 0.0)

    def _weigh(self, region: int, tail_s: float, in_loop: bool) -> float:
        """Set what follows each stage of a region; give the region's longest path."""
        stages = [self._program.stages[at] for at in self._program.regions[region].stages]
        needed_s: dict[int, float] = {}
        longest = 0.0
        # Invariant: every reader of a stage's results comes later, so it is weighed already.
        for stage in reversed(stages):
            after = max((needed_s.get(value, 0.0) for value in stage.results), default=0.0)
            own = self._own(stage, tail_s + after, in_loop)
            self._after[stage.id] = tail_s + after
            for value in self._reads(stage):
                needed_s[value] = max(needed_s.get(value, 0.0), after + own)
            longest = max(longest, after + own)
        return longest

    def _own(self, stage: Stage, tail_s: float, in_loop: bool) -> float:
        row = self.row(stage)
        own = 0.0 if row is None else row.seconds * (max(row.visits, 1.0) if in_loop else 1.0)
        if not stage.regions:
            return own
        inner = [self._weigh(r, tail_s, in_loop or stage.op == "loop") for r in stage.regions]
        # A loop tests and runs; a plan is taken to ask its agents one after the other.
        return own + (sum(inner) if stage.op in ("loop", "expand") else max(inner))

    def _reads(self, stage: Stage) -> set[int]:
        inside = [inner for region in stage.regions for inner in self._program.walk(region)]
        values = set(stage.operands)
        for found in (stage, *inside):
            values.update(found.operands)
            for region in found.regions:
                values.update(self._program.regions[region].yields)
        return values


_kept: Kept[Expectation] = Kept(MAX_KEPT)


def expectation_of(program: Program, plan: Plan | None) -> Expectation:
    """Give what a plan expects of a program, worked out once for these two objects."""
    return _kept.of(Expectation, program, plan)
