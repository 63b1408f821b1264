"""Made-up placement problems, and their optimum by trying everything.

Nothing here uses the optimiser's own timing or cost: assignments are judged by walking the graph.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from gangline.planner.optimiser.problem import GraphProblem


def cost(problem: GraphProblem, assignment: list[int]) -> float:
    """Add up the dollars of nodes and transfers."""
    total = sum(float(problem.usd[node, device]) for node, device in enumerate(assignment))
    for edge, (source, target) in enumerate(problem.edges.tolist()):
        here, there = (int(problem.site_of[assignment[end]]) for end in (source, target))
        total += float(problem.transfer_usd[edge, here, there])
    return total


def length(problem: GraphProblem, assignment: list[int]) -> float:
    """Give the longest path, by settling ends until nothing changes."""
    seconds = [float(problem.seconds[node, device]) for node, device in enumerate(assignment)]
    end = list(seconds)
    for _ in assignment:
        for edge, (source, target) in enumerate(problem.edges.tolist()):
            here, there = (int(problem.site_of[assignment[end]]) for end in (source, target))
            hop = float(problem.transfer_s[edge, here, there])
            end[target] = max(end[target], end[source] + hop + seconds[target])
    return max(end)


def keeps(problem: GraphProblem, assignment: list[int]) -> bool:
    """Tell whether an assignment can run, is in time and within capacities."""
    if any(not math.isfinite(problem.usd[n, d]) for n, d in enumerate(assignment)):
        return False
    if problem.capacity_s is not None:
        for device, capacity in enumerate(problem.capacity_s.tolist()):
            mine = (float(problem.seconds[n, d]) for n, d in enumerate(assignment) if d == device)
            if sum(mine) > capacity * (1 + 1e-9):
                return False
    return length(problem, assignment) <= problem.deadline_s * (1 + 1e-9)


def brute_force(problem: GraphProblem) -> float:
    """Give the least dollars of all assignments that keep the limits; infinite if none does."""
    every = itertools.product(range(problem.num_devices), repeat=problem.num_nodes)
    kept = (list(one) for one in every if keeps(problem, list(one)))
    return min((cost(problem, one) for one in kept), default=math.inf)


def random_problem(seed: int, *, capacities: bool = False) -> GraphProblem:
    """Make a small acyclic graph of any form, with whole numbers, so that ties and zeros occur."""
    rng = np.random.default_rng(seed)
    n, devices = int(rng.integers(1, 7)), int(rng.integers(1, 4))
    site_of = rng.integers(0, 3, devices)
    site_of -= site_of.min()
    density = rng.choice([0.2, 0.5])
    pairs = [(i, j) for j in range(n) for i in range(j) if rng.random() < density]
    order = rng.permutation(n)
    edges = order[np.array(pairs, dtype=np.intp).reshape(-1, 2)]
    usd, seconds = (rng.integers(0, 9, (n, devices)).astype(float) for _ in range(2))
    barred = rng.random((n, devices)) < 0.2
    barred[np.arange(n), rng.integers(0, devices, n)] = False
    shape = (len(edges), site_of.max() + 1, site_of.max() + 1)
    return GraphProblem(
        names=[f"n{number}" for number in range(n)],
        usd=np.where(barred, np.inf, usd),
        seconds=seconds,
        site_of=site_of,
        edges=edges,
        transfer_s=rng.integers(0, 4, shape).astype(float),
        transfer_usd=rng.integers(0, 4, shape).astype(float),
        deadline_s=math.inf if rng.random() < 0.1 else float(rng.integers(1, 30)),
        capacity_s=rng.integers(0, 15, devices).astype(float) if capacities else None,
    )


def chain(usd: list[list[float]], seconds: list[list[float]], deadline_s: float) -> GraphProblem:
    """Make a chain on devices of one site, with free transfers."""
    n = len(usd)
    return GraphProblem(
        names=[f"n{number}" for number in range(n)],
        usd=np.array(usd),
        seconds=np.array(seconds),
        site_of=np.zeros(len(usd[0]), dtype=np.intp),
        edges=np.array([(i, i + 1) for i in range(n - 1)], dtype=np.intp).reshape(-1, 2),
        transfer_s=np.zeros((n - 1, 1, 1)),
        transfer_usd=np.zeros((n - 1, 1, 1)),
        deadline_s=deadline_s,
    )
