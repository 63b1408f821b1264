"""Random frozen programs, drawn from a seed: every control stage, nested up to two deep."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from gangline.ir.program import Program, Region, Stage

_REGIONS = {"map": 1, "loop": 2, "branch": 2, "call": 1}


@dataclass
class RandomProgram:
    """A program with seconds of every stage and factors of its control stages."""

    seed: int
    flat: bool = False
    most: int = 5
    stages: list[Stage | None] = field(default_factory=list)
    regions: list[Region | None] = field(default_factory=list)
    values: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._region(0, [])
        self.program = Program(
            "flow",
            (),
            tuple(region for region in self.regions if region is not None),
            tuple(stage for stage in self.stages if stage is not None),
        )
        draw = self.random
        self.seconds = {s.id: draw.choice([0.0, 1.0, 2.0, draw.random()]) for s in self.all()}
        self.factors = {
            s.name: draw.choice([0.0, 0.3, 1.0] if s.op == "branch" else [0.0, 1.0, 2.5])
            for s in self.all()
            if s.regions
        }

    def all(self) -> tuple[Stage, ...]:
        return self.program.stages

    def _value(self) -> int:
        self.values += 1
        return self.values

    def _region(self, depth: int, outer: list[int]) -> int:
        index = len(self.regions)
        self.regions.append(None)
        argument = self._value()
        known = [*outer, argument]
        ids = [self._stage(depth, known) for _ in range(self.random.randint(1, self.most))]
        result = self.random.choice(known)
        self.regions[index] = Region((argument,), tuple(ids), (result,))
        return index

    def _stage(self, depth: int, known: list[int]) -> int:
        number = len(self.stages)
        self.stages.append(None)
        ops = ["tool"] * 5 + ["compute", "constant"]
        op = self.random.choice(ops if self.flat or depth == 2 else [*ops, *_REGIONS])
        operands = tuple(self.random.choice(known) for _ in range(self.random.randint(0, 3)))
        inner = tuple(self._region(depth + 1, known) for _ in range(_REGIONS.get(op, 0)))
        result = self._value()
        known.append(result)
        self.stages[number] = Stage(number, op, f"s{number}", operands, (result,), {}, inner)
        return number
