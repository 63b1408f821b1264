"""Are our placements cheap, and how well is it proven? HiGHS, CP-SAT and greedy on the same graphs.

    python -m benchmarks.placement [--quick] [--seeds N] [--limit S] [--json] [--keep]

Random series-parallel agent graphs on ten device types in three sites (`placement_instances`), a
few general ones, and fleets of whole replicas at two jobs a second. All methods solve one instance
after the other, one thread each; seconds are CPU seconds of the process that solves. Costs are
given over the best bound any method proved. Every assignment passes the check below, which shares
no code with the optimiser. CP-SAT (`make bench-setup`) runs in a child process with the greedy
answer and its start times as a hint. Scheduling comes from `scheduling_sets`, in its quick form.
With --keep the figures go to benchmarks/results/placement.json.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import networkx
import numpy as np

from benchmarks import scheduling_sets
from benchmarks.placement_instances import fleet_instance, instance
from gangline.planner.optimiser.linear_program import branch_and_bound
from gangline.planner.optimiser.place import place
from gangline.planner.optimiser.problem import GraphProblem
from gangline.planner.optimiser.repair import upgraded
from gangline.planner.optimiser.replica_problem import ReplicaProblem
from gangline.planner.optimiser.replicas import priced_by_the_second, size_fleet
from gangline.planner.optimiser.timing import timing

HERE = Path(__file__).parent
RESULT = HERE / "results" / "placement.json"
PEER = HERE.parent / ".venv-bench" / "bin" / "python"
CHILD = HERE / "cp_sat_placement_child.py"

Row = dict[str, Any]
Answer = tuple[list[int] | None, float, float]
"""(device of each node, proven bound, CPU seconds)."""

METHODS_UP_TO = {
    "ours": 2000,
    "greedy": 2000,
    "earliest finish": 2000,
    "HiGHS": 2000,
    "CP-SAT": 100,
}
"""Nodes up to which a method is run: beyond, it takes minutes or finds nothing in the limit."""

FLEET_SEEDS = {20: 20, 50: 20, 100: 5}
"""Nodes of a fleet's graph, and how many are sized."""

SEEDS_OF = {"CP-SAT": 2}
"""Instances per size for a method that always takes its whole limit; others run on all."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two seeds, up to 500 nodes")
    parser.add_argument("--seeds", type=int, help="instances per size")
    parser.add_argument("--limit", type=float, help="seconds for HiGHS and CP-SAT per instance")
    parser.add_argument("--no-scheduling", action="store_true", help="placement only")
    parser.add_argument("--json", action="store_true", help="one line on stdout")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results")
    options = parser.parse_args(arguments)
    document = report(
        quick=options.quick,
        seeds=options.seeds,
        limit_s=options.limit,
        scheduling=not options.no_scheduling,
    )
    print(json.dumps(document, indent=None if options.json else 1))
    if options.keep:
        RESULT.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


def report(
    *,
    quick: bool = False,
    seeds: int | None = None,
    limit_s: float | None = None,
    scheduling: bool = True,
) -> dict[str, Any]:
    """Give the whole comparison."""
    count = seeds or (2 if quick else 5)
    limit = limit_s or (2.0 if quick else 6.0)
    sizes = (12, 20, 100, 500) if quick else (12, 20, 50, 100, 500, 2000)
    document: dict[str, Any] = {
        "host": f"{platform.machine()}, Python {platform.python_version()}",
        "seeds": list(range(count)),
        "limit_s": limit,
        "cp_sat": "present" if PEER.exists() else "absent: make bench-setup",
        "series_parallel": {},
        "general": {},
        "replicas": {},
    }
    for size in sizes:
        rows = [_compared(size, seed, False, limit) for seed in range(count)]
        document["series_parallel"][str(size)] = _summary(rows)
        _say(f"{size} nodes: {json.dumps(document['series_parallel'][str(size)])}")
    for size in (100,) if quick else (100, 500):
        rows = [_compared(size, seed, True, limit) for seed in range(min(count, 3))]
        document["general"][str(size)] = _summary(rows)
        _say(f"{size} nodes, general: {json.dumps(document['general'][str(size)])}")
    document["replicas"] = fleets(quick)
    if scheduling:
        document["scheduling"] = scheduling_sets.report(quick=True)
    return document


def fleets(quick: bool = False) -> dict[str, Any]:
    """Give the comparison of fleets alone, with the gap and CPU seconds of every seed."""
    document = {}
    for size, count in {20: 2}.items() if quick else FLEET_SEEDS.items():
        rows = [_fleets(size, seed) for seed in range(count)]
        every = [[_plain(row["ours"]["own_gap"]), _plain(row["ours"]["cpu_s"])] for row in rows]
        document[str(size)] = _summary(rows) | {"own_gap and cpu_s by seed": every}
        _say(f"{size} nodes, replicas: {json.dumps(document[str(size)])}")
    return document


def _compared(size: int, seed: int, general: bool, limit_s: float) -> Row:
    problem = instance(size, seed, general=general)
    solvers: dict[str, Callable[[], Answer]] = {
        "ours": lambda: _ours(problem),
        "greedy": lambda: _greedy(problem),
        "earliest finish": lambda: _earliest_finish(problem),
        "HiGHS": lambda: _highs(problem, limit_s),
        "CP-SAT": lambda: _cp_sat(problem, seed, limit_s),
    }
    answers = {
        name: solve()
        for name, solve in solvers.items()
        if size <= METHODS_UP_TO[name]
        and seed < SEEDS_OF.get(name, seed + 1)
        and (name != "CP-SAT" or PEER.exists())
    }
    return _row({name: (_checked(problem, a), b, s) for name, (a, b, s) in answers.items()})


def _row(answers: dict[str, tuple[float, float, float]]) -> Row:
    """Put costs over the best proven bound; `own_gap` is what a method proves by itself.

    CP-SAT's bound is left out of the best: it holds for its rounded seconds and dollars.
    """
    bound = max(bound for name, (_, bound, _) in answers.items() if name != "CP-SAT")
    least = min(usd for usd, _, _ in answers.values())
    if bound > least * (1.0 + 1e-4):
        raise AssertionError(f"a bound of {bound} is above a checked cost of {least}")
    return {
        name: {
            "over_bound": usd / bound - 1.0,
            "over_best": usd / least - 1.0,
            "own_gap": 1.0 - own / usd if math.isfinite(usd) else math.inf,
            "cpu_s": cpu_s,
        }
        for name, (usd, own, cpu_s) in answers.items()
    }


def _summary(rows: list[Row]) -> dict[str, Any]:
    """Give median and worst of every figure by method; null where nothing was found."""
    summary: dict[str, Any] = {}
    for name in rows[0]:
        figures = {}
        for figure in rows[0][name]:
            values = [row[name][figure] for row in rows if name in row]
            figures[figure] = [_plain(statistics.median(values)), _plain(max(values))]
        summary[name] = figures
    return summary


def _plain(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _timed(solve: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.process_time()
    found = solve()
    return found, time.process_time() - begun


def _ours(problem: GraphProblem) -> Answer:
    found, cpu_s = _timed(lambda: place(problem))
    return found.assignment.tolist(), found.bound_usd, cpu_s


def _greedy(problem: GraphProblem) -> Answer:
    found, cpu_s = _timed(lambda: upgraded(problem))
    return None if found is None else found.tolist(), 0.0, cpu_s


def _earliest_finish(problem: GraphProblem) -> Answer:
    """HEFT where devices are not scarce: each node, in order, where it ends first."""
    chosen, cpu_s = _timed(lambda: _first_ends(problem))
    return chosen, 0.0, cpu_s


def _first_ends(problem: GraphProblem) -> list[int]:
    end: dict[int, float] = {}
    chosen = [0] * problem.num_nodes
    for node in problem.topological or []:
        ready = np.zeros(problem.num_devices)
        for source, edge in problem.predecessors[node]:
            hop = problem.transfer_s[edge, problem.site_of[chosen[source]], problem.site_of]
            ready = np.maximum(ready, end[source] + hop)
        ends = np.where(problem.allowed[node], ready + problem.seconds[node], np.inf)
        chosen[node] = int(ends.argmin())
        end[node] = float(ends.min())
    return chosen


def _highs(problem: GraphProblem, limit_s: float) -> Answer:
    found, cpu_s = _timed(lambda: branch_and_bound(problem, 1e-6, limit_s))
    chosen = None if found.assignment is None else found.assignment.tolist()
    return chosen, found.bound_usd if math.isfinite(found.bound_usd) else 0.0, cpu_s


def _cp_sat(problem: GraphProblem, seed: int, limit_s: float) -> Answer:
    hint = upgraded(problem)
    if hint is None:
        hint = np.array(_first_ends(problem))
    usd, seconds = (
        [[x if math.isfinite(x) else None for x in row] for row in values.tolist()]
        for values in (problem.usd, problem.seconds)
    )
    message = {
        "usd": usd,
        "seconds": seconds,
        "site_of": problem.site_of.tolist(),
        "edges": problem.edges.tolist(),
        "transfer_s": problem.transfer_s.tolist(),
        "transfer_usd": problem.transfer_usd.tolist(),
        "deadline_s": problem.deadline_s,
        "cpu_s": limit_s,
        "seed": seed,
        "hint": {"device": hint.tolist(), "start": timing(problem, hint).head},
    }
    child = subprocess.run(
        [str(PEER), str(CHILD)],
        input=json.dumps(message),
        capture_output=True,
        text=True,
        check=True,
        timeout=20.0 * limit_s + 60.0,
    )
    found = json.loads(child.stdout)
    # Its dollars are rounded to a hundred thousandth of the dearest node's.
    return found["device"], max(found["bound_usd"], 0.0) * (1.0 - 1e-4), found["cpu_s"]


def _checked(problem: GraphProblem, chosen: list[int] | None) -> float:
    """Give the dollars of an assignment, counted anew; infinite where there is none."""
    if chosen is None:
        return math.inf
    graph = networkx.DiGraph()
    graph.add_nodes_from(range(problem.num_nodes))
    sites = [int(problem.site_of[device]) for device in chosen]
    usd = [float(problem.usd[node, device]) for node, device in enumerate(chosen)]
    for edge, (source, target) in enumerate(problem.edges.tolist()):
        ends = (edge, sites[source], sites[target])
        usd.append(float(problem.transfer_usd[ends]))
        hop = float(problem.transfer_s[ends])
        if graph.has_edge(source, target):
            hop = max(hop, graph[source][target]["s"])
        graph.add_edge(source, target, s=hop)
    end: dict[int, float] = {}
    for node in networkx.topological_sort(graph):
        before = (end[s] + graph[s][node]["s"] for s in graph.predecessors(node))
        end[node] = max(before, default=0.0) + float(problem.seconds[node, chosen[node]])
    if max(end.values()) > problem.deadline_s * (1.0 + 1e-6):
        raise AssertionError(f"late: {max(end.values())} s of {problem.deadline_s} s")
    return math.fsum(usd)


def _fleets(size: int, seed: int) -> Row:
    """Compare fleets: ours, and the cheapest device time rounded up to whole replicas."""
    problem = fleet_instance(size, seed)
    ours, ours_s = _timed(lambda: size_fleet(problem))
    rounded, rounded_s = _timed(lambda: _rounded_up(problem))
    return _row(
        {
            "ours": (_fleet_usd(problem, ours.assignment.tolist()), ours.bound_usd, ours_s),
            "rounded up": (_fleet_usd(problem, rounded), 0.0, rounded_s),
        }
    )


def _rounded_up(problem: ReplicaProblem) -> list[int]:
    chosen: list[int] = place(priced_by_the_second(problem)).assignment.tolist()
    return chosen


def _fleet_usd(problem: ReplicaProblem, chosen: list[int]) -> float:
    load = [0.0] * problem.graph.num_devices
    for node, device in enumerate(chosen):
        load[device] += float(problem.graph.seconds[node, device])
    hourly = 0.0
    for device, seconds in enumerate(load):
        replicas = math.ceil(seconds * problem.jobs_per_s / problem.utilisation - 1e-9)
        hourly += float(problem.usd_per_hour[device]) * max(replicas, device in chosen)
    return hourly / 3600.0 / problem.jobs_per_s + _checked(problem.graph, chosen)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
