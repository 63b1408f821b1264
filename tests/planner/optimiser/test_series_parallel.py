"""Reductions keep every node, and tell series-parallel graphs from others."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.placement_instances import series_parallel_edges
from gangline.planner.optimiser.series_parallel import DETACH, PARALLEL, SERIES, reduce_graph


@pytest.mark.parametrize("num_nodes", [1, 2, 3, 10, 300])
def test_series_parallel_graphs_reduce_fully(num_nodes: int) -> None:
    edges = series_parallel_edges(np.random.default_rng(num_nodes), num_nodes)
    found = reduce_graph(num_nodes, edges)
    assert found.num_detached == 0
    merged = np.concatenate([merge.node for merge in found.merges if merge.kind == SERIES])
    assert sorted(merged) == list(range(num_nodes))


def test_every_component_but_the_root_is_merged_once_and_after_it_was_made() -> None:
    edges = series_parallel_edges(np.random.default_rng(3), 200)
    found = reduce_graph(200, edges)
    made = set(range(len(found.ends)))
    used: list[int] = []
    for merge in found.merges:
        parts = [*merge.first, *(merge.second if merge.kind != DETACH else [])]
        assert set(parts) <= made
        used += parts
        made.update(merge.result.tolist())
    assert sorted([*used, found.root]) == list(range(found.num_components))


def test_long_chains_and_wide_fans_merge_in_few_steps() -> None:
    chain = reduce_graph(1024, [(i, i + 1) for i in range(1023)])
    assert len(chain.merges) <= 25
    fan = reduce_graph(1000, [(0, i) for i in range(2, 1000)] + [(i, 1) for i in range(2, 1000)])
    assert len(fan.merges) <= 25
    assert fan.num_detached == 0


def test_a_crossing_is_cut_once() -> None:
    # 0 -> {1, 2} -> {3, 4} -> 5 with both crossings is the smallest kind that cannot reduce.
    edges = [(0, 1), (0, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 5), (4, 5)]
    found = reduce_graph(6, edges)
    assert found.num_detached >= 1
    kinds = {merge.kind for merge in found.merges}
    assert kinds == {SERIES, PARALLEL, DETACH}
    merged = np.concatenate([merge.node for merge in found.merges if merge.kind == SERIES])
    assert sorted(merged) == list(range(6))
