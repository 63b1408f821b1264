"""A drawn job as a program: flat, with every loop and branch decided, ready to be simulated.

Tools of a workflow need real arguments, and a question that nobody asked has none. So what is
simulated is not the author's program but its expansion: the same stages on the same devices in
the same order, whose tools take the seconds that were drawn and return nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gangline.ir.program import Program, Region, Stage
from gangline.ir.specs.plan import Plan, StagePlan
from gangline.planner.draws import DrawnStep
from gangline.runtime.dispatch.commands import Encode, RunTool

VISIT = "@"
"""Between a stage's name and the number of its visit in names of a drawn program."""

Ship = Callable[[StagePlan, StagePlan, int, str], float]
"""Seconds to send the KV cache of so many tokens of a model from one device to another."""


def drawn_s(command: RunTool | Encode) -> float:
    """Give the seconds that were drawn for a tool or a text step; 0 where none were."""
    return float(command.step.stage.attributes.get("drawn_s", 0.0))


def stage_of(name: str) -> str:
    """Give the stage that a step of a drawn program is a visit of."""
    return name.split(VISIT, 1)[0]


@dataclass(slots=True)
class _Writer:
    """Writes stages; value numbers are stage indices."""

    plan: Mapping[str, StagePlan]
    stages: list[Stage] = field(default_factory=list)
    rows: list[StagePlan] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(
        self, op: str, base: str, row: StagePlan | None, operands: Sequence[int], **data: Any
    ) -> int:
        self.counts[base] = self.counts.get(base, 0) + 1
        name = f"{base}{VISIT}{self.counts[base]}"
        index = len(self.stages)
        self.stages.append(Stage(index, op, name, tuple(operands), (index,), data))
        if row is not None:
            self.rows.append(replace(row, stage=name, op=op))
        return index


def drawn_program(
    steps: Sequence[DrawnStep], plan: Plan, job: int, ship: Ship
) -> tuple[Program, Plan]:
    """Write a drawn job down as a program, with the plan's rows under its stages' names.

    A call whose decode is planned on another device than its prefill becomes two requests with
    the transfer of its KV cache between them.
    """
    writer = _Writer({row.stage: row for row in plan.stages})
    values: dict[int, int] = {}
    for index, step in enumerate(steps):
        operands = [values[parent] for parent in step.parents]
        values[index] = _write(writer, steps, index, operands, job, ship)
    names = tuple(range(len(writer.stages)))
    program = Program(plan.workflow, (), (Region((), names, ()),), tuple(writer.stages))
    return program, replace(plan, stages=tuple(writer.rows), critical_path=())


def _write(
    writer: _Writer,
    steps: Sequence[DrawnStep],
    index: int,
    operands: Sequence[int],
    job: int,
    ship: Ship,
) -> int:
    step, row = steps[index], writer.plan.get(steps[index].stage)
    match step.op:
        case "tokenize":
            text = _prompt(_prefill_of(steps, index), job, index)
            data = {"model": step.model, "template": text, "drawn_s": step.seconds}
            return writer.add("tokenize", step.stage, row, operands, **data)
        case "prefill":
            # The second is a prefill that this one goes on from, if any.
            return writer.add("prefill", step.stage, row, operands[:2], model=step.model)
        case "embed":
            return _embed(writer, step, operands, job, index)
        case "decode":
            return _decode(writer, steps, index, operands, job, ship)
        case "detokenize":
            return writer.add("detokenize", step.stage, row, operands, model=step.model)
        case _:
            data = {"tool": step.stage, "effects": "none", "drawn_s": step.seconds}
            return writer.add("tool", step.stage, row, operands, **data)


def _embed(writer: _Writer, step: DrawnStep, operands: Sequence[int], job: int, index: int) -> int:
    """Write an embedding as a prompt after which a first token ends the request."""
    row = writer.plan.get(step.stage)
    known: dict[str, Any] = {"model": step.model}
    text = _prompt(step, job, index)
    tokens = writer.add("tokenize", f"{step.stage}.tokens", row, operands, template=text, **known)
    kv = writer.add("prefill", step.stage, row, (tokens,), **known)
    return writer.add("decode", f"{step.stage}.end", row, (kv,), max_tokens=1, **known)


def _decode(
    writer: _Writer,
    steps: Sequence[DrawnStep],
    index: int,
    operands: Sequence[int],
    job: int,
    ship: Ship,
) -> int:
    step = steps[index]
    row = writer.plan.get(step.stage)
    prefill = writer.plan.get(steps[step.parents[0]].stage)
    data: dict[str, Any] = {"model": step.model, "max_tokens": step.output}
    if row is None or prefill is None or row.device == prefill.device:
        return writer.add("decode", step.stage, row, operands, **data)
    # The device of the prefill gives the first token, the other all that follow.
    first = writer.add(
        "decode", f"{step.stage}.first", prefill, operands, model=step.model, max_tokens=1
    )
    if step.output == 1:
        return first
    seconds = ship(prefill, row, step.prompt, step.model)
    sent = writer.add(
        "tool", f"{step.stage}.ship", row, (first,), tool="ship", effects="none", drawn_s=seconds
    )
    whole = DrawnStep("", "tokenize", step.model, (), step.prompt, 0)
    text = _prompt(whole, job, index)
    tokens = writer.add(
        "tokenize", f"{step.stage}.tokens", row, (sent,), model=step.model, template=text
    )
    kv = writer.add("prefill", f"{step.stage}.import", row, (tokens,), model=step.model)
    return writer.add(
        "decode", step.stage, row, (kv,), model=step.model, max_tokens=step.output - 1
    )


def _prefill_of(steps: Sequence[DrawnStep], tokenize: int) -> DrawnStep:
    """Find the prefill that reads a tokenize step: its draw says how long the prompt is."""
    for step in steps[tokenize + 1 :]:
        if step.op == "prefill" and step.parents and step.parents[0] == tokenize:
            return step
    return steps[tokenize]


def _prompt(step: DrawnStep, job: int, index: int) -> list[dict[str, str]]:
    text = f"{step.prompt} {step.cached} {job} {index}"
    return [{"role": "user", "text": text}]


def encode_drawn(messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
    """Make the tokens of a prompt that `drawn_program` described.

    The cached ones are the same for all prompts (the engine finds them in its prefix cache from
    the second prompt on), the others belong to this prompt alone.
    """
    prompt, cached, job, index = (int(part) for part in messages[0]["content"].split())
    own = 1_000_000 + (job * 4096 + index) * 1_000_000
    return (*range(cached), *range(own, own + prompt - cached))
