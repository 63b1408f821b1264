"""Tables of a program that never change while it runs: who reads which value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gangline.ir.errors import LoweringError
from gangline.ir.program import Program, Region, Stage
from gangline.runtime.kept import Kept


@dataclass(frozen=True, slots=True)
class RegionLayout:
    """One region, prepared for execution.

    Position p < len(stages) is a stage; position len(stages) stands for the region's yields.

    Attributes:
        users: for a value of this region, the positions that read it.
        counts: for each position, how many distinct values of this region it reads.
        outer: (value, region that owns it, positions that read it) for values of regions around.
        streams: positions of expands that read their plan while the decode at the other position
            writes it: they begin when that does.
        begun: positions of prefills that other prefills go on from: steps of their own, which
            begin before it is known what follows.
    """

    index: int
    region: Region
    stages: tuple[Stage, ...]
    users: dict[int, tuple[int, ...]]
    counts: tuple[int, ...]
    outer: tuple[tuple[int, int, tuple[int, ...]], ...]
    streams: Mapping[int, int] = field(default_factory=dict)
    begun: frozenset[int] = frozenset()


Layouts = tuple[RegionLayout, ...]

MAX_KEPT = 32
"""Most programs whose tables are kept for their next job."""

_kept: Kept[Layouts] = Kept(MAX_KEPT)


def layouts(program: Program) -> Layouts:
    """Prepare every region of a program; LoweringError if a value is read but never made."""
    return _kept.of(_layouts, program)


def _layouts(program: Program) -> Layouts:
    owners = _owners(program)
    prefills = (stage for stage in program.stages if stage.op == "prefill")
    continued = frozenset(value for stage in prefills for value in stage.operands[1:])
    regions = range(len(program.regions))
    return tuple(_layout(program, index, owners, continued) for index in regions)


def _owners(program: Program) -> dict[int, int]:
    owners: dict[int, int] = {}
    for index, region in enumerate(program.regions):
        owners.update(dict.fromkeys(region.arguments, index))
        for stage in region.stages:
            owners.update(dict.fromkeys(program.stages[stage].results, index))
    return owners


def _layout(
    program: Program, index: int, owners: dict[int, int], continued: frozenset[int]
) -> RegionLayout:
    region = program.regions[index]
    stages = tuple(program.stages[stage] for stage in region.stages)
    streams = _streams(stages)
    reads = [stage.operands for stage in stages] + [region.yields]
    for reader, writer in streams.items():
        reads[reader] = (*stages[writer].operands, *stages[reader].operands[1:])
    readers: dict[int, list[int]] = {}
    counts = [0] * len(reads)
    for position, operands in enumerate(reads):
        for value in dict.fromkeys(operands):
            if value not in owners:
                raise LoweringError(f"Value %{value} is read but never made", where=program.name)
            readers.setdefault(value, []).append(position)
            counts[position] += owners[value] == index
    local = {v: tuple(at) for v, at in readers.items() if owners[v] == index}
    outer = tuple((v, owners[v], tuple(at)) for v, at in readers.items() if owners[v] != index)
    begun = frozenset(
        at
        for at, stage in enumerate(stages)
        if stage.op == "prefill" and not continued.isdisjoint(stage.results)
    )
    return RegionLayout(index, region, stages, local, tuple(counts), outer, streams, begun)


def _streams(stages: Sequence[Stage]) -> dict[int, int]:
    decodes = {
        value: position
        for position, stage in enumerate(stages)
        if stage.op == "decode"
        for value in stage.results
    }
    return {
        position: decodes[stage.operands[0]]
        for position, stage in enumerate(stages)
        if stage.op == "expand" and reads_lines(stage) and stage.operands[0] in decodes
    }


def reads_lines(stage: Stage) -> bool:
    """Say whether the plan of an expand is text, one call per line."""
    return bool(stage.attributes.get("form") == "lines")
