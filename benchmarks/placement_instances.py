"""Random agent graphs to place: series-parallel or general, ten device types in three sites.

Every number follows from the seed. Nodes are model calls (prefill or decode halves) and tools of
a few sizes; devices differ in compute, bandwidth and price, so that no device is best at
everything. The deadline is the time of the fastest placement plus a quarter of what the cheapest
placement takes more.
"""

from __future__ import annotations

from dataclasses import replace

import networkx
import numpy as np

from gangline.planner.optimiser.place import place
from gangline.planner.optimiser.problem import Array, GraphProblem
from gangline.planner.optimiser.quickest import quickest
from gangline.planner.optimiser.replica_problem import ReplicaProblem
from gangline.planner.optimiser.series_parallel import reduce_graph

NUM_SITES = 3
LATENCY_S = 0.02
BYTES_PER_S = 1.25e9
USD_PER_BYTE = 0.05e-9
"""Between sites: a link of 10 Gbit/s and a typical price of egress, $0.05/GB."""


def instance(
    num_nodes: int,
    seed: int,
    num_devices: int = 10,
    num_sites: int = NUM_SITES,
    tightness: float = 0.25,
    general: bool = False,
) -> GraphProblem:
    """Make one problem; `general` adds random forward edges that break the series-parallel form."""
    rng = np.random.default_rng(seed)
    num_sites = min(num_sites, num_devices)
    edges = series_parallel_edges(rng, num_nodes)
    if general:
        edges = _with_shortcuts(rng, num_nodes, edges)
    site_of = np.arange(num_devices) % num_sites
    usd, seconds = _nodes(rng, num_nodes, num_devices)
    moved = rng.lognormal(np.log(2e6), 2.0, len(edges))  # from texts to KV caches
    apart = 1.0 - np.eye(num_sites)
    problem = GraphProblem(
        names=[f"node{number}" for number in range(num_nodes)],
        usd=usd,
        seconds=seconds,
        site_of=site_of,
        edges=np.array(edges, dtype=np.intp).reshape(-1, 2),
        transfer_s=(LATENCY_S + moved / BYTES_PER_S)[:, None, None] * apart,
        transfer_usd=(moved * USD_PER_BYTE)[:, None, None] * apart,
    )
    return replace(problem, deadline_s=_deadline(problem, tightness))


def series_parallel_edges(rng: np.random.Generator, num_nodes: int) -> list[tuple[int, int]]:
    """Grow a two-terminal graph: split a random edge by a node, or put a node beside a stretch."""
    if num_nodes == 1:
        return []
    edges = [(0, 1)]
    # Invariant: the edges form a two-terminal series-parallel graph from node 0 to node 1.
    for node in range(2, num_nodes):
        at = int(rng.integers(len(edges)))
        source, target = edges[at]
        if rng.random() < 0.65:
            edges[at] = (source, node)
            edges.append((node, target))
        else:
            edges += [(source, node), (node, target)]
    return edges


def _with_shortcuts(
    rng: np.random.Generator, num_nodes: int, edges: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Add a tenth as many edges that run forward in a topological order."""
    order = _order(num_nodes, edges)
    added = set(edges)
    for _ in range(num_nodes // 10):
        first = int(rng.integers(num_nodes - 1))
        last = min(num_nodes - 1, first + 1 + int(rng.integers(8)))
        added.add((order[first], order[last]))
    return sorted(added)


def _order(num_nodes: int, edges: list[tuple[int, int]]) -> list[int]:
    graph = networkx.DiGraph(edges)
    graph.add_nodes_from(range(num_nodes))
    return list(networkx.lexicographical_topological_sort(graph))


def _nodes(rng: np.random.Generator, num_nodes: int, num_devices: int) -> tuple[Array, Array]:
    """Give usd and seconds, [n, D]: a mix of compute-, bandwidth- and host-bound nodes."""
    compute = rng.lognormal(0.0, 0.6, num_devices)
    bandwidth = rng.lognormal(0.0, 0.5, num_devices)
    host = rng.lognormal(0.0, 0.2, num_devices)
    # Speed costs more than its share, with some luck: else the fastest would be the cheapest.
    speed = 0.5 * compute + 0.4 * bandwidth + 0.1 * host
    per_hour = 2.0 * speed**1.3 * rng.lognormal(0.0, 0.1, num_devices)
    kinds = rng.choice(3, num_nodes, p=[0.35, 0.45, 0.2])
    rate = np.stack([compute, bandwidth, host])[kinds]
    work = rng.lognormal(np.log([0.3, 1.5, 0.4]), [0.8, 0.7, 0.8], (num_nodes, 3))
    seconds = work[np.arange(num_nodes), kinds][:, None] / rate
    seconds = seconds * rng.lognormal(0.0, 0.15, seconds.shape)
    usd = seconds * per_hour / 3600.0
    # A tenth of the pairs cannot run (memory); the device that is fastest always can.
    barred = rng.random(seconds.shape) < 0.1
    barred[np.arange(num_nodes), seconds.argmin(axis=1)] = False
    return np.where(barred, np.inf, usd), np.where(barred, np.inf, seconds)


def _deadline(problem: GraphProblem, tightness: float) -> float:
    reduction = reduce_graph(problem.num_nodes, problem.edges)
    fastest = quickest(problem, reduction).seconds
    cheapest = place(problem).seconds
    return fastest + tightness * max(cheapest - fastest, 0.0)


def fleet_instance(
    num_nodes: int, seed: int, jobs_per_s: float = 2.0, replicas: float = 8.0
) -> ReplicaProblem:
    """Make a low-rate fleet to size: work scaled so that some `replicas` would do in all."""
    problem = instance(num_nodes, seed)
    typical = np.where(problem.allowed, problem.seconds, np.nan)
    scale = replicas * 0.8 / jobs_per_s / float(np.nanmedian(typical, axis=1).sum())
    per_hour = np.where(problem.allowed, problem.usd, np.nan) / typical * 3600.0
    graph = replace(
        problem,
        usd=np.where(problem.allowed, 0.0, np.inf),
        seconds=problem.seconds * scale,
        transfer_s=problem.transfer_s * scale,
        transfer_usd=problem.transfer_usd * scale,
        deadline_s=problem.deadline_s * scale,
    )
    return ReplicaProblem(graph, np.nanmedian(per_hour, axis=0), jobs_per_s)
