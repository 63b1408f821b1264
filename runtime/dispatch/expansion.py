"""Steps of a recorded plan under way: which may run, given the results so far.

A step is a call of a tool, or of a nested agent, whose own steps then are `expand/STEP/...`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.program import Stage

from .frame import Bound, Control, Frame, Parents, merge
from .planned_steps import check_argument, referred, resolved


@dataclass(slots=True, eq=False)
class Expansion:
    """One `expand` step whose plan is recorded.

    Attributes:
        step_id, stage, parents: of the expand step; its planned steps are `step_id/id`.
        frame, position: where its result goes.
        given: values that the author fills into arguments of these names.
        steps: the plan by id, as `planned_steps.checked_plan` gives it.
        results: by id, in the order they came.
        sources: by id, the steps that a result comes from (of an agent, those inside it).
    """

    step_id: str
    stage: Stage
    frame: Frame
    position: int
    given: Mapping[str, Any]
    steps: Mapping[str, Mapping[str, Any]]
    results: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Parents] = field(default_factory=dict)
    _waiting: dict[str, int] = field(default_factory=dict)
    _users: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for step_id, step in self.steps.items():
            self._waiting[step_id] = len(step["after"])
            for name in step["after"]:
                self._users.setdefault(name, []).append(step_id)

    @property
    def done(self) -> bool:
        """Say whether every planned step has ended."""
        return len(self.results) == len(self.steps)

    @property
    def output(self) -> Bound:
        """Give the results by id, in the order of the plan."""
        sources = merge([self.sources[name] for name in self.steps]) or (self.step_id,)
        return Bound({name: self.results[name] for name in self.steps}, sources)

    def first(self) -> Iterator[str]:
        """Yield the steps that wait for nothing."""
        return (name for name, count in self._waiting.items() if count == 0)

    def end(self, name: str, result: Bound) -> list[str]:
        """Take a result; give the steps that may run now."""
        self.results[name] = result.value
        self.sources[name] = result.parents or (self.step_id,)
        ready = []
        for user in self._users.get(name, ()):
            self._waiting[user] -= 1
            if self._waiting[user] == 0:
                ready.append(user)
        return ready

    def row(self, name: str) -> Mapping[str, Any]:
        """Give what the program says of the tool or agent that a step calls."""
        called = self.steps[name]["tool"]
        rows: list[Mapping[str, Any]] = self.stage.attributes["tools"]
        return next(row for row in rows if row["name"] == called)

    def parents(self, name: str) -> Parents:
        """Give the steps that decided on a step: the plan itself, and those it waited for."""
        after = [self.sources[other] for other in self.steps[name]["after"]]
        return merge([(self.step_id,), *after])

    def call(self, name: str) -> tuple[Stage, tuple[Any, ...]]:
        """Give stage and arguments of a tool's step that may run; StepError if they misfit."""
        row, step = self.row(name), self.steps[name]
        arguments = dict(self._arguments(step, row, self._where(name)))
        kept = ("tool", "effects", "timeout_s", "retries", "idempotent", "signature")
        attributes = {key: row[key] for key in kept}
        attributes.update(names=list(arguments), of=self.stage.name)
        stage = Stage(
            id=self.stage.id,
            op="tool",
            name=f"{self.stage.name}.{step['tool']}",
            attributes=attributes,
            where=self.stage.where,
        )
        return stage, tuple(arguments.values())

    def agent(self, name: str) -> tuple[int, list[Any]]:
        """Give region and arguments of an agent's step that may run; StepError if they misfit."""
        row, step = self.row(name), self.steps[name]
        given = dict(self._arguments(step, row, self._where(name)))
        # What a plan leaves out has a default, which the front end put into the schema.
        inputs = self.stage.attributes["inputs"][row["name"]]
        schemas = row["parameters"]
        values = [given[key] if key in given else schemas[key].get("default") for key in inputs]
        return self.stage.attributes["agents"][row["name"]], values

    def _where(self, name: str) -> str:
        return f"{self.stage.where}, step {self.step_id}/{name}"

    def _arguments(
        self, step: Mapping[str, Any], row: Mapping[str, Any], where: str
    ) -> Iterator[tuple[str, Any]]:
        for name, value in step["arguments"].items():
            filled = resolved(value, self.results, where)
            if any(True for _ in referred(value)):
                check_argument(name, filled, row["parameters"][name], where)
            yield name, filled
        for name in row["given"]:
            yield name, self.given[name]


@dataclass(slots=True, eq=False)
class PlannedCall(Control):
    """What waits for the frame of an agent's step of a plan."""

    expansion: Expansion = field(kw_only=True)
    step: str = field(kw_only=True)
