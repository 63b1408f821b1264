"""Demand from programs, profiles and traces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gangline.ir.errors import ConfigError
from gangline.ir.program import Program
from gangline.planner.profile import Amount, Profile, Sample, StageProfile
from gangline.planner.tco.demand import (
    demand_of,
    demand_of_trace,
)
from gangline.planner.tco.distribution import Distribution
from gangline.planner.tco.job_graph import (
    Node,
    Region,
    choice,
    latency_rows,
    sample,
)


def test_like_calls_are_one_class_and_rates_add_up(question: Program) -> None:
    demand = demand_of(question, None, 2.0, "llama-3.1-70b")
    names = {group.name: group for group in demand.classes}
    # Draft and repair have one prompt length within a factor of two; three drafts run per job.
    assert {group.kind for group in demand.classes} == {"llm", "cpu"}
    calls = sum(group.calls_per_job for group in demand.classes if group.kind == "llm")
    assert calls == pytest.approx(3.0 + 1.5)
    assert all(group.model == "llama-3.1-70b" for group in names.values() if group.kind == "llm")
    index = demand.classes.index(names["execute"])
    assert demand.calls_per_s(index) == pytest.approx(2.0)


def test_measured_samples_replace_declared_tokens(question: Program) -> None:
    rows = tuple(Sample("d", 0.1, 1000.0, 0.0, float(out)) for out in (10, 20, 300))
    measured = StageProfile(
        "decode", 3.0, Amount.exactly(1000.0), Amount.exactly(0.0), Amount(110.0, 10.0, 300.0),
        None, "observed", rows,
    )  # fmt: skip
    profile = Profile({"draft.decode": measured}, {}, num_jobs=1)
    demand = demand_of(question, profile, 1.0)
    draft = next(group for group in demand.classes if "draft.decode" in group.stages)
    assert draft.output_tokens.values == (10.0, 20.0, 300.0)
    assert draft.output_tokens.mean == pytest.approx(110.0)


def test_the_deadline_counts_the_longest_path(build: Any) -> None:
    first = build.tool("a")
    left, right = build.tool("slow", (first,)), build.tool("quick", (first,))
    build.tool("join", (left, right))
    demand = demand_of(build.program(), None, 1.0)
    seconds = {"a": 1.0, "slow": 5.0, "quick": 2.0, "join": 0.5}
    rows = latency_rows(demand.graph, len(demand.parts))
    paths = rows.paths()
    part_s = np.array([[seconds[demand.classes[index].name]] for index, _ in demand.parts])
    assert paths.end_s(part_s)[0] == pytest.approx(6.5)
    drawn = sample(demand.graph, lambda part, n, _: np.full(n, part_s[part, 0]), 5,
                   np.random.default_rng(0))  # fmt: skip
    assert drawn == pytest.approx(6.5)


def test_maps_loops_and_branches(question: Program) -> None:
    """One second per CPU step and prefill, two per decode: three drafts side by side take 3 s."""
    demand = demand_of(question, None, 1.0)

    def seconds(part: int) -> float:
        index, phase = demand.parts[part]
        name = demand.classes[index].name
        return {"prefill": 1.0, "decode": 2.0}.get(phase, 0.0 if name == "text" else 1.0)

    rows = latency_rows(demand.graph, len(demand.parts))
    paths = rows.paths()
    part_s = np.array([[seconds(part)] for part in range(len(demand.parts))])
    # schema 1, drafts 3, execute 1, then 1.5 expected repairs of 3.
    assert paths.end_s(part_s)[0] == pytest.approx(1.0 + 3.0 + 1.0 + 1.5 * 3.0)
    drawn = sample(
        demand.graph, lambda part, n, _: np.full(n, seconds(part)), 4000, np.random.default_rng(1)
    )
    assert drawn.mean() == pytest.approx(9.5, rel=0.03)
    assert set(np.unique(drawn)) <= {5.0, 8.0, 11.0, 14.0}


def test_a_map_waits_for_its_slowest_item(build: Any) -> None:
    items = build.add("constant", "items", value=[0, 1, 2, 3])
    each = build.region(lambda item: build.tool("work", (item,)))
    build.add("map", "all", (items,), (each,))
    demand = demand_of(build.program(), None, 1.0)
    rng = np.random.default_rng(2)
    drawn = sample(demand.graph, lambda part, n, r: r.exponential(1.0, n), 20000, rng)
    assert drawn.mean() == pytest.approx(1.0 + 1 / 2 + 1 / 3 + 1 / 4, rel=0.03)


def test_a_trace_is_bucketed() -> None:
    rows = [(100.0, 10.0)] * 30 + [(110.0, 11.0)] * 10 + [(4000.0, 500.0)] * 60
    demand = demand_of_trace(rows, 5.0, "llama-3.1-8b")
    assert len(demand.classes) == 2
    small, large = demand.classes
    assert (small.calls_per_job, large.calls_per_job) == pytest.approx((0.4, 0.6))
    assert small.prompt_tokens.mean == pytest.approx(102.5)
    assert demand.tokens_per_job == pytest.approx(0.4 * (102.5 + 10.25) + 0.6 * 4500.0)


def test_a_job_of_a_trace_is_one_of_its_classes() -> None:
    demand = demand_of_trace([(100.0, 10.0)] * 30 + [(4000.0, 500.0)] * 70, 5.0, "llama-3.1-8b")
    part_s = [1.0, 1.0, 10.0, 10.0]
    drawn = sample(
        demand.graph, lambda part, n, _: np.full(n, part_s[part]), 5000, np.random.default_rng(0)
    )
    assert set(np.unique(drawn)) == {2.0, 20.0}
    assert np.mean(drawn == 20.0) == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_is_positive(question: Program, rate: float) -> None:
    makers: list[Callable[[], object]] = [
        lambda: demand_of(question, None, rate),
        lambda: demand_of_trace([(1.0, 1.0)], rate, "m"),
    ]
    for make in makers:
        with pytest.raises(ConfigError, match="rate"):
            make()


def test_distributions_keep_mean_and_tail() -> None:
    data = np.random.default_rng(0).lognormal(0.0, 1.0, 5000)
    found = Distribution.of(data)
    assert len(found.values) == 64
    assert found.mean == pytest.approx(data.mean())
    assert found.scv == pytest.approx(data.var() / data.mean() ** 2, rel=0.15)
    assert found.quantile(0.95) == pytest.approx(np.quantile(data, 0.95), rel=0.1)
    amount = Distribution.of_amount(Amount(2.0, 0.4, 6.0))
    assert amount.mean == pytest.approx(2.0)
    assert amount.quantile(0.95) / amount.quantile(0.05) == pytest.approx(15.0, rel=0.15)
    assert Distribution.of_amount(Amount.exactly(3.0)).values == (3.0,)
    mixed = Distribution.mix([(3.0, Distribution((1.0,))), (1.0, Distribution((5.0,)))])
    assert mixed.mean == pytest.approx(2.0)
    assert mixed.quantile(0.5) == 1.0
    for bad in ([], [1.0, float("nan")], [-1.0]):
        with pytest.raises(ConfigError):
            Distribution.of(bad)


def test_a_long_trace_has_few_classes_and_keeps_its_tokens() -> None:
    rng = np.random.default_rng(7)
    rows = [(float(p), float(o)) for p, o in rng.lognormal((6.0, 4.0), (1.5, 1.2), (5000, 2))]
    demand = demand_of_trace(rows, 5.0, "llama-3.1-8b")
    assert 4 <= len(demand.classes) <= 16
    assert sum(group.calls_per_job for group in demand.classes) == pytest.approx(1.0)
    assert demand.tokens_per_job == pytest.approx(np.array(rows).sum() / len(rows))


def test_a_choice_has_as_many_sides_as_it_needs() -> None:
    """More than the 64 arrays numpy chooses among."""
    sides = [Region((Node("part", (), part),)) for part in range(100)]
    graph = choice(sides, [1.0] * 99 + [99.0])
    drawn = sample(
        graph, lambda part, n, _: np.full(n, float(part)), 20000, np.random.default_rng(0)
    )
    assert np.mean(drawn == 99.0) == pytest.approx(0.5, abs=0.02)
    assert len(np.unique(drawn)) == 100
