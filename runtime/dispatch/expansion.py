"""Steps of a recorded plan under way: which may run, given the results so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.program import Stage

from .frame import Frame, Parents
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
    """

    step_id: str
    stage: Stage
    frame: Frame
    position: int
    given: Mapping[str, Any]
    steps: Mapping[str, Mapping[str, Any]]
    results: dict[str, Any] = field(default_factory=dict)
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
    def output(self) -> dict[str, Any]:
        """Give the results by id, in the order of the plan."""
        return {name: self.results[name] for name in self.steps}

    def first(self) -> Iterator[str]:
        """Yield the steps that wait for nothing."""
        return (name for name, count in self._waiting.items() if count == 0)

    def end(self, name: str, value: Any) -> list[str]:
        """Take a result; give the steps that may run now."""
        self.results[name] = value
        ready = []
        for user in self._users.get(name, ()):
            self._waiting[user] -= 1
            if self._waiting[user] == 0:
                ready.append(user)
        return ready

    def call(self, name: str) -> tuple[Stage, tuple[Any, ...], Parents]:
        """Give stage, arguments and parents of a step that may run; StepError if they misfit."""
        step = self.steps[name]
        row = next(row for row in self.stage.attributes["tools"] if row["name"] == step["tool"])
        where = f"{self.stage.where}, step {self.step_id}/{name}"
        arguments = dict(self._arguments(step, row, where))
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
        after = tuple(f"{self.step_id}/{other}" for other in step["after"])
        return stage, tuple(arguments.values()), (self.step_id, *after)

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
