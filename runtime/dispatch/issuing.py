"""What is issued for a step: its command, with what the plan says of it."""

from __future__ import annotations

from collections import Counter

from gangline.ir.program import Stage

from .commands import AskPerson, Step, Work
from .interpreter import Activation, KvHandle
from .policing import SCHEMA, Policing, question
from .remaining import Expectation
from .requests import memory_call, tool_call, work_for

_MEMORY = frozenset({"lookup", "store", "observe"})


class Issuing:
    """From the activations of one job to the commands of their attempts.

    Args:
        policing: says which steps a person decides on.
        default_device: where steps run that the plan does not place.

    Attributes:
        expectation: what the plan says of each stage; set before the first step.
        times_dropped: how often somebody had a step's outcome taken back, by step id.
    """

    expectation: Expectation

    def __init__(self, job_id: str, policing: Policing, default_device: str) -> None:
        self.times_dropped: Counter[str] = Counter()
        self._job_id = job_id
        self._policing = policing
        self._default_device = default_device

    def step(self, step_id: str, stage: Stage, parents: tuple[str, ...], attempt: int) -> Step:
        """Describe a step: where the plan puts it, and what it expects."""
        row = self.expectation.row(stage)
        if row is None:
            return Step(step_id, stage, self._default_device, parents, attempt)
        return Step(step_id, stage, row.device, parents, attempt, row.seconds, row.usd)

    def work(self, activation: Activation, attempt: int, deadline_s: float) -> Work:
        """Make the command of a step; `deadline_s` is the job's, absolute.

        Raises:
            StepError: the values that the step reads do not fit it.
        """
        stage, prefill = activation.stage, None
        step = self.step(activation.id, stage, activation.parents, attempt)
        findings = self._policing.asked(activation.id)
        if findings:
            return AskPerson(step, question(activation.id, findings), SCHEMA, findings)
        if stage.op == "tool":
            return tool_call(activation, step, self._key(activation.id))
        if stage.op in _MEMORY:
            return memory_call(activation, step, self._key(activation.id))
        if stage.op == "decode":
            handle: KvHandle = activation.operands[0]
            prefill = self.step(handle.step_id, handle.stage, handle.parents, attempt)
        due = (deadline_s, self.expectation.after(stage))
        serving = self.expectation.serving_device(stage) or self._default_device
        return work_for(activation, step, self._job_id, prefill, due, serving)

    def _key(self, step_id: str) -> str:
        """Give the key under which a step's effect happens once."""
        key = f"{self._job_id}/{step_id}"
        if step_id in self.times_dropped:
            # It runs again because somebody wants a second effect, not because of a crash.
            key = f"{key}/{self.times_dropped[step_id]}"
        return key
