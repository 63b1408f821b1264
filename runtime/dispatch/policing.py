"""What a job's policy says of its start and of its plans, and what a person decided about that.

The policy and what was found before the run are data of job.queued, so that a job that is
resumed, retried, forked or taken over keeps them. Before the first step stands a question, the
gate, where something was found; a plan or one of its steps can be asked about as well. Everything
else follows from recorded events, so applying them again gives the same state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gangline.ir.errors import PolicyError
from gangline.ir.plan_policy import CallCounts, PlanCheck, Secrets, whole_plan_findings
from gangline.ir.policy import exposure
from gangline.ir.program import Program, Stage
from gangline.ir.specs.finding import Finding, refused, told
from gangline.ir.specs.policy import Flow, Policy

GATE = "policy.check"
"""The id of the question before the first step; no stage of a program has this name."""

YES, NO = "yes", "no"
SCHEMA: Mapping[str, Any] = {"type": "string", "enum": [YES, NO]}

Documents = Sequence[Mapping[str, Any]]
"""Findings as JSON (`Finding.to_json`)."""


class Policing:
    """The policy of one job, and the plans it has let pass.

    Attributes:
        findings: what was found before the run; empty where nothing was.
        held: planned steps that may not start before a person says so, with what was found.
        approved: ids of steps that a person has let run.
    """

    def __init__(self, program: Program, queued: Mapping[str, Any]) -> None:
        self.findings: Documents = queued.get("findings", ())
        self.held: dict[str, Documents] = {}
        self.approved: set[str] = set()
        # The job goes on only once a person has allowed what was found, so it is allowed then.
        flows = [Flow(row["source"], row["sink"]) for row in self.findings]
        self.policy = Policy.from_json(queued.get("policy") or {}).allowing(flows)
        self._program = program
        self._calls = CallCounts()
        self._secrets: dict[int, dict[str, Any]] | None = None

    def gate(self) -> Stage | None:
        """Give the stage of the question before the first step; None where nothing was found."""
        if not self.findings:
            return None
        where = self.findings[0]["path"][-1]["where"] if self.findings[0]["path"] else ""
        return Stage(id=-1, op="ask", name=GATE, attributes={"schema": SCHEMA}, where=where)

    def asked(self, step_id: str) -> Documents:
        """Give what a person has to decide on before a step may start; nothing for most."""
        if step_id == GATE:
            return self.findings
        return () if step_id in self.approved else self.held.get(step_id, ())

    def plan_check(self, stage: Stage) -> PlanCheck:
        """Give what checks a plan of an expand stage step by step."""
        return PlanCheck(stage, self.policy, self._secrets_of(stage), self._calls)

    def plan_findings(self, stage: Stage, steps: Sequence[Mapping[str, Any]]) -> list[Finding]:
        """Give what a whole plan would do that it may not."""
        secrets = self._secrets_of(stage)
        return list(whole_plan_findings(stage, secrets, steps, self.policy, self._calls))

    def count(self, stage: Stage, steps: Sequence[Mapping[str, Any]]) -> None:
        """Take note of planned steps that may run: further ones count after them."""
        self._calls.add(stage, steps)

    @property
    def refuses(self) -> bool:
        """Say whether a violation ends a plan without asking anybody."""
        return self.policy.on_violation == "refuse"

    def _secrets_of(self, stage: Stage) -> Secrets:
        if self._secrets is None:
            self._secrets = dict(exposure(self._program, self.policy))
        return self._secrets.get(stage.id, {})


def documents(findings: Sequence[Finding], limit: int = 100) -> list[dict[str, Any]]:
    """Give findings as JSON, the first `limit` of them: enough to decide on."""
    return [finding.to_json() for finding in findings[:limit]]


def question(step_id: str, findings: Documents) -> str:
    """Give what a person is asked."""
    what = "This job" if step_id == GATE else f"The plan of step {step_id}"
    return f"{what} needs a permission. {_told(findings)}. Let it run?"


def denied(findings: Documents, where: str) -> PolicyError:
    """Give the error of what a person did not allow."""
    return refused(findings, where, "A person did not allow this")


def _told(findings: Documents) -> str:
    return told([Finding.from_json(row) for row in findings])
