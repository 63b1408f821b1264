"""The plan check at run time: what a plan, or one line of it, would do that it may not.

A plan is text of a model: it may call the tools with write effects that it was granted, as often
as it was granted, and give no secret to an external tool, directly or by way of other steps. It
is checked step by step, before the step may start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.specs.finding import Finding, Hop
from gangline.ir.specs.policy import Flow, Grant, Policy

from .policy import Origin, labelling, leak, not_granted, repeated
from .program import Stage
from .value_flow import DECLASSIFY, EXTERNAL, SECRET, row_name, rows

Step = Mapping[str, Any]
"""A step that was found well-formed: `id`, `tool` (a row's name), `arguments`."""

Secrets = Mapping[str, Sequence[Origin]]
"""The secrets that reach an expand's operands, by name (`policy.exposure`)."""


@dataclass(slots=True)
class CallCounts:
    """How often plans of one job have called each tool with write effects.

    By expand stage for what its author granted, and for the whole job for what the policy did.
    """

    stages: Counter[tuple[str, str]] = field(default_factory=Counter)
    job: Counter[str] = field(default_factory=Counter)

    def add(self, stage: Stage, steps: Sequence[Step]) -> None:
        """Count the writes of steps that may run."""
        known = {row["name"]: row for row in rows(stage)}
        for step in steps:
            row = known.get(step["tool"])
            if row is not None and row["effects"] == "write":
                self.stages[stage.name, row["name"]] += 1
                self.job[row_name(row)] += 1


class PlanCheck:
    """The steps of one plan, in an order in which each comes after those it refers to.

    Args:
        stage: the expand.
        secrets: what reaches its operands.
        calls: what plans of the job have called before; it is not changed.
    """

    def __init__(
        self,
        stage: Stage,
        policy: Policy,
        secrets: Secrets | None = None,
        calls: CallCounts | None = None,
    ) -> None:
        self._stage = stage
        self._policy = policy
        self._secrets = secrets or {}
        self._calls = calls or CallCounts()
        self._rows = {row["name"]: row for row in rows(stage)}
        self._own: Counter[str] = Counter()
        self._origins: dict[str, tuple[Origin, ...]] = {}
        self._has = labelling(policy)

    def add(self, step: Step) -> tuple[Finding, ...]:
        """Take the next step in; give what it would do that it may not."""
        row = self._rows[step["tool"]]
        hop = Hop(f"{self._stage.name}/{step['id']}", self._stage.where)
        reached = tuple(self._reaching(step, row))
        found = (*self._writes(row, hop), *self._leaks(row, hop, reached))
        self._origins[step["id"]] = self._resulting(row, hop, reached)
        return found

    # Writes -------------------------------------------------------------------------------

    def _writes(self, row: Mapping[str, Any], hop: Hop) -> Iterator[Finding]:
        if row["effects"] != "write":
            return
        self._own[row["name"]] += 1
        path = (Hop(self._stage.name, self._stage.where), hop)
        grants = list(self._grants(row))
        if not grants:
            yield not_granted(self._stage.name, row_name(row), path)
        elif not any(grant.times is None or count <= grant.times for grant, count in grants):
            grant, count = max(grants, key=lambda pair: pair[0].times or 0)
            yield repeated(self._stage.name, Grant(row_name(row), grant.times), count, path)

    def _grants(self, row: Mapping[str, Any]) -> Iterator[tuple[Grant, int]]:
        """Yield who granted a tool, with the number of calls that count against it."""
        name, tool, own = row["name"], row_name(row), self._own[row["name"]]
        if self._policy.authored:
            for text in self._stage.attributes.get("granted", ()):
                grant = Grant.parse(text)
                if grant.tool == name:
                    yield grant, self._calls.stages[self._stage.name, name] + own
        for grant in self._policy.grants:
            if grant.tool == tool:
                yield grant, self._calls.job[tool] + own

    # Secrets ------------------------------------------------------------------------------

    def _reaching(self, step: Step, row: Mapping[str, Any]) -> Iterator[Origin]:
        """Yield the secrets that a step is given: by its author, its plan, or other steps."""
        for name in row["given"]:
            yield from self._secrets.get(name, ())
        for reference in _references(step["arguments"]):
            yield from self._origins.get(reference.partition("/")[0], ())
        yield from self._secrets.get("plan", ())

    def _leaks(
        self, row: Mapping[str, Any], hop: Hop, reached: Sequence[Origin]
    ) -> Iterator[Finding]:
        if not self._has(row, EXTERNAL):
            return
        tool, told = row_name(row), set[str]()
        decided = self._secrets.get("", ()) if self._policy.implicit else ()
        # What data carries is told rather than what only decisions do.
        for origin in sorted((*reached, *decided), key=lambda origin: origin.implicit):
            if origin.source in told or Flow(origin.source, tool) in self._policy.flows:
                continue
            if origin.implicit and not self._policy.implicit:
                continue
            told.add(origin.source)
            yield leak(origin, tool, [hop])

    def _resulting(
        self, row: Mapping[str, Any], hop: Hop, reached: Sequence[Origin]
    ) -> tuple[Origin, ...]:
        """Give the secrets that a step's result holds."""
        if self._has(row, DECLASSIFY):
            return ()
        found: dict[str, Origin] = {}
        if self._has(row, SECRET):
            found[row_name(row)] = Origin(row_name(row), (hop,))
        for origin in sorted(reached, key=lambda origin: (origin.implicit, len(origin.path))):
            path = (*origin.path, hop)
            found.setdefault(origin.source, Origin(origin.source, path, origin.implicit))
        return tuple(found.values())


def plan_findings(
    stage: Stage,
    secrets: Secrets,
    before: Sequence[Step],
    step: Step,
    policy: Policy | None = None,
    calls: CallCounts | None = None,
) -> tuple[Finding, ...]:
    """Give what one step would do that it may not, after the steps of its plan `before` it.

    A caller that checks many steps keeps a `PlanCheck` instead, which looks at each once.
    """
    check = PlanCheck(stage, policy or Policy(), secrets, calls)
    for earlier in before:
        check.add(earlier)
    return check.add(step)


def whole_plan_findings(
    stage: Stage,
    secrets: Secrets,
    steps: Sequence[Step],
    policy: Policy,
    calls: CallCounts | None = None,
) -> tuple[Finding, ...]:
    """Give what a whole plan would do that it may not; its steps may refer to later ones.

    Each step's `after` names the steps it waits for (`planned_steps.checked_plan`).
    """
    check = PlanCheck(stage, policy, secrets, calls)
    return tuple(found for step in _ordered(steps) for found in check.add(step))


def _ordered(steps: Sequence[Step]) -> list[Step]:
    """Give the steps so that each comes after what it waits for, else as the plan has them."""
    by_id = {step["id"]: step for step in steps}
    order: dict[str, Step] = {}
    # Invariant: `stack` is a chain of steps, each waiting for the one above it; none is placed.
    for first in steps:
        stack = [first["id"]]
        while stack:
            name = stack[-1]
            waits = next((n for n in by_id[name].get("after", ()) if n not in order), None)
            if waits is None:
                order.setdefault(name, by_id[name])
                stack.pop()
            else:
                stack.append(waits)
    return list(order.values())


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
            return
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _references(item)
