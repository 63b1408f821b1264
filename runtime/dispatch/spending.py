"""What a job has spent, and whether its budget has room for one more step."""

from __future__ import annotations

from gangline.ir.errors import BudgetError

from .interpreter import Activation, KvHandle
from .job_errors import overspend
from .remaining import Expectation


class Spending:
    """The money of one job.

    Attributes:
        spent_usd: what the steps that ended have cost.
        budget_usd: the most the job may cost, or None.
        expectation: what the plan expects steps to cost; set before the first step.
        prefilled: ids of the prefill steps that are recorded as completed.
        paid: prefill steps that a decode in flight pays for; others that share them do not.
    """

    expectation: Expectation

    def __init__(self) -> None:
        self.spent_usd = 0.0
        self.budget_usd: float | None = None
        self.prefilled: set[str] = set()
        self.paid: set[str] = set()

    def predicted_usd(self, activation: Activation) -> float:
        """Give what a step is expected to cost, with the prefill that a decode brings along."""
        row = self.expectation.row(activation.stage)
        usd = 0.0 if row is None else row.usd
        if activation.stage.op == "decode":
            handle: KvHandle = activation.operands[0]
            prefill = self.expectation.row(handle.stage)
            is_paid = handle.step_id in self.prefilled or handle.step_id in self.paid
            usd += 0.0 if prefill is None or is_paid else prefill.usd
        return usd

    def fits(self, activation: Activation, reserved_usd: float) -> bool:
        """Say whether the budget allows a step beside what is reserved for those in flight."""
        if self.budget_usd is None:
            return True
        wanted = self.spent_usd + reserved_usd + self.predicted_usd(activation)
        return wanted <= self.budget_usd

    def overspend(self, activation: Activation) -> BudgetError:
        """Give the error of a step that the budget does not allow."""
        budget_usd = self.budget_usd or 0.0
        return overspend(self.spent_usd, self.predicted_usd(activation), budget_usd, activation.id)
