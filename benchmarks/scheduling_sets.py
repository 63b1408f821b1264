"""Are our schedules short? HEFT and CP-SAT on the same problems, at the same CPU seconds.

    python -m benchmarks.scheduling_sets [--quick] [--budget S] [--seeds N] [--json] [--keep]

Four sets: small and large heterogeneous DAGs, flexible and plain job shops, found through
GANGLINE_SHARED_DATA or ../shared/data beside the checkout. CP-SAT (`make bench-setup`) runs in a
child process from HEFT as a hint, with one worker and with eight interleaved; the better answer
counts. Every schedule passes the independent check, and none may be shorter than a proven bound.
With --keep the figures, without the sets' data, go to benchmarks/results/scheduling_sets.json.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gangline.planner.optimiser.disjunctive_graph import DisjunctiveGraph
from gangline.planner.optimiser.heft import heft, peft
from gangline.planner.optimiser.schedule import (
    HeterogeneousDag,
    Schedule,
    check,
    flexible_job_shop,
)
from gangline.planner.optimiser.schedule_search import schedule

HERE = Path(__file__).parent
RESULT = HERE / "results" / "scheduling_sets.json"
PEER = HERE.parent / ".venv-bench" / "bin" / "python"
CP_SAT_WORKERS = (1, 8)
EFFORT = {
    "hetero_dag_small": (5.0, 3),
    "hetero_dag_large": (5.0, 3),
    "flexible_jobshop": (5.0, 3),
    "jobshop": (2.0, 1),
}
"""CPU seconds per problem and solver, and seeds of ours; the job shop is no stage graph of ours."""

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=True)
    parser.add_argument("--quick", action="store_true", help="one second, one seed, no job shop")
    parser.add_argument("--budget", type=float, help="CPU seconds per problem and solver")
    parser.add_argument("--seeds", type=int, help="runs of ours per problem")
    parser.add_argument("--sets", nargs="*", choices=sorted(SETS), help="only these sets")
    parser.add_argument("--json", action="store_true", help="one line on stdout")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results")
    options = parser.parse_args(arguments)
    document = report(
        quick=options.quick, budget_s=options.budget, seeds=options.seeds, sets=options.sets
    )
    print(json.dumps(document, indent=None if options.json else 1))
    if options.keep and document["sets"]:
        RESULT.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def report(
    *,
    quick: bool = False,
    budget_s: float | None = None,
    seeds: int | None = None,
    sets: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Give the whole comparison; `sets` is empty, and `skipped` says why, where data are absent."""
    names = list(sets) if sets else [name for name in SETS if not (quick and name == "jobshop")]
    document: dict[str, Any] = {
        "host": f"{platform.machine()}, Python {platform.python_version()}",
        "cp_sat": _cp_sat_version() or "absent: make bench-setup",
        "sets": {},
        "skipped": "",
    }
    if _folder() is None:
        document["skipped"] = "no scheduling sets in GANGLINE_SHARED_DATA or ../shared/data"
        _say(document["skipped"])
        return document
    for name in names:
        budget, runs = (1.0, 1) if quick else EFFORT[name]
        budget, runs = budget_s or budget, seeds or runs
        rows = [_compare(row, SETS[name], budget, runs) for row in _rows(name)]
        document["sets"][name] = {
            "budget_cpu_s": budget,
            "seeds": list(range(runs)),
            "summary": _summary(rows),
            "rows": rows,
        }
        _say(f"{name}: {json.dumps(document['sets'][name]['summary'])}")
    return document


def _folder() -> Path | None:
    shared = os.environ.get("GANGLINE_SHARED_DATA")
    folder = (Path(shared) if shared else HERE.parents[1] / "shared" / "data") / "scheduling"
    return folder if folder.is_dir() else None


def _rows(name: str) -> list[Row]:
    folder = _folder()
    assert folder is not None
    with gzip.open(folder / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def _dag(row: Row) -> HeterogeneousDag:
    edges = tuple((u, v, seconds) for u, v, seconds in row["edges"])
    return HeterogeneousDag(tuple(tuple(costs) for costs in row["cost"]), edges, row["name"])


def _flexible(row: Row) -> HeterogeneousDag:
    return flexible_job_shop(row["jobs"], row["machines"], row["name"])


def _job_shop(row: Row) -> HeterogeneousDag:
    jobs = [[[operation] for operation in job] for job in row["ops"]]
    return flexible_job_shop(jobs, row["machines"], row["name"])


SETS: dict[str, Callable[[Row], HeterogeneousDag]] = {
    "hetero_dag_small": _dag,
    "hetero_dag_large": _dag,
    "flexible_jobshop": _flexible,
    "jobshop": _job_shop,
}


def _compare(row: Row, build: Callable[[Row], HeterogeneousDag], budget: float, runs: int) -> Row:
    """Solve one problem by all and hold every answer against the published bounds."""
    problem = build(row)
    listed = heft(problem)
    ours = [_timed(problem, budget, seed) for seed in range(runs)]
    peer = _cp_sat(problem, listed, budget)
    for found, _ in ours:
        _hold(problem, found, row)
        assert found.makespan <= listed.makespan, f"{problem.name}: longer than HEFT"
    makespans = [found.makespan for found, _ in ours]
    middle = statistics.median_low(makespans)
    result: Row = {
        "name": problem.name,
        "tasks": problem.tasks,
        "machines": problem.machines,
        "makespans": makespans,
        "lower_bound": max(found.lower_bound for found, _ in ours),
        "proven": any(found.proven for found, _ in ours),
        "cpu_s": round(statistics.median(seconds for _, seconds in ours), 3),
        "heft": listed.makespan,
        "peft": peft(problem).makespan,
        "shorter_than_heft": 1 - middle / listed.makespan,
        "gap_to_own_bound": middle / max(found.lower_bound for found, _ in ours) - 1,
    }
    if _best_known(row):
        result["gap_to_best_known"] = middle / _best_known(row) - 1
    if "heft" in row:
        assert middle <= row["heft"] * (1 + 1e-9), f"{problem.name}: longer than the set's HEFT"
    if peer:
        best = peer["schedule"]
        _hold(problem, best, row)
        result["cp_sat"] = {
            "makespan": best.makespan,
            **{k: peer[k] for k in ("status", "workers", "cpu_s")},
        }
        result["shorter_than_cp_sat"] = 1 - middle / best.makespan
    _say(_line(result))
    return result


def _line(result: Row) -> str:
    parts = [f"{result['name']:22} ours {result['makespans']} heft {result['heft']:.6g}"]
    if "cp_sat" in result:
        parts.append(f"cp-sat {result['cp_sat']['makespan']:.6g}")
    if "gap_to_best_known" in result:
        parts.append(f"gap {100 * result['gap_to_best_known']:.2f} %")
    parts.append("proven" if result["proven"] else f"bound {result['lower_bound']:.6g}")
    return "  ".join([*parts, f"{result['cpu_s']:.2f} s"])


def _timed(problem: HeterogeneousDag, budget: float, seed: int) -> tuple[Schedule, float]:
    begun = time.process_time()
    found = schedule(problem, budget, seed=seed)
    return found, time.process_time() - begun


def _best_known(row: Row) -> float:
    return float(row.get("optimum") or row.get("best_ub") or 0.0)


def _hold(problem: HeterogeneousDag, found: Schedule, row: Row) -> None:
    """Stop at a schedule or bound that contradicts the published ones: a bug somewhere."""
    check(problem, found)
    floor = float(row.get("optimum") or row.get("best_lb") or row.get("lower_bound") or 0.0)
    assert found.makespan >= floor - 1e-6, f"{problem.name}: {found.makespan} is below {floor}"
    known = _best_known(row)
    assert not known or found.lower_bound <= known, f"{problem.name}: bound above {known}"


def _cp_sat_version() -> str:
    if not PEER.exists():
        return ""
    code = "import ortools; print(ortools.__version__)"
    done = subprocess.run([PEER, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _cp_sat(problem: HeterogeneousDag, hint: Schedule, budget: float) -> Row | None:
    """Give CP-SAT's better answer of its two configurations; None where it is not installed."""
    if not PEER.exists():
        return None
    best: Row | None = None
    for workers in CP_SAT_WORKERS:
        answer = _cp_sat_run(problem, hint, budget, workers)
        if best is None or answer["schedule"].makespan < best["schedule"].makespan:
            best = answer
        if answer["status"] == "OPTIMAL":
            break
    return best


def _cp_sat_run(problem: HeterogeneousDag, hint: Schedule, budget: float, workers: int) -> Row:
    rows = [[None if d == math.inf else d for d in row] for row in problem.durations]
    question = {
        "durations": rows,
        "edges": problem.edges,
        "cpu_s": budget,
        "seed": 1,
        "workers": workers,
        "scale": 1 if problem.is_integral() else 1000,
        "hint": {"machine": hint.machine, "start": hint.start},
    }
    done = subprocess.run(
        [PEER, HERE / "cp_sat_child.py"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stdout)
    found = hint
    if answer["machine"]:  # pulled to the left, for its times are rounded up
        order = Schedule(tuple(answer["machine"]), tuple(answer["start"]), 0.0)
        found = DisjunctiveGraph(problem, order).schedule()
    return {
        "schedule": found,
        "status": answer["status"],
        "workers": workers,
        "cpu_s": round(answer["cpu_s"], 3),
    }


def _summary(rows: list[Row]) -> dict[str, Any]:
    """Give means over the problems, by the median seed of each."""
    summary: dict[str, Any] = {"problems": len(rows), "proven": sum(r["proven"] for r in rows)}
    for key in ("shorter_than_heft", "shorter_than_cp_sat", "gap_to_best_known"):
        values = [row[key] for row in rows if key in row]
        if values:
            summary[f"mean_{key}"] = round(statistics.fmean(values), 5)
    gaps = [row["gap_to_best_known"] for row in rows if "gap_to_best_known" in row]
    if gaps:
        summary["optimal_or_best_known"] = sum(gap <= 1e-9 for gap in gaps)
        summary["worst_gap_to_best_known"] = round(max(gaps), 5)
    compared = [row["shorter_than_cp_sat"] for row in rows if "cp_sat" in row]
    if compared:
        summary["shorter_than_cp_sat"] = sum(gain > 1e-9 for gain in compared)
        summary["longer_than_cp_sat"] = sum(gain < -1e-9 for gain in compared)
    summary["mean_gap_to_own_bound"] = round(
        statistics.fmean(r["gap_to_own_bound"] for r in rows), 5
    )
    summary["median_cpu_s"] = statistics.median(row["cpu_s"] for row in rows)
    return summary


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
