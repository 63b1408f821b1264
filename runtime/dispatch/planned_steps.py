"""Check a plan that a model or a tool wrote at run time, before anything of it runs.

A plan is a list of {id, tool, arguments}. An argument may be, or hold at any depth,
{"$ref": "id"} for the result of another step, {"$ref": "id/member/0"} for a part of it, or
{"$text": ["of ", {"$ref": "id"}, " dogs"]} for text with results in it. The plan is untrusted:
whatever is wrong with it is a StepError that names what and where. A plan may also come line by
line (`plan_lines`): then each step is checked as it comes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import Any

from gangline.ir.errors import StepError
from gangline.runtime.json_schema import problem
from gangline.runtime.plain_json import parse

MAX_PLAN_CHARS = 1_000_000
MAX_DEPTH = 32
"""Deepest nesting of an argument."""

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_KEYS = frozenset({"id", "tool", "arguments"})
_SHOWN_CHARS = 80

Row = Mapping[str, Any]
"""A tool the plan may use (`ir.ops.PLANNED_TOOL`): `name`, as the plan calls it, `effects`, `parameters` (JSON Schema by name), `required`,
`given` (names that the author fills) and what a tool stage has besides."""


def checked_plan(
    plan: Any, tools: Sequence[Row], max_steps: int, where: str
) -> list[dict[str, Any]]:
    """Give the steps of a plan as {id, tool, arguments, after}; StepError for any fault.

    `after` names the steps a step waits for: those it refers to, and, so that effects keep the
    order of the plan, for one that writes all before it, for one that reads the last write.
    """
    return PlanCheck(tools, max_steps, where).steps(plan)


def referred(value: Any) -> Iterator[str]:
    """Yield every reference that an argument holds, as it is written."""
    if isinstance(value, Mapping):
        if "$ref" in value:
            yield value["$ref"]
            return
        for member in value.values():
            yield from referred(member)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from referred(item)


def resolved(value: Any, results: Mapping[str, Any], where: str) -> Any:
    """Put results where an argument refers to them; StepError where a part is not there."""
    if isinstance(value, Mapping):
        if "$ref" in value:
            return _looked_up(value["$ref"], results, where)
        if "$text" in value:
            return _joined(resolved(value["$text"], results, where), where)
        return {key: resolved(member, results, where) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(item, results, where) for item in value]
    return value


def check_argument(name: str, value: Any, schema: Any, where: str) -> None:
    """Raise StepError if a value does not fit the schema of a tool's parameter."""
    wrong = problem(value, schema)
    if wrong:
        raise StepError(
            f"The argument {name!r} of a planned step does not fit: {_short(wrong)}",
            where=where,
            next_step="Show the planner the tool's JSON Schema, or correct the plan in a tool.",
        )


def _joined(parts: Sequence[Any], where: str) -> str:
    """Put text and results together, results that are no text as JSON."""
    texts = [
        part if isinstance(part, str) else json.dumps(part, ensure_ascii=False) for part in parts
    ]
    if sum(map(len, texts)) > MAX_PLAN_CHARS:
        raise StepError(
            f"A text of a planned step is longer than {MAX_PLAN_CHARS:,} characters",
            where=where,
            next_step="Refer to a part of a result, such as $1.title.",
        )
    return "".join(texts)


def _looked_up(reference: str, results: Mapping[str, Any], where: str) -> Any:
    first, *path = reference.split("/")
    found = results[first]
    for part in path:
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise StepError(
                f"The reference {_quoted(reference)} leads nowhere: there is no {_quoted(part)}",
                where=where,
                next_step="A reference is id, or id/member, or id/0 for an element.",
            ) from None
    return found


class PlanCheck:
    """The checks of one plan: of all of it at once (`steps`), or of a step as it comes (`take`)."""

    def __init__(self, tools: Sequence[Row], max_steps: int, where: str) -> None:
        self._tools = {row["name"]: row for row in tools}
        self._max_steps = max_steps
        self._where = where
        self._taken: dict[str, Mapping[str, Any]] = {}
        self._reads, self._writes = list[str](), list[str]()

    def take(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Give the next step of a plan with its `after`; it may refer to those taken before."""
        self._bounded(len(self._taken) + 1)
        checked = self._checked(step["id"], step["tool"], step.get("arguments", {}))
        needs = _needs(checked)
        for name in needs:
            if name not in self._taken:
                raise self._error(
                    f"Step {step['id']!r} refers to {_quoted(name)}, which is no step before it",
                    "A line may use the results of lines above it; write $$ for a dollar sign.",
                )
        self.adopt(checked | {"after": self._after(checked, needs)})
        return dict(self._taken[step["id"]])

    def adopt(self, step: Mapping[str, Any]) -> None:
        """Take a step that was checked and recorded before."""
        self._taken[step["id"]] = step
        self._touch(step)

    def steps(self, plan: Any) -> list[dict[str, Any]]:
        """Give all steps of a plan as {id, tool, arguments, after}."""
        rows = self._listed(plan)
        self._bounded(len(rows))
        steps: dict[str, dict[str, Any]] = {}
        for number, row in enumerate(rows):
            step = self._step(number, row)
            if step["id"] in steps:
                raise self._error(f"Two steps of the plan are named {step['id']!r}")
            steps[step["id"]] = step
        self._link(steps)
        return list(steps.values())

    def _listed(self, plan: Any) -> list[Any]:
        if isinstance(plan, str):
            plan = self._parsed(plan)
        if isinstance(plan, Mapping) and set(plan) == {"steps"}:
            plan = plan["steps"]
        if not isinstance(plan, list):
            raise self._error(
                f"The plan is no list of steps, but {_quoted(plan)}",
                "A plan is a JSON list of {id, tool, arguments}.",
            )
        return plan

    def _parsed(self, text: str) -> Any:
        if len(text) > MAX_PLAN_CHARS:
            raise self._error(f"The plan is longer than {MAX_PLAN_CHARS} characters")
        try:
            return parse(text)
        except ValueError as error:
            raise self._error(
                f"The plan is not JSON: {error}", "Give the planner llm a JSON grammar."
            ) from None

    def _step(self, number: int, row: Any) -> dict[str, Any]:
        if not isinstance(row, Mapping):
            raise self._error(f"Step {number} of the plan is no object, but {_quoted(row)}")
        if unknown := [key for key in row if key not in _KEYS]:
            raise self._error(f"Step {number} of the plan has a member {_quoted(unknown[0])}")
        step_id, tool, arguments = row.get("id"), row.get("tool"), row.get("arguments", {})
        if not isinstance(step_id, str) or not _ID.fullmatch(step_id):
            raise self._error(
                f"Step {number} of the plan has the id {_quoted(step_id)}",
                "An id is letters, digits, '_' and '-', at most 64, and begins with a letter.",
            )
        return self._checked(step_id, tool, arguments)

    def _bounded(self, count: int) -> None:
        if count > self._max_steps:
            raise self._error(
                f"The plan has {count} steps, and {self._max_steps} are allowed",
                "Ask the planner for fewer, or raise max_steps.",
            )

    def _checked(self, step_id: str, tool: Any, arguments: Any) -> dict[str, Any]:
        if not isinstance(tool, str) or tool not in self._tools:
            raise self._error(
                f"Step {step_id!r} of the plan names the tool {_quoted(tool)}, "
                "which it may not use",
                f"Allowed are: {', '.join(self._tools)}.",
            )
        if not isinstance(arguments, Mapping):
            raise self._error(f"The arguments of step {step_id!r} are {_quoted(arguments)}")
        self._arguments(step_id, self._tools[tool], arguments)
        return {"id": step_id, "tool": tool, "arguments": dict(arguments), "after": []}

    def _arguments(self, step_id: str, row: Row, arguments: Mapping[str, Any]) -> None:
        known = row["parameters"]
        for name, value in arguments.items():
            if name in row["given"]:
                raise self._error(f"Step {step_id!r} of the plan sets {name!r}, which is not its")
            if name not in known:
                raise self._error(
                    f"Step {step_id!r} of the plan sets {_quoted(name)}, "
                    f"which {row['name']} does not take",
                    f"It takes: {', '.join(known) or 'nothing'}.",
                )
            self._plain(step_id, value, 0)
            if not any(True for _ in referred(value)):
                check_argument(name, value, known[name], f"{self._where}/{step_id}")
        if missing := [name for name in row["required"] if name not in arguments]:
            raise self._error(f"Step {step_id!r} of the plan lacks {missing[0]!r}")

    def _plain(self, step_id: str, value: Any, depth: int) -> None:
        """Hold an argument to a bounded depth, and its references to their form."""
        if depth > MAX_DEPTH:
            raise self._error(f"An argument of step {step_id!r} is nested too deeply")
        if isinstance(value, Mapping):
            if not _well_formed(value):
                raise self._error(f"Step {step_id!r} holds a malformed reference {_quoted(value)}")
            for member in value.values():
                self._plain(step_id, member, depth + 1)
        elif isinstance(value, list | tuple):
            for item in value:
                self._plain(step_id, item, depth + 1)

    def _link(self, steps: Mapping[str, dict[str, Any]]) -> None:
        """Set what every step waits for; StepError for an unknown reference or a cycle."""
        needs: dict[str, list[str]] = {}
        for step_id, step in steps.items():
            needs[step_id] = _needs(step)
            for name in needs[step_id]:
                if name not in steps:
                    raise self._error(
                        f"Step {step_id!r} refers to {_quoted(name)}, which is no step",
                        f"The steps are: {', '.join(steps)}.",
                    )
        for step_id in self._ordered(needs):
            step = steps[step_id]
            step["after"] = self._after(step, needs[step_id])
            self._touch(step)

    def _after(self, step: Mapping[str, Any], needs: Sequence[str]) -> list[str]:
        """Name what a step waits for: what it needs, and what keeps effects in their order."""
        effects = self._tools[step["tool"]]["effects"]
        more = {"write": [*self._writes, *self._reads], "read": self._writes}.get(effects, [])
        return list(dict.fromkeys([*needs, *more]))

    def _touch(self, step: Mapping[str, Any]) -> None:
        # Invariant: `_writes` is the last write so far, `_reads` what has read since then.
        effects = self._tools[step["tool"]]["effects"]
        if effects == "write":
            self._reads, self._writes = [], [step["id"]]
        elif effects == "read":
            self._reads.append(step["id"])

    def _ordered(self, needs: Mapping[str, Sequence[str]]) -> list[str]:
        """Give the steps so that each comes after what it needs, else as the plan has them."""
        names = list(needs)
        users: dict[str, list[int]] = {}
        waiting = [len(needs[name]) for name in names]
        for place, name in enumerate(names):
            for other in needs[name]:
                users.setdefault(other, []).append(place)
        ready = [place for place, count in enumerate(waiting) if count == 0]
        order: list[str] = []
        # Invariant: `ready` is a heap of the places not in `order` whose needs all are.
        while ready:
            name = names[heappop(ready)]
            order.append(name)
            for place in users.get(name, ()):
                waiting[place] -= 1
                if waiting[place] == 0:
                    heappush(ready, place)
        if len(order) < len(names):
            placed = set(order)
            left = ", ".join(name for name in names if name not in placed)
            raise self._error(
                f"Steps of the plan wait for each other: {left}",
                "A step may refer to steps that do not need its own result.",
            )
        return order

    def _error(self, detail: str, next_step: str = "") -> StepError:
        told = next_step or "Show the planner this message, or correct the plan in a tool."
        return StepError(detail, where=self._where, next_step=told)


def _needs(step: Mapping[str, Any]) -> list[str]:
    """Name the steps whose results a step uses, each once."""
    return list(dict.fromkeys(name.split("/", 1)[0] for name in referred(step["arguments"])))


def _well_formed(value: Mapping[str, Any]) -> bool:
    if "$ref" in value:
        return len(value) == 1 and isinstance(value["$ref"], str)
    if "$text" in value:
        parts = value["$text"]
        listed = len(value) == 1 and isinstance(parts, list | tuple)
        return listed and all(isinstance(part, str) or _is_reference(part) for part in parts)
    return True


def _is_reference(value: Any) -> bool:
    return isinstance(value, Mapping) and "$ref" in value and _well_formed(value)


def _quoted(value: Any) -> str:
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 3]}..."
