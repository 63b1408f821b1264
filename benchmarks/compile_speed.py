"""How long the compiler takes for modules of 100, 1,000 and 10,000 operations, phase by phase.

    python -m benchmarks.compile_speed [--json]

CPU seconds of one process on one core, median of `--rounds`. The workflow mixes tools, llms,
computations, maps, branches, loops and nested calls. Annotations are those of the model's row and
of the planner's times on one host; making the rows is the planner's work, and stands apart. Two
floors in the same run, on the same module: MLIR's own verifier, and its canonicalize and cse
passes through the same bindings.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import gangline as gl
from gangline.ir.builder import build
from gangline.ir.decoding import decode_program
from gangline.ir.lowering import LowerToStages
from gangline.ir.module import Module, context, walk
from gangline.ir.passes import DEFAULT_PASSES, AnnotateResources, CriticalPath, run
from gangline.ir.specs.device import DeviceSpec
from gangline.ir.specs.fleet import Fleet, FleetDevice
from gangline.ir.verifier import verify
from gangline.planner.resources import resources
from gangline.planner.situation import situation_of
from gangline.runtime.machine.models import catalogue
from gangline.workflows.tracing import Tracer

T = TypeVar("T")
OPS_PER_BLOCK = 29
"""Operations that one turn of the workflow below records, blocks inside included."""


@gl.tool(effects="read")
def look(query: str) -> str:
    return query


@gl.tool(effects="none")
def clean(text: str) -> str:
    return text


@gl.llm(model="smollm2-135m", max_tokens=8)
def answer(question: str, context: str) -> str:
    """Answer {question} with {context}."""
    raise NotImplementedError


@gl.workflow
def helper(query: str) -> str:
    return clean(answer(query, look(query)))


def workflow(turns: int) -> Any:
    """Give a workflow that records about `turns * OPS_PER_BLOCK` operations."""

    @gl.workflow
    def mixed(query: str) -> list[str]:
        made = []
        for turn in range(turns):
            found = look(f"part {turn}")
            first = answer(found, query)
            both = gl.map(lambda item, found=found: answer(item, found), [first, found])  # type: ignore[misc]
            side = gl.branch(gl.length(both) > 1, partial(clean, first), partial(look, found))
            last = gl.loop(lambda s: clean(s), side, until=lambda s: s == "x", max_trips=3)
            made.append(helper(last))
        return made

    return mixed


def phases(turns: int) -> tuple[int, dict[str, float]]:
    """Compile once; give the number of operations and the CPU seconds of each phase."""
    times: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        made = work()
        times[name] = times.get(name, 0.0) + time.process_time() - start
        return made

    tracer = Tracer()
    flow = workflow(turns)
    root = timed("trace", lambda: tracer.trace(flow))
    module = timed("build", lambda: build(tracer.ordered(root)))
    count = sum(1 for function in module.functions() for _ in walk(function))
    timed("verify_agent", lambda: verify(module, level="agent"))
    work = timed("copy", module.copy)
    for found in DEFAULT_PASSES:
        timed(f"pass {found.name}", partial(run, work, (found,)))
    timed("lower", lambda: run(work, (LowerToStages(),)))
    timed("verify_stage", lambda: verify(work, level="stage"))
    timed("decode", lambda: decode_program(work))
    times["compile"] = sum(times.values())
    program = decode_program(work)
    situation = situation_of(program, None, _fleet(), catalogue(), False)
    option = next(i for i, found in enumerate(situation.options) if found.device.spec.cores > 0)
    factors = situation.profile.factors
    models = situation.costs.model
    needs = timed("planner: cost rows", lambda: resources(program, situation.profile, models))
    seconds = situation.stage_seconds((option,) * len(situation.classes))
    annotated = work.copy()
    passes = (AnnotateResources(needs, factors), CriticalPath(seconds, factors))
    timed("annotate", lambda: run(annotated, passes))
    times["all"] = times["compile"] + times["annotate"]
    times["traced, verified, lowered, annotated"] = times["all"] - times["decode"]
    _floors(module, timed)
    return count, times


def _fleet() -> Fleet:
    """Give one host whose figures do not depend on this machine."""
    spec = DeviceSpec(
        type="cpu",
        flops={"bf16": 1e12, "fp32": 2e11, "int8": 1e12},
        memory_bytes=64_000_000_000,
        memory_bytes_per_s=5e10,
        cores=8,
        source="made up",
    )
    return Fleet("one", (FleetDevice("host", spec),))


def _floors(module: Module, timed: Callable[[str, Callable[[], Any]], Any]) -> None:
    from iree.compiler import passmanager

    copy = module.copy()
    timed("floor: MLIR verifies", copy.mlir.operation.verify)
    with context():
        manager = passmanager.PassManager.parse("builtin.module(canonicalize,cse)")
        timed("floor: MLIR canonicalize, cse", lambda: manager.run(copy.mlir.operation))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    context()
    phases(1)
    rows: list[dict[str, Any]] = []
    for size in (100, 1_000, 10_000):
        turns = max(1, round(size / OPS_PER_BLOCK))
        rounds = [phases(turns) for _ in range(given.rounds)]
        medians = {name: statistics.median(row[name] for _, row in rounds) for name in rounds[0][1]}
        rows.append({"operations": rounds[0][0], "cpu_seconds": medians})
    if given.json:
        print(json.dumps({"rounds": given.rounds, "rows": rows}, indent=1))
        return
    print(f"{'CPU ms':38}" + "".join(f"{row['operations']:>10}" for row in rows))
    for name in rows[0]["cpu_seconds"]:
        print(f"{name:38}" + "".join(f"{row['cpu_seconds'][name] * 1e3:10.1f}" for row in rows))


if __name__ == "__main__":
    main()
