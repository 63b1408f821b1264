"""How fast the planner answers: CPU seconds against floors measured in the same run, one core.

    python -m benchmarks.plan_speed [--repeats N] [--json]

- `warm_estimate`: one decode step of a 70B model on four devices, already priced once. The floor
  is the roofline of the same shape in plain Python floats.
- `warm_stage_price`: one stage of a plan with its interval, dollars and joules: several estimates
  (at few, expected and many tokens). The same floor.
- `million_configurations`: decode steps of 1,000,000 (batch, context) pairs over all accelerators
  of the catalogue at several widths, prices built anew. The floor is the roofline of the same
  pairs in bare numpy.
- `cold_plan`: a new process that runs `gangline plan`, simulation included. The floor is a new
  process that imports numpy.
- `first_tco_answer`: CPU of a new process that runs `gangline tco` until it says its first answer,
  less that of a process that imports the same and ends. The floor imports numpy.
- `tco_report`: the same process to its end, simulations, break-even prices and sensitivity included.

Every figure is CPU time (user and system); medians, fastest and slowest of the repeats. The result
is kept in benchmarks/results/plan_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULT = HERE / "results" / "plan_speed.json"
ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
TARGETS_S = {"warm_estimate": 50e-6, "million_configurations": 5.0}
TARGETS_S |= {"first_tco_answer": 1.0, "tco_report": 10.0}
MODEL, WIDTHS, PAIRS = "llama-3.1-70b", (4, 8), 1_000_000
PLAN = ("plan", "text_to_sql", "--model", MODEL, "--slo", "p95=20s", "--rate", "1", "--json")
TCO = ("tco", "text_to_sql", "--model", MODEL, "--slo", "p95=20s", "--rate", "50", "--json")
FLEET = """
[[device]]
name = "host"
type = "cpu"
usd_per_hour = 0.2
count = 4
[[device]]
name = "card"
type = "H100-SXM-80"
usd_per_hour = 2.5
count = 8
"""

Timed = Callable[[], float]
"""Does a piece of work once and gives the CPU seconds it took."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print one document and keep it."""
    parser = argparse.ArgumentParser(description="CPU time of plans and estimates.")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one line")
    options = parser.parse_args(arguments)
    os.environ.update(ONE_CORE)
    figures = {
        name: compared(ours, floor, max(1, options.repeats), TARGETS_S.get(name))
        for name, (ours, floor) in pairs().items()
        if ours is not None
    }
    document = {"figures": figures, "repeats": options.repeats, **conditions()}
    RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=None if options.json else 2))
    return 0


def conditions() -> dict[str, Any]:
    """Say where and with what this was measured."""
    import numpy as np

    return {
        "unit": "CPU seconds (user + system), one thread",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load_1min": os.getloadavg()[0],
        "model": MODEL,
    }


def pairs() -> dict[str, tuple[Timed | None, Timed]]:
    """Give what is measured, each with its floor."""
    estimate, bare = estimates()
    many, bare_many = configurations()
    return {
        "warm_estimate": (estimate, bare),
        "warm_stage_price": (stage_price(), bare),
        "million_configurations": (many, bare_many),
        "cold_plan": (lambda: child(gangline(*PLAN, fleet=True)), numpy_child),
        "first_tco_answer": (first_answer if has_tco() else None, numpy_child),
        "tco_report": ((lambda: child(gangline(*TCO))) if has_tco() else None, numpy_child),
    }


def compared(ours: Timed, floor: Timed, repeats: int, target_s: float | None) -> dict[str, Any]:
    """Measure both in turns, so that a busy moment hits both."""
    ours(), floor()
    rows = [(ours(), floor()) for _ in range(repeats)]
    mine, least = ([row[index] for row in rows] for index in (0, 1))
    return {
        "median_s": statistics.median(mine),
        "fastest_s": min(mine),
        "slowest_s": max(mine),
        "floor_s": statistics.median(least),
        "times_the_floor": statistics.median(mine) / max(statistics.median(least), 1e-12),
        "target_s": target_s,
        "met": None if target_s is None else statistics.median(mine) <= target_s,
    }


def estimates() -> tuple[Timed, Timed]:
    """One warm estimate, and the roofline of the same shape in plain floats."""
    from gangline.planner.catalogue import catalogue
    from gangline.planner.costs.shape import find_shape
    from gangline.planner.costs.step import step_cost

    spec, shape = catalogue()["H100-SXM-80"].spec, find_shape(MODEL)
    cost = step_cost(spec, shape, "bf16", 4)
    weights, kv = cost.weight_bytes, cost.kv_bytes_per_request(1.0)
    flop, rate = 2.0 * shape.active_params / 4, spec.flops["bf16"]

    def bare(batch: float, context: float) -> float:
        moved = (weights + batch * context * kv) / spec.memory_bytes_per_s
        return max(flop * batch / rate, moved) + 1e-3

    contexts = [float(256 + 7 * number) for number in range(1000)]
    return (
        repeated(lambda context: float(cost.decode_step_s(16.0, context)), contexts),
        repeated(lambda context: bare(16.0, context), contexts),
    )


def stage_price() -> Timed:
    """One warm price of a decode stage."""
    from gangline.ir.program import Stage
    from gangline.ir.specs.fleet import FleetDevice
    from gangline.planner.catalogue import catalogue
    from gangline.planner.profile import Amount, StageProfile
    from gangline.planner.stage_cost import Option, StageCosts

    costs = StageCosts({})
    option = Option(FleetDevice("card", catalogue()["H100-SXM-80"].spec, count=4), 4)
    stage = Stage(0, "decode", "draft.decode", attributes={"model": MODEL})

    def price(prompt: float) -> float:
        tokens = Amount(prompt, 0.5 * prompt, 2.0 * prompt)
        work = StageProfile("decode", prompt_tokens=tokens, output_tokens=Amount(80, 20, 200))
        return costs.price(stage, work, option).seconds

    return repeated(price, [float(256 + 7 * number) for number in range(300)])


def repeated(work: Callable[[float], float], values: Sequence[float]) -> Timed:
    """Time one call as the mean of many."""

    def timed() -> float:
        begin = time.process_time()
        for value in values:
            work(value)
        return (time.process_time() - begin) / len(values)

    return timed


def configurations() -> tuple[Timed, Timed]:
    """A million shapes over the catalogue, and the roofline of as many in bare numpy."""
    import numpy as np

    from gangline.planner.catalogue import catalogue
    from gangline.planner.costs import step
    from gangline.planner.costs.shape import find_shape
    from gangline.planner.engine_times import is_fitted
    from gangline.planner.roofline import serving_dtype

    shape = find_shape(MODEL)
    specs = [row.spec for row in catalogue().values() if is_fitted(row.spec)]
    groups = [(spec, tp) for spec in specs for tp in WIDTHS]
    rng = np.random.default_rng(0)
    size = -(-PAIRS // len(groups))
    batch = rng.integers(1, 257, size).astype(float)
    context = rng.integers(64, 16384, size).astype(float)

    def ours() -> float:
        step._KEPT.clear()  # prices are built anew each time
        begin = time.process_time()
        for spec, tp in groups:
            step.step_cost(spec, shape, serving_dtype(spec), tp).decode_step_s(batch, context)
        return time.process_time() - begin

    def floor() -> float:
        begin = time.process_time()
        for spec, tp in groups:
            moved = (2.0 * shape.params / tp + batch * context * 8e4) / spec.memory_bytes_per_s
            np.maximum(2.0 * shape.active_params / tp * batch / 1e15, moved)
        return time.process_time() - begin

    return ours, floor


def gangline(*arguments: str, fleet: bool = False) -> list[str]:
    """Give the command line of a new process."""
    code = "import sys; from gangline.runtime.cli.app import run; sys.exit(run(sys.argv[1:]))"
    if not fleet:
        return [sys.executable, "-c", code, *arguments]
    path = Path(tempfile.gettempdir()) / f"gangline_plan_speed_{os.getpid()}.toml"
    path.write_text(FLEET, encoding="utf-8")
    return [sys.executable, "-c", code, *arguments, "--fleet", str(path)]


def child(command: Sequence[str]) -> float:
    """Run a process to its end and give its CPU seconds; it must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **ONE_CORE})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def numpy_child() -> float:
    """The least a process that computes with arrays takes."""
    return child([sys.executable, "-c", "import numpy"])


def has_tco() -> bool:
    """Tell whether this version has `gangline tco`."""
    from gangline.runtime.cli.app import app

    return "tco" in {command.name for command in app.registered_commands}


IMPORTS = "import gangline.runtime.cli.tco, gangline.runtime.tco, scipy.optimize"


def first_answer() -> float:
    """CPU seconds until `gangline tco` says its first answer, imports not counted (Linux)."""
    imports_s = child([sys.executable, "-c", IMPORTS])
    process = subprocess.Popen(
        gangline(*TCO), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if line.startswith("first answer"):
                spent = cpu_of(process.pid)
                process.kill()
                return max(spent - imports_s, 0.0)
    raise RuntimeError("gangline tco ended without a first answer")


def cpu_of(pid: int) -> float:
    """CPU seconds of a running process so far, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
