"""Steps of a recorded plan under way: which may run, given the results so far.

A step is a call of a tool, or of a nested agent, whose own steps then are `expand/STEP/...`.
A plan may be recorded as a whole, or line by line while it is being written: then it stays open
until its end is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gangline.ir.program import Stage

from .frame import Bound, Control, Frame, Parents, merge
from .planned_steps import check_argument, referred, resolved


@dataclass(frozen=True, slots=True)
class WrittenPlan:
    """A plan that a decode writes: what an expand reads before it is there."""

    step_id: str
    frame: Frame = field(compare=False, repr=False)
    value: int

    @property
    def text(self) -> str | None:
        """Give the whole text once the decode has ended."""
        bound = self.frame.values.get(self.value)
        return None if bound is None else str(bound.value["text"])


@dataclass(slots=True, eq=False)
class Expansion:
    """One `expand` step whose plan is recorded, or is being recorded.

    Attributes:
        step_id, stage, parents: of the expand step; its planned steps are `step_id/id`.
        frame, position: where its result goes.
        given: values that the author fills into arguments of these names.
        steps: the plan by id, as `planned_steps.checked_plan` gives it, so far.
        results: by id, in the order they came.
        sources: by id, the steps that a result comes from (of an agent, those inside it).
        failures: why a step gave no result, by id, where the author keeps such steps.
        closed: no further step will come.
        error: why the plan ended before its end.
    """

    step_id: str
    stage: Stage
    frame: Frame
    position: int
    given: Mapping[str, Any]
    steps: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Parents] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    closed: bool = False
    error: str = ""
    _waiting: dict[str, int] = field(default_factory=dict)
    _users: dict[str, list[str]] = field(default_factory=dict)
    _pending: set[str] = field(default_factory=set)

    @property
    def keeps(self) -> bool:
        """Say whether a step that fails leaves the others running."""
        return bool(self.stage.attributes.get("on_error", "fail") == "keep")

    @property
    def done(self) -> bool:
        """Say whether the plan is whole and every step of it has ended."""
        return self.closed and not self._pending

    @property
    def output(self) -> Bound:
        """Give the results by id, in the order of the plan; with failures, where they are kept."""
        sources = merge([self.sources.get(name, ()) for name in self.steps]) or (self.step_id,)
        if not self.keeps:
            return Bound({name: self.results[name] for name in self.steps}, sources)
        calls = [self._outcome(name, step) for name, step in self.steps.items()]
        is_ok = not (self.failures or self.error)
        return Bound({"ok": is_ok, "calls": calls, "error": self.error}, sources)

    def _outcome(self, name: str, step: Mapping[str, Any]) -> dict[str, Any]:
        told = {key: step[key] for key in ("id", "tool", "arguments")}
        return {**told, "result": self.results.get(name), "error": self.failures.get(name, "")}

    def add(self, steps: Iterable[Mapping[str, Any]]) -> list[str]:
        """Take steps of the plan that are new; give those that may run now."""
        new = {step["id"]: step for step in steps if step["id"] not in self.steps}
        self.steps.update(new)
        self._pending.update(new)
        # Invariant: `_waiting[name]` counts what `name` waits for and has not ended.
        for name, step in new.items():
            before = [other for other in step["after"] if other in self._pending]
            self._waiting[name] = len(before)
            for other in before:
                self._users.setdefault(other, []).append(name)
        ready: list[str] = []
        for name in new:
            if self._waiting[name] == 0 and name in self._pending:
                ready += self._ended(name) if self._lost(name) else [name]
        return ready

    def close(self, error: str = "") -> None:
        """Take the end of the plan."""
        self.closed, self.error = True, error

    def end(self, name: str, result: Bound) -> list[str]:
        """Take a result; give the steps that may run now."""
        self.results[name] = result.value
        self.sources[name] = result.parents or (self.step_id,)
        return self._ended(name)

    def fail(self, name: str, reason: str) -> list[str]:
        """Take a failure that is kept; what waits for the step does not run. As `end`."""
        self.failures[name] = reason
        return self._ended(name)

    def _ended(self, name: str) -> list[str]:
        ready: list[str] = []
        pending = [name]
        # Invariant: all in `pending` have ended, and their users do not know it yet.
        while pending:
            ended = pending.pop()
            self._pending.discard(ended)
            for user in self._users.get(ended, ()):
                self._waiting[user] -= 1
                if self._waiting[user] == 0:
                    (pending if self._lost(user) else ready).append(user)
        return ready

    def _lost(self, name: str) -> bool:
        """Say whether a step that waits for nothing more cannot run; then it has ended."""
        lost = next((other for other in self.steps[name]["after"] if other in self.failures), None)
        if lost is not None:
            self.failures[name] = f"it was not run, as step {lost} before it failed"
            self._pending.discard(name)
        return lost is not None

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
