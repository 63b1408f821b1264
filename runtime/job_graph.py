"""The graph that a job made: its program, with the plans that were written while it ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from gangline.ir.program import Program
from gangline.ir.specs.event import Event, StepRecord
from gangline.planner.graph_nodes import graph_nodes
from gangline.planner.graph_svg import graph_svg

from .dispatch.fork import effective
from .dispatch.job import result_of
from .dispatch.programs import program_of

_RANK = ("failed", "running", "queued", "cancelled", "succeeded")
_WIDTH = 44
"""Characters of what stands before the columns."""


@dataclass(frozen=True, slots=True)
class JobGraph:
    """A job as it went.

    Attributes:
        plans: the steps of the plans that its `expand` stages recorded, by stage; of a stage that
            ran several times, the last.
        steps: its step records.
    """

    job_id: str
    status: str
    program: Program
    plans: Mapping[str, Sequence[Mapping[str, Any]]]
    steps: Sequence[StepRecord]

    def document(self) -> dict[str, Any]:
        """Give nodes and edges with what became of each (schema: docs/schemas/explain_job.json)."""
        nodes, edges = graph_nodes(self.program, "stage", self.plans)
        return {
            "job_id": self.job_id,
            "workflow": self.program.name,
            "status": self.status,
            "nodes": [{**node, **self._became(node["id"])} for node in nodes],
            "edges": edges,
            "plans": {name: list(steps) for name, steps in self.plans.items()},
        }

    def svg(self) -> str:
        """Draw it, with the state of every stage."""
        nodes, _ = graph_nodes(self.program, "stage", self.plans)
        status = {node["id"]: self._became(node["id"])["status"] for node in nodes}
        return graph_svg(self.program, status=status, plans=self.plans)

    def text(self) -> str:
        """Tell it as a tree: frames, the steps in them as they began, and under an expand its plan."""
        lines = [f"{self.program.name}, job {self.job_id}: {self.status}"]
        planned = {f"{step.id}/{row['id']}" for step, row in self._planned()}
        open_frames: list[str] = []
        # Invariant: `open_frames` are the parts of the id that the last lines were indented under.
        for step in self.steps:
            if step.id in planned:
                continue
            *frames, name = step.id.split("/")
            pairs = zip(open_frames, frames, strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            lines += [_line(depth, frames[depth]) for depth in range(shared, len(frames))]
            lines.append(_line(len(frames), name, step))
            open_frames = frames
            if step.op == "expand":
                lines += self._plan_lines(step, len(frames) + 1)
                open_frames = [*frames, name]
        return "\n".join(lines) + "\n"

    def _planned(self) -> Iterator[tuple[StepRecord, Mapping[str, Any]]]:
        """Yield the steps of plans with the step records of their expands."""
        for step in self.steps:
            if step.op == "expand":
                for row in self.plans.get(step.stage, ()):
                    yield step, row

    def _plan_lines(self, step: StepRecord, depth: int) -> Iterator[str]:
        ran = {record.id: record for record in self.steps}
        for row in self.plans.get(step.stage, ()):
            record = ran.get(f"{step.id}/{row['id']}")
            yield _line(depth, f"{row['id']}. {_call(row)}", record)

    def _became(self, node: str) -> dict[str, Any]:
        found = [step for step in self.steps if _belongs(step, node)]
        states = [step.status for step in found if step.status in _RANK]
        starts = [step.start_s for step in found if step.start_s is not None]
        ends = [step.end_s for step in found if step.end_s is not None]
        return {
            "status": min(states, key=_RANK.index, default="pending"),
            "start_s": min(starts, default=None),
            "end_s": max(ends, default=None),
        }


def job_graph(events: Sequence[Event]) -> JobGraph:
    """Make the graph of a job from its events."""
    result, log = result_of(events), effective(events)
    program = program_of(log[0].data["program"])
    return JobGraph(result.job_id, result.status, program, _plans(log), list(result.steps))


def _plans(log: Sequence[Event]) -> dict[str, list[Mapping[str, Any]]]:
    stages = {event.step_id: event.data.get("stage", "") for event in log if "stage" in event.data}
    found: dict[str, list[Mapping[str, Any]]] = {}
    open_plans: dict[str, list[Mapping[str, Any]]] = {}
    # Invariant: a plan that is whole replaces the lines of it that came before.
    for event in log:
        name = stages.get(event.step_id, "")
        if event.type == "step.planned":
            lines = open_plans.setdefault(event.step_id, [])
            lines.append(event.data["step"])
            found[name] = lines
        elif event.type == "step.completed" and event.data.get("op") == "expand":
            found[name] = list(event.data["value"]["steps"])
    return found


def _belongs(step: StepRecord, node: str) -> bool:
    """Say whether a step is one of a node: of its stage, or that step of the stage's plan."""
    stage, planned, name = node.rpartition("/")
    if planned and step.stage == stage and step.op != "expand":
        return step.id.rpartition("/")[2] == name
    return step.stage == node and (step.op == "expand" or not _is_planned(step))


def _is_planned(step: StepRecord) -> bool:
    """Say whether a plan asked for the step: its record names the expand as its stage."""
    return step.op == "tool" and step.id.rpartition("/")[0].endswith(step.stage)


def _line(depth: int, name: str, step: StepRecord | None = None) -> str:
    """Write a line: what it is, and if it ran how it went, from when to when."""
    shown = "  " * (depth + 1) + name
    if step is None:
        return shown
    when = ""
    if step.start_s is not None and step.end_s is not None:
        when = f"{step.start_s:8.3f} s to {step.end_s:8.3f} s"
    elif step.start_s is not None:
        when = f"{step.start_s:8.3f} s on"
    return f"{shown:<{_WIDTH}} {step.op:<10} {step.status:<10} {when}".rstrip()


def _call(step: Mapping[str, Any]) -> str:
    given = ", ".join(f"{name}={_shown(value)}" for name, value in step["arguments"].items())
    after = f", after {', '.join(step['after'])}" if step["after"] else ""
    return f"{step['tool']}({given}){after}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping) and "$ref" in value:
        return f"${value['$ref']}"
    if isinstance(value, Mapping) and "$text" in value:
        return "".join(part if isinstance(part, str) else _shown(part) for part in value["$text"])
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
