"""Write beside every stage what it needs: operations, bytes, tokens, core seconds, visits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from gangline.ir.decoding import skeleton
from gangline.ir.module import Module
from gangline.ir.program import Program, Stage
from gangline.ir.specs.resources import Resources
from gangline.ir.visits import visits

from .base import Pass
from .rewrite import set_floats

_WRITTEN = tuple(
    (name, f"agent.{name}")
    for name in (
        *("flops", "bytes", "kv_bytes", "network_bytes", "cpu_seconds"),
        *("input_tokens", "output_tokens"),
    )
)
_MOVES = frozenset({"transfer", "kv_transfer"})


@dataclass(frozen=True, slots=True)
class AnnotateResources(Pass):
    """Write what each stage needs on average: operations, bytes, tokens, core seconds, visits.

    Args:
        stages: rows by stage name, from the models' shapes and the expected tokens.
        factors: of control stages, by name (see `ir/visits.py`).

    A transfer moves the bytes of the result it reads. Zeros are left out. Where a function is
    called several times, its operations get the mean of an execution and the sum of the visits.
    """

    name: ClassVar[str] = "annotate-resources"
    stages: Mapping[str, Resources] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def example(cls) -> Self:
        """A made-up model of 1 GFLOP and 1 kB of cache a token; a loop of two trips."""
        prompt = Resources(
            flops=4e11, bytes=2e9, kv_bytes=4e5, input_tokens=400.0, result_bytes=4e5
        )
        answer = Resources(
            *(3e11, 6e11, 5e5), input_tokens=400.0, output_tokens=100.0, result_bytes=400.0
        )
        return cls(
            {
                "write.tokenize": Resources(cpu_seconds=1e-3, result_bytes=1600.0),
                "write.prefill": prompt,
                "write.decode": answer,
                "check": Resources(cpu_seconds=0.25),
            },
            {"loop": 2.0},
        )

    def apply(self, module: Module) -> None:
        found = skeleton(module)
        program, producers = found.program, found.program.producers()
        own: dict[int, Resources] = {}
        rows: dict[int, Resources] = {}
        # Invariant: `own` has the row of every stage before those that read its result.
        for stage, times in ((row.stage, row.visits) for row in visits(program, self.factors)):
            if stage.op in _MOVES:
                moved = _moved_bytes(program, producers, stage.operands[0], own)
                row = Resources(network_bytes=moved, result_bytes=moved, visits=times)
            else:
                row = _with_visits(self.stages.get(stage.name, _NOTHING), times)
            own[stage.id] = row
            first = found.first[stage.id]
            rows[first] = _joined(rows[first], row) if first in rows else row
        for number, row in rows.items():
            values = {name: value for key, name in _WRITTEN if (value := getattr(row, key))}
            values["agent.visits"] = row.visits or 0.0
            stage = program.stages[number]
            if stage.op in ("map", "loop") and stage.name in self.factors:
                values["agent.trips"] = self.factors[stage.name]
            set_floats(found.ops[number], values)


_NOTHING = Resources()


def _with_visits(row: Resources, times: float) -> Resources:
    if row.visits is not None:
        return row
    known = (row.flops, row.bytes, row.kv_bytes, row.network_bytes, row.cpu_seconds)
    return Resources(*known, row.input_tokens, row.output_tokens, times, row.result_bytes)


def _joined(first: Resources, second: Resources) -> Resources:
    """Give the mean execution of two rows and all their visits."""
    ours, theirs = first.visits or 0.0, second.visits or 0.0
    share = ours / (ours + theirs) if ours + theirs > 0.0 else 0.5
    mean = {
        name: share * getattr(first, name) + (1.0 - share) * getattr(second, name)
        for name in (*(key for key, _ in _WRITTEN), "result_bytes")
    }
    return Resources(**mean, visits=ours + theirs)


def _moved_bytes(
    program: Program, producers: Mapping[int, Stage], value: int, rows: Mapping[int, Resources]
) -> float:
    """Follow a value to the stage that made it; 0 where its size is not known."""
    stage = producers.get(value)
    while stage is not None and stage.op == "branch":
        stage = producers.get(program.regions[stage.regions[0]].yields[0])
    return rows[stage.id].result_bytes if stage is not None else 0.0
